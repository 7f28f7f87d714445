"""A set of computations and what comes out of them, for processes that are to agree: prints one digest for each."""

from __future__ import annotations

import asyncio
import hashlib
import sys

import pyarrow as pa

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.errors import OnexError
from onex_mesh.runtime.payload import json_payload, to_struct
from tests.aggregations import table_payload

ROWS: list[dict[str, object]] = [
    {
        "sku": f"sku-{number * 7 % 13}",
        "country": ["NL", "DE", "FR", "é"][number % 4],
        "pence": number * 37 % 101,
        "x": number / 7,
    }
    for number in range(300)
]
RIGHT = [{"country": "NL", "vat": 21}, {"country": "GB", "vat": 20}]
AGGREGATES = {
    "zeta": {"function": "sum", "field": "pence"},
    "alpha": {"function": "mean", "field": "x"},
    "mid": {"function": "count_distinct", "field": "sku"},
    "all": {"function": "list", "field": "pence"},
    "spread": {"function": "stddev", "field": "x"},
}
SCHEMA = {"properties": {"x": {"maximum": 30}, "sku": {"enum": ["sku-1", "sku-2"]}, "pence": {"minimum": 50}}}
COMPUTATIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("identity", {}),
    ("sum", {"field": "x"}),
    ("statistics", {"field": "x"}),
    ("filter", {"where": "row.country in ['NL', 'é'] && row.pence > 10"}),
    ("map", {"fields": {"z": "row.pence * 2", "a": "row.sku + '!'", "m": "row.x / 3.0"}}),
    ("map", {"fields": {"z": "row.sku.charAt(0)", "a": "row"}, "keep": True}),
    ("project", {"fields": ["x", "country"]}),
    ("sort", {"keys": [{"field": "country"}, {"field": "pence", "descending": True}]}),
    ("deduplicate", {"keys": ["country", "sku"]}),
    ("group_by", {"keys": ["country", "sku"], "aggregates": AGGREGATES}),
    ("group_by", {"aggregates": AGGREGATES}),
    (
        "join",
        {"on": ["country"], "kind": "outer", "right": RIGHT},
    ),
    ("describe", {"quantiles": []}),
    ("describe", {}),
    ("normalise", {"fields": ["x", "pence"], "method": "z_score"}),
    ("validate", {"schema": SCHEMA, "violations": "result"}),
    ("validate", {"schema": SCHEMA}),
)


def contracts() -> list[compute_pb2.ComputeContract]:
    """Each over rows and over a table, at once and in chunks, as they come off the wire."""
    table = table_payload(pa.Table.from_pylist(ROWS))
    return [
        _contract(name, parameters, data, workers)
        for name, parameters in COMPUTATIONS
        for data in (json_payload(ROWS), table)
        for workers in (0, 3)
    ]


def _contract(
    name: str, parameters: dict[str, object], data: common_pb2.Payload, workers: int
) -> compute_pb2.ComputeContract:
    contract = compute_pb2.ComputeContract(input_data=data)
    contract.algorithm_config.algorithm_type = name
    contract.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    contract.input_validation.data_types.update({"sku": "string", "x": "number", "pence": "integer"})
    contract.output_transformation.format = compute_pb2.OUTPUT_FORMAT_DATAFRAME
    if workers:
        contract.parallel_config.worker_count = workers
    return compute_pb2.ComputeContract.FromString(contract.SerializeToString())


async def digests() -> list[str]:
    """Digest of each result, or of what is wrong."""
    workers = LocalWorkers(2)
    engine = ComputeEngine(with_builtins(AlgorithmRegistry()), workers)
    found = []
    for contract in contracts():
        try:
            output = await engine.execute(contract, correlation_id="c")
            said = output.processed_data.SerializeToString(deterministic=True)
        except OnexError as error:
            said = repr((error.reason, error.message, error.violations)).encode()
            if "--why" in sys.argv:
                sys.stdout.write(f"{contract.algorithm_config.algorithm_type}: {error.message}\n")
        name = contract.algorithm_config.algorithm_type
        found.append(f"{name} {hashlib.sha256(said).hexdigest()}")
    workers.close()
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(asyncio.run(digests())) + "\n")

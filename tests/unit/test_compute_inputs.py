"""Further inputs of a computation, by name: read, checked, kept apart in the cache, and whole for every chunk."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pydantic import BaseModel

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry, MergeStrategy
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.output import read_table
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.compute.servicer import ComputeServicer
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, from_payload, from_struct, json_payload, to_struct
from onex_mesh.runtime.payloads import Payloads
from tests.aggregations import table_payload

Rows = list[dict[str, object]]

calls: list[object] = []


class Price(BaseModel):
    sku: str
    pence: int


class Bounds(BaseModel):
    most: int = 100


def priced(
    data: list[str], prices: list[Price], params: Bounds, *, extra: pa.Table | None = None, factor: int = 1
) -> list[int]:
    """Prices by name, at most so much."""
    calls.append(data)
    known = {price.sku: price.pence for price in prices}
    if extra is not None:
        known.update((row["sku"], row["pence"]) for row in extra.to_pylist())
    return [min(known.get(sku, 0) * factor, params.most) for sku in data]


@pytest.fixture
def registry() -> AlgorithmRegistry:
    found = AlgorithmRegistry()
    found.add_function(priced, merge=MergeStrategy.CONCATENATE)
    return with_builtins(found)


@pytest.fixture
def engine(registry: AlgorithmRegistry) -> Iterator[ComputeEngine]:
    calls.clear()
    workers = LocalWorkers(2, 1_000_000)
    yield ComputeEngine(registry, workers)
    workers.close()


def rows_payload(rows: Rows) -> common_pb2.Payload:
    return table_payload(pa.Table.from_pylist(rows))


def contract(algorithm: str, data: object, parameters: object = None, **inputs: object) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=data if isinstance(data, common_pb2.Payload) else json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters or {}))
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(value if isinstance(value, common_pb2.Payload) else json_payload(value))
    return made


async def run(engine: ComputeEngine, made: compute_pb2.ComputeContract) -> object:
    output = await engine.execute(made, correlation_id="c")
    payload = output.processed_data
    return read_table(payload.data) if payload.WhichOneof("content") == "data" else from_payload(payload)


PRICES: Rows = [{"sku": "a", "pence": 7}, {"sku": "b", "pence": 200}]


async def test_inputs_come_in_the_forms_that_are_declared(engine: ComputeEngine) -> None:
    """R30: models from rows or from a table, a table from rows, and defaults for what is left out."""
    assert await run(engine, contract("priced", ["a", "b", "c"], prices=PRICES)) == [7, 100, 0]
    extra: Rows = [{"sku": "c", "pence": 3}]
    for prices, more in ((PRICES, extra), (rows_payload(PRICES), rows_payload(extra))):
        made = contract("priced", ["a", "b", "c"], {"most": 1000}, prices=prices, extra=more, factor=2)
        assert await run(engine, made) == [14, 400, 6]


@pytest.mark.parametrize(
    ("inputs", "path", "text"),
    [
        ({}, "inputs.prices", "is required and missing"),
        ({"prices": [], "price": []}, "inputs.price", "has no such input: it takes extra, factor, prices"),
        ({"prices": [{"sku": "a", "pence": 1}, {"sku": "b"}]}, "inputs.prices[1].pence", "is required and missing"),
        ({"prices": PRICES, "factor": "x"}, "inputs.factor", "valid integer"),
        ({"prices": PRICES, "extra": [{"a": 1}, 2]}, "inputs.extra", "a table is made of rows or of plain values"),
        ({"prices": PRICES, "extra": [{"a": 1}, {"a": "x"}]}, "inputs.extra.a", "cannot be a table's"),
        ({"prices": bytes_payload(b"x", ARROW_TYPE)}, "inputs.prices", "not an Arrow IPC stream"),
    ],
)
async def test_inputs_that_do_not_fit_are_refused_with_their_path(
    engine: ComputeEngine, inputs: dict[str, object], path: str, text: str
) -> None:
    """R36: before the algorithm is called."""
    with pytest.raises(ValidationError, match=text) as caught:
        await run(engine, contract("priced", ["a"], **inputs))
    assert [at for at, _ in caught.value.violations] == [path]
    assert calls == []


async def test_an_algorithm_without_inputs_takes_none(engine: ComputeEngine) -> None:
    """R36: what nobody would look at is refused."""
    with pytest.raises(ValidationError, match=r"inputs\.more: the algorithm 'sum' has no such input: it takes none"):
        await run(engine, contract("sum", [1], more=[2]))


async def test_another_input_is_another_computation(engine: ComputeEngine) -> None:
    """R32: the cache tells inputs apart by content and by name."""
    first, again = contract("priced", ["a"], prices=PRICES), contract("priced", ["a"], prices=PRICES)
    other = contract("priced", ["a"], prices=[{"sku": "a", "pence": 8}])
    named = contract("priced", ["a"], prices=PRICES, extra=[{"sku": "a", "pence": 9}])
    for made in (first, again, other, named):
        made.cache.ttl.seconds = 60
    assert [await run(engine, made) for made in (first, again, other, named)] == [[7], [7], [8], [9]]
    assert len(calls) == 3


async def test_inputs_count_for_the_memory_of_a_task(engine: ComputeEngine) -> None:
    """R44: all of them together."""
    with pytest.raises(PayloadTooLargeError, match="the input has 6000"):
        await run(engine, contract("join", [], {"on": ["a"]}, right=bytes_payload(b"x" * 600_000, ARROW_TYPE)))


async def test_algorithms_are_listed_with_their_inputs(registry: AlgorithmRegistry, engine: ComputeEngine) -> None:
    """R32: name, whether it is required, and its schema."""
    listed = await ComputeServicer(engine, registry, Payloads()).ListAlgorithms(
        compute_pb2.ListAlgorithmsRequest(),
        None,  # type: ignore[arg-type]  # the context, which is not looked at
    )
    found = {row.algorithm_type: row for row in listed.algorithms}
    told = [(one.name, one.required, from_struct(one.schema).get("type")) for one in found["priced"].inputs]
    assert told == [("prices", True, "array"), ("extra", False, None), ("factor", False, "integer")]
    assert [(one.name, one.required) for one in found["join"].inputs] == [("right", False)]
    assert not found["sum"].inputs


# The right side of a join


LEFT: Rows = [{"sku": "a", "n": 1}, {"sku": "c", "n": 2}]


async def test_the_right_side_of_a_join_is_an_input(engine: ComputeEngine) -> None:
    """R26: rows or a table; the result is what the left side is."""
    expected = [{"sku": "a", "n": 1, "pence": 7}, {"sku": "c", "n": 2, "pence": None}]
    parameters = {"on": ["sku"], "kind": "left"}
    for right in (PRICES, rows_payload(PRICES)):
        assert await run(engine, contract("join", LEFT, parameters, right=right)) == expected
        found = await run(engine, contract("join", rows_payload(LEFT), parameters, right=right))
        assert isinstance(found, pa.Table)
        assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("data", "parameters", "inputs", "message"),
    [
        (LEFT, {}, {}, r"inputs\.right: the right rows are missing: the input right, the parameter right, or data"),
        (LEFT, {"right": PRICES}, {"right": PRICES}, r"inputs\.right: the right rows are given twice"),
        ({"left": LEFT, "right": PRICES}, {}, {"right": PRICES}, r"inputs\.right: the right rows are given twice"),
        (LEFT, {}, {"right": [1]}, r"inputs\.right\[0\]: expected a row, found integer"),
        (LEFT, {}, {"right": [{"id": "a"}]}, r"inputs\.right\.sku: is required and missing"),
        (LEFT, {}, {"right": [{"sku": "a"}, {"sku": 1}]}, r"inputs\.right\[1\]\.sku: does not fit its column"),
    ],
)
async def test_a_join_needs_one_right_side(
    engine: ComputeEngine, data: object, parameters: dict[str, object], inputs: dict[str, object], message: str
) -> None:
    """R36: with the path of what is wrong."""
    with pytest.raises(ValidationError, match=message):
        await run(engine, contract("join", data, {"on": ["sku"], **parameters}, **inputs))

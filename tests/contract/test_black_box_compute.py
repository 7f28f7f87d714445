"""The COMPUTE node as a black box: only calls, through the fixtures of pytest-grpc."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest

from onex.v1 import compute_pb2, compute_pb2_grpc
from onex_lease import EmbeddedEtcd
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.node import ComputeNode
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.blackbox import served


@pytest.fixture(scope="module")
def grpc_addr(etcd: EmbeddedEtcd) -> Iterator[str]:
    with served(ComputeNode(AlgorithmRegistry(), "1.0.0"), etcd, uuid.uuid4().hex) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[compute_pb2_grpc.ComputeServiceStub]:
    return compute_pb2_grpc.ComputeServiceStub


def contract(algorithm: str, data: object) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(correlation_id="black-box", input_data=json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    return made


def test_sum(grpc_stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R29, R39, R45, R160: sum of [1,2,3,4,5] is 15, under the caller's correlation id."""
    request = compute_pb2.ExecuteComputeRequest(contract=contract("sum", [1, 2, 3, 4, 5]))
    output = grpc_stub.ExecuteCompute(request, timeout=10).output
    assert from_payload(output.processed_data) == 15
    assert (output.correlation_id, output.performance_metrics.algorithm_type) == ("black-box", "sum")


def test_progress_then_the_result(grpc_stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R43: each chunk is reported, then the output once."""
    made = contract("sum", list(range(10)))
    made.parallel_config.worker_count = 2
    updates = list(grpc_stub.StreamCompute(compute_pb2.StreamComputeRequest(contract=made), timeout=20))
    kinds = [update.WhichOneof("update") for update in updates]
    assert kinds == ["progress"] * (len(kinds) - 1) + ["output"]
    assert updates[-2].progress.done == updates[-2].progress.total >= 1
    assert from_payload(updates[-1].output.processed_data) == 45


def test_algorithms_are_listed_with_schemas(grpc_stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R32: name, version and the schema of the parameters."""
    rows = grpc_stub.ListAlgorithms(compute_pb2.ListAlgorithmsRequest(), timeout=10).algorithms
    found = {row.algorithm_type: row for row in rows}
    assert set(found) >= {"sum", "statistics", "map", "identity"}
    assert "quantiles" in found["statistics"].parameters_schema.fields["properties"].struct_value.fields


def test_an_unknown_algorithm(grpc_stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R41, R149: NOT_FOUND with the reason and the correlation id."""
    with pytest.raises(grpc.RpcError) as caught:
        grpc_stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=contract("nope", 1)), timeout=10)
    error = from_rpc_error(caught.value)
    assert (caught.value.code(), error.reason, error.correlation_id) == (
        grpc.StatusCode.NOT_FOUND,
        "ALGORITHM_NOT_FOUND",
        "black-box",
    )

"""A compute node on a running mesh: its services over gRPC, actions under a real lease, drain, what it announces."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import grpc
import pyarrow as pa
import pytest

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    compute_pb2,
    compute_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    orchestrator_pb2,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Ownership, Session
from onex_mesh.compute.core import AlgorithmRegistry, MergeStrategy
from onex_mesh.compute.node import ComputeNode
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, from_payload, json_payload, to_struct
from onex_mesh.runtime.serving import NodeServer
from tests.aggregations import table_payload
from tests.algorithms import cheaper, patient
from tests.inprocess import InProcessMesh


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def node(mesh: InProcessMesh) -> NodeServer:
    registry = AlgorithmRegistry()
    registry.add_function(cheaper, merge=MergeStrategy.CONCATENATE)
    registry.add_function(patient)
    return await mesh.add(ComputeNode(registry, "1.2.3", workers=2))


@pytest.fixture
def stub(mesh: InProcessMesh, node: NodeServer) -> compute_pb2_grpc.ComputeServiceStub:
    return compute_pb2_grpc.ComputeServiceStub(mesh.channel(node))


@pytest.fixture
async def owned(client: EtcdClient, keys: Keyspace) -> AsyncGenerator[Ownership, None]:
    session = await Session.open(client, instance_id=f"test-{uuid.uuid4().hex[:8]}", ttl_s=5)
    record = workflow_pb2.Commit(workflow_id="w-1")
    record.state.workflow_id = "w-1"
    yield await Journal(client, keys).start(session, record)
    await session.close()


def contract(algorithm: str, data: object, **parameters: object) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(correlation_id="corr-1", input_data=json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    return made


def action(owned: Ownership, command: action_pb2.Command) -> action_pb2.Action:
    made = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=owned.lease_id,
        epoch=owned.epoch,
        target_node=common_pb2.NODE_KIND_COMPUTE,
        command_payload=command,
        correlation_id="corr-2",
        workflow_id=owned.workflow_id,
        fencing_token=owned.fencing_token,
        step_id="price",
    )
    made.issued_at.FromDatetime(datetime.now(UTC))
    made.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=20))
    return made


async def test_a_sum_over_the_wire(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R29, R39, R45: the result with its metrics."""
    request = compute_pb2.ExecuteComputeRequest(contract=contract("sum", [1, 2, 3, 4, 5]))
    output = (await stub.ExecuteCompute(request)).output
    assert from_payload(output.processed_data) == 15
    assert output.correlation_id == "corr-1"
    metrics = output.performance_metrics
    assert (metrics.data_size, metrics.algorithm_type, metrics.algorithm_version) == (1, "sum", "1.0.0")
    assert metrics.execution_time.ToNanoseconds() > 0


async def test_a_join_with_a_table_over_the_wire(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R26, R32: rows on the left, an Arrow table as the further input; what the join takes is listed."""
    made = contract("join", [{"sku": "a", "n": 2}, {"sku": "x", "n": 1}], on=["sku"], kind="left")
    right = pa.table({"sku": ["a", "b"], "pence": [2, 4]})
    made.inputs["right"].CopyFrom(table_payload(right))
    output = (await stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=made))).output
    expected = [{"sku": "a", "n": 2, "pence": 2}, {"sku": "x", "n": 1, "pence": None}]
    assert from_payload(output.processed_data) == expected
    listed = (await stub.ListAlgorithms(compute_pb2.ListAlgorithmsRequest())).algorithms
    (join,) = [row for row in listed if row.algorithm_type == "join"]
    assert [(one.name, one.required) for one in join.inputs] == [("right", False)]


async def test_a_workflow_joins_what_its_steps_made(mesh: InProcessMesh, node: NodeServer) -> None:
    """R106, R147: a further input is another step's output, an Arrow table too."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = workflow_pb2.OrchestratorContract(workflow_id=f"w-{uuid.uuid4().hex[:8]}")
    made.workflow_config.coordination_type = workflow_pb2.COORDINATION_TYPE_PARALLEL
    prices = contract("project", [{"sku": "a", "pence": 2, "other": 1}], fields=["sku", "pence"])
    prices.output_transformation.format = compute_pb2.OUTPUT_FORMAT_DATAFRAME
    joined = contract("join", [{"sku": "a"}, {"sku": "b"}], on=["sku"], kind="left")
    joined.inputs["right"].CopyFrom(json_payload("${steps.prices.output}"))
    for step_id, command in (("join", joined), ("prices", prices)):
        made.workflow_config.steps.add(step_id=step_id).command.compute.CopyFrom(command)
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=made)
    output = (await stub.ExecuteOrchestration(request, timeout=20)).output
    results = {
        row.step_id: from_payload(row.result)
        for row in output.orchestration_result.step_results
        if row.step_id == "join"
    }
    assert results == {"join": [{"sku": "a", "pence": 2}, {"sku": "b", "pence": None}]}


async def test_a_table_over_the_wire(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R38, F22: an Arrow table in, models in chunks, an Arrow table out."""
    table = pa.table({"sku": ["a", "b", "c"], "pence": [2, 4, 6]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    made = contract("cheaper", None)
    made.input_data.CopyFrom(bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE))
    made.parallel_config.worker_count = 2
    made.output_transformation.format = compute_pb2.OUTPUT_FORMAT_DATAFRAME
    output = (await stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=made))).output
    assert (output.performance_metrics.data_size, output.performance_metrics.worker_count) == (3, 2)
    assert output.processed_data.content_type == ARROW_TYPE
    rows = pa.ipc.open_stream(output.processed_data.data).read_all().to_pylist()
    assert rows == [{"sku": "a", "pence": 1}, {"sku": "b", "pence": 2}, {"sku": "c", "pence": 3}]


async def test_errors_arrive_with_reason_and_correlation_id(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R40, R41: as the table says, with the facts."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=contract("nope", 1)))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    error = errors.from_rpc_error(caught.value)
    assert isinstance(error, errors.AlgorithmNotFoundError)
    assert error.correlation_id == "corr-1"
    with pytest.raises(grpc.aio.AioRpcError, match=r"algorithm_config\.algorithm_type is required") as caught:
        await stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_progress_is_streamed_before_the_output(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R43, R44: chunks done of all, elapsed time and memory; a long run is heard of though it has but one part."""
    made = contract("cheaper", [{"sku": "a", "pence": 2}] * 6)
    made.parallel_config.worker_count = 3
    updates = [update async for update in stub.StreamCompute(compute_pb2.StreamComputeRequest(contract=made))]
    assert [(update.progress.done, update.progress.total) for update in updates[:-1]] == [
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert all(update.progress.memory_bytes > 1_000_000 for update in updates[:-1])
    assert updates[-2].progress.rows_done == updates[-2].progress.rows_total > 0
    assert updates[-2].progress.rows_per_second > 0
    assert len(from_payload(updates[-1].output.processed_data)) == 6  # type: ignore[arg-type]  # a list
    request = compute_pb2.StreamComputeRequest(contract=contract("patient", 1.3))
    long = [update async for update in stub.StreamCompute(request)]
    assert [(update.progress.done, update.progress.total) for update in long[:-1]] == [(0, 1), (0, 1), (1, 1)]
    assert long[1].progress.elapsed.ToMilliseconds() >= 900
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.StreamCompute(compute_pb2.StreamComputeRequest(contract=contract("nope", 1))):
            pass
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_caller_that_leaves_stops_the_work(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R43: the algorithm is told, and its thread is free: both threads are needed at once for what comes next."""
    calls = [stub.StreamCompute(compute_pb2.StreamComputeRequest(contract=contract("patient", 60))) for _ in range(2)]
    for call in calls:
        await call.read()
        call.cancel()
    began = time.monotonic()
    request = compute_pb2.ExecuteComputeRequest(contract=contract("patient", 0.01))
    done = await asyncio.gather(*(stub.ExecuteCompute(request, timeout=30) for _ in range(2)))
    assert [from_payload(response.output.processed_data) for response in done] == ["done", "done"]
    assert time.monotonic() - began < 30


async def test_algorithms_are_listed_with_their_schemas(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R32: the application's and the built-in ones, by name."""
    algorithms = (await stub.ListAlgorithms(compute_pb2.ListAlgorithmsRequest())).algorithms
    assert [row.algorithm_type for row in algorithms] == [
        *("cheaper", "deduplicate", "describe", "filter", "group_by", "identity", "join", "map"),
        *("normalise", "patient", "project", "sort", "statistics", "sum", "validate"),
    ]
    row = algorithms[0]
    assert (row.version, row.description, row.pure, row.chunkable) == ("1.0.0", "Half the price.", True, True)
    assert row.input_schema["type"] == "array"
    assert not row.HasField("parameters_schema")
    listed = {row.algorithm_type: row for row in algorithms}
    assert "quantiles" in listed["statistics"].parameters_schema["properties"]
    assert not listed["statistics"].chunkable
    assert "aggregates" in listed["group_by"].parameters_schema["properties"]
    assert listed["filter"].chunkable


async def test_rows_are_grouped_and_checked_over_the_wire(stub: compute_pb2_grpc.ComputeServiceStub) -> None:
    """R30, R37, R38: a built-in algorithm with parameters, rules for its input, and their violations."""
    made = contract("group_by", [{"k": "a", "n": 1}, {"k": "a", "n": 2}])
    made.algorithm_config.parameters.update({"keys": ["k"], "aggregates": {"s": {"function": "sum", "field": "n"}}})
    request = compute_pb2.ExecuteComputeRequest(contract=made)
    response = await stub.ExecuteCompute(request, timeout=30)
    assert from_payload(response.output.processed_data) == [{"k": "a", "s": 3}]
    made.input_validation.rules["n"].maximum = 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=made), timeout=30)
    assert "input_data[1].n is greater than 1: 2" in (caught.value.details() or "")


async def test_an_action_is_computed_under_a_lease(mesh: InProcessMesh, node: NodeServer, owned: Ownership) -> None:
    """R30, R146: each link's output comes with its step; what fails ends the chain and keeps what was done."""
    chain = action_pb2.CommandChain()
    chain.links.add(step_id="price", command=action_pb2.Command(compute=contract("sum", [1, 2])))
    chain.links.add(step_id="wrong", command=action_pb2.Command(compute=contract("sum", ["x"])))
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(node))
    request = action_pb2.ExecuteActionRequest(action=action(owned, action_pb2.Command(chain=chain)))
    result = (await stub.ExecuteAction(request)).result
    assert [from_payload(output.compute.processed_data) for output in result.outputs] == [3]
    assert result.outputs[0].compute.correlation_id == "corr-1"
    assert result.status == action_pb2.ACTION_STATUS_FAILED
    assert result.error.reason == "VALIDATION_FAILED"
    assert result.error.correlation_id == "corr-2"


async def test_the_node_announces_its_algorithms(mesh: InProcessMesh, node: NodeServer) -> None:
    """R94, R159: capabilities in the registry, and a health report."""
    assert {"algorithm:sum", "algorithm:cheaper"} <= set(node.info.capabilities)
    health = (await node_pb2_grpc.NodeServiceStub(mesh.channel(node)).GetHealth(node_pb2.GetHealthRequest())).health
    assert health.status == node_pb2.HEALTH_STATUS_HEALTHY

"""Streams of records to reducer nodes that die, and aggregations within workflows, on real servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import pyarrow as pa
import pytest

from onex.v1 import orchestrator_pb2, reducer_pb2, reducer_pb2_grpc, workflow_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.app.workflow_file import load_workflow
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime.payload import JSON_TYPE, from_payload, json_payload, parse_json
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.serving import NodeServer
from tests.aggregations import table_payload
from tests.inprocess import InProcessMesh


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


def chunk(sequence: int, rows: int = 1_000) -> reducer_pb2.StreamReductionRequest:
    first = (sequence - 1) * rows
    numbers = range(first, first + rows)
    table = pa.table({"key": [number % 7 for number in numbers], "value": [number * 0.1 for number in numbers]})
    made = reducer_pb2.StreamReductionRequest()
    made.chunk.sequence = sequence
    made.chunk.data.CopyFrom(table_payload(table))
    return made


def opening() -> reducer_pb2.StreamReductionRequest:
    made = reducer_pb2.StreamReductionRequest()
    config = made.contract.reduction_config
    config.group_by.append("key")
    for name, method in (("sum", "SUM"), ("spread", "VARIANCE"), ("shares", "QUANTILES"), ("values", "DISTINCT")):
        number = reducer_pb2.AggregationMethod.Value(f"AGGREGATION_METHOD_{method}")
        config.aggregates.add(name=name, method=number, field="value")
    made.contract.streaming_config.chunk_size = 1_500
    return made


async def test_a_stream_goes_on_at_another_node_after_the_first_one_died(mesh: InProcessMesh) -> None:
    """R50, R57: to the last bit what one stream gives, and no record is counted twice."""
    nodes: list[NodeServer] = [await mesh.add(ReducerNode(ReducerRegistry(), "1.0.0")) for _ in range(2)]
    first, second = (reducer_pb2_grpc.ReducerServiceStub(mesh.channel(node)) for node in nodes)
    chunks = [chunk(sequence) for sequence in range(1, 11)]
    whole = None
    async for update in second.StreamReduction(iter([opening(), *chunks])):
        whole = update.output if update.HasField("output") else whole

    call, kept = first.StreamReduction(), reducer_pb2.ReductionProgress()
    await call.write(opening())
    for request in chunks[:6]:
        await call.write(request)
    while kept.sequence < 4:
        update = await call.read()
        if update.progress.HasField("state"):
            kept = update.progress
    await mesh.remove(nodes[0])
    with pytest.raises(grpc.aio.AioRpcError):
        await _rest(call)

    again = opening()
    again.contract.current_state.CopyFrom(kept.state)
    again.contract.resume_after, again.contract.resume_records = kept.sequence, kept.records_processed
    output = None
    async for update in second.StreamReduction(iter([again, *chunks])):
        output = update.output if update.HasField("output") else output
    assert whole is not None
    assert output is not None
    assert output.aggregated_data == whole.aggregated_data
    assert output.state == whole.state
    assert output.reduction_metrics.records_processed == 10_000


async def _rest(call: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]  # of any messages
    while await call.read() is not grpc.aio.EOF:
        continue


WORKFLOW = """
name: revenue
steps:
  - step_id: by_country
    reduction:
      reduction_config:
        state_key: revenue
        group_by: [country]
        aggregates:
          - {name: orders, method: COUNT}
          - {name: pence, method: SUM, field: pence}
        window: {kind: TUMBLING, time_field: at, size: 1h, late_data: DROP}
      input_data: ${input.first}
  - step_id: more
    depends_on: [by_country]
    reduction:
      reduction_config:
        state_key: revenue
        group_by: [country]
        aggregates:
          - {name: orders, method: COUNT}
          - {name: pence, method: SUM, field: pence}
        window: {kind: TUMBLING, time_field: at, size: 1h, late_data: DROP}
      input_data: ${input.second}
"""


def record(country: str, at: str, pence: int) -> dict[str, object]:
    return {"country": country, "at": f"2026-03-04T{at}:00Z", "pence": pence}


async def test_a_workflow_continues_the_state_of_an_earlier_step(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R55, R60: windows and keys in a YAML file; what the one step left, the next one continues."""
    await mesh.add(ReducerNode(ReducerRegistry(), "1.0.0"))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    file = tmp_path / "revenue.yaml"
    file.write_text(WORKFLOW)
    data = {
        "first": [record("UK", "10:05", 100), record("FR", "10:10", 200)],
        "second": [record("UK", "10:50", 50), record("UK", "11:30", 7), record("FR", "10:59", 9)],
    }
    contract = load_workflow(file)
    contract.initial_state.CopyFrom(json_payload(data))
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
    result = (await stub.ExecuteOrchestration(request)).output.orchestration_result
    assert result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED, result.errors
    rows = from_payload(result.step_results[1].result)
    assert isinstance(rows, list)
    start = "2026-03-04T10:00:00Z"
    assert [row for row in rows if isinstance(row, dict) and row["window_start"] == start] == [
        {
            "window_start": start,
            "window_end": "2026-03-04T11:00:00Z",
            "country": country,
            "orders": orders,
            "pence": pence,
            "final": True,
        }
        for country, orders, pence in (("FR", 1, 200), ("UK", 2, 150))
    ]


COUNTED = """
name: counted
steps:
  - step_id: first
    reduction:
      reduction_config: {state_key: seen, group_by: [key], aggregation_method: COUNT}
      input_data: ${input.rows}
  - step_id: second
    depends_on: [first]
    reduction:
      reduction_config: {state_key: seen, group_by: [key], aggregation_method: COUNT}
      input_data: ${input.rows}
"""


async def test_a_state_of_many_groups_lies_in_the_payload_store(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R55, R60: a later step continues from it; the state key of the workflow stays small."""
    store = f"file://{tmp_path / 'store'}"
    await mesh.add(ReducerNode(ReducerRegistry(), "1.0.0"), payload_store=store)
    stub = mesh.orchestrator(await mesh.add_orchestrator(payload_store=store))
    file = tmp_path / "counted.yaml"
    file.write_text(COUNTED)
    contract = load_workflow(file)
    contract.workflow_id = "counted-1"
    contract.initial_state.CopyFrom(json_payload({"rows": [{"key": f"{number:040d}"} for number in range(8_000)]}))
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
    result = (await stub.ExecuteOrchestration(request)).output.orchestration_result
    assert result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED, result.errors
    found = (await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="counted-1"))).state
    kept = found.reducer_states["seen"].state
    assert kept.location.size_bytes > 256 * 1024
    assert kept.content_type == JSON_TYPE
    assert found.ByteSize() < 4096
    groups = parse_json(await FsspecPayloads(store).get(kept.location))
    assert isinstance(groups, dict)
    assert [group[3] for group in groups["groups"]] == [[2]] * 8_000  # type: ignore[index, union-attr, call-overload]  # JSON

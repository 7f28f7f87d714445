"""Direct calls with payloads that are too large for a message: inputs and results that lie in the payload store."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    reducer_pb2,
    reducer_pb2_grpc,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Session
from onex_mesh.app import App
from onex_mesh.compute.node import ComputeNode
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.node import EffectNode
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import JSON_TYPE, from_payload, json_payload
from onex_mesh.runtime.payload_store import FsspecPayloads
from tests.inprocess import InProcessMesh

MESSAGE_BYTES_MAX = 256 * 1024
ROWS = [{"n": number, "text": "x" * 40} for number in range(20_000)]
"""More than a message of these tests carries."""


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncIterator[InProcessMesh]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> FsspecPayloads:
    return FsspecPayloads(f"file://{tmp_path}")


@pytest.fixture
async def rows(store: FsspecPayloads) -> common_pb2.Payload:
    location = await store.put(json.dumps(ROWS).encode())
    return common_pb2.Payload(location=location, content_type=JSON_TYPE)


async def compute_stub(
    mesh: InProcessMesh, store: str, message_bytes_max: int = MESSAGE_BYTES_MAX
) -> compute_pb2_grpc.ComputeServiceStub:
    node = ComputeNode(App("shop").algorithms, "1")
    server = await mesh.add(node, payload_store=store, message_bytes_max=message_bytes_max)
    return compute_pb2_grpc.ComputeServiceStub(mesh.channel(server))


def contract(algorithm: str, data: common_pb2.Payload, **parameters: object) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=data)
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.update(parameters)  # type: ignore[arg-type]  # plain JSON
    return made


async def refused(call: Awaitable[object]) -> errors.OnexError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return errors.from_rpc_error(caught.value)


async def test_a_computation_takes_a_location_and_gives_one(
    mesh: InProcessMesh, store: FsspecPayloads, rows: common_pb2.Payload, tmp_path: Path
) -> None:
    """R29, R147: a small result comes as it is, one that no message carries as its location; streamed likewise."""
    stub = await compute_stub(mesh, f"file://{tmp_path}")
    small = compute_pb2.ExecuteComputeRequest(contract=contract("sum", rows, field="n"))
    assert from_payload((await stub.ExecuteCompute(small, timeout=20)).output.processed_data) == 199_990_000
    large = compute_pb2.ExecuteComputeRequest(contract=contract("identity", rows))
    found = (await stub.ExecuteCompute(large, timeout=20)).output.processed_data
    assert json.loads(await store.get(found.location)) == ROWS
    streamed = compute_pb2.StreamComputeRequest(contract=large.contract)
    answers = [answer async for answer in stub.StreamCompute(streamed, timeout=20)]
    assert answers[-1].output.processed_data == found


async def test_a_result_that_fits_a_message_comes_as_it_is(
    mesh: InProcessMesh, rows: common_pb2.Payload, tmp_path: Path
) -> None:
    """R29: although it is larger than what a workflow commits."""
    stub = await compute_stub(mesh, f"file://{tmp_path}", message_bytes_max=16 * 1024 * 1024)
    request = compute_pb2.ExecuteComputeRequest(contract=contract("identity", rows))
    assert from_payload((await stub.ExecuteCompute(request, timeout=20)).output.processed_data) == ROWS


async def test_a_result_that_no_message_carries_is_refused_without_a_store(mesh: InProcessMesh) -> None:
    """R149: with its size and what to set, not as a failure of gRPC."""
    stub = await compute_stub(mesh, "")
    data = json_payload([{"n": "x" * 100} for _ in range(2000)])
    made = contract("map", data, fields={"a": "row.n", "b": "row.n"})
    error = await refused(stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=made), timeout=20))
    assert error.reason == "PAYLOAD_TOO_LARGE"
    assert "set ONEX_PAYLOAD_STORE" in error.message
    assert error.correlation_id


async def test_a_location_that_leads_nowhere_is_refused(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R18: with the path of the field."""
    stub = await compute_stub(mesh, f"file://{tmp_path}")
    lost = common_pb2.Payload(location=common_pb2.PayloadLocation(uri="payloads/aa/" + "a" * 64, digest="a" * 64))
    error = await refused(
        stub.ExecuteCompute(compute_pb2.ExecuteComputeRequest(contract=contract("sum", lost)), timeout=20)
    )
    assert isinstance(error, errors.ValidationError)
    assert error.violations[0][0] == "input_data.location.uri"


async def test_a_reduction_takes_a_location(
    mesh: InProcessMesh, rows: common_pb2.Payload, tmp_path: Path, store: FsspecPayloads
) -> None:
    """R51, R57: records, the state that it goes on from, and the chunks of a stream."""
    server = await mesh.add(ReducerNode(App("shop").reducers, "1"), payload_store=f"file://{tmp_path}")
    stub = reducer_pb2_grpc.ReducerServiceStub(mesh.channel(server))
    made = reducer_pb2.ReducerContract(input_data=rows)
    made.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_SUM
    made.reduction_config.field = "n"
    state = await store.put(b"10")
    made.current_state.CopyFrom(common_pb2.Payload(location=state, content_type=JSON_TYPE))
    answer = await stub.ExecuteReduction(reducer_pb2.ExecuteReductionRequest(contract=made), timeout=20)
    assert from_payload(answer.output.aggregated_data) == 199_990_010
    made.ClearField("input_data")
    messages = [
        reducer_pb2.StreamReductionRequest(contract=made),
        reducer_pb2.StreamReductionRequest(chunk=reducer_pb2.ReductionChunk(sequence=1, data=rows)),
    ]
    answers = [answer async for answer in stub.StreamReduction(iter(messages), timeout=20)]
    assert from_payload(answers[-1].output.aggregated_data) == 199_990_010


async def test_effects_give_locations(mesh: InProcessMesh, tmp_path: Path, store: FsspecPayloads) -> None:
    """R12, R13: results that no message carries, of contracts and of intents, become locations."""
    app = App("shop")

    @app.effect("repeat")
    def repeat(parameters: dict[str, object], context: EffectContext) -> dict[str, str]:
        """Gives a large text."""
        return {"text": "x" * MESSAGE_BYTES_MAX}

    server = await mesh.add(
        EffectNode(app.effects, None, "1"), payload_store=f"file://{tmp_path}", message_bytes_max=MESSAGE_BYTES_MAX
    )
    stub = effect_pb2_grpc.EffectServiceStub(mesh.channel(server))
    made = effect_pb2.EffectContract()
    made.io_operation_config.effect_type = "repeat"
    answer = await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=made), timeout=20)
    expected = {"text": "x" * MESSAGE_BYTES_MAX}
    assert json.loads(await store.get(answer.output.operation_result.location)) == expected
    intent = intent_pb2.Intent(
        intent_id="i-1", intent_type=intent_pb2.INTENT_TYPE_CUSTOM, custom_type="repeat", target="app"
    )
    request = effect_pb2.ExecuteIntentsRequest(intents=[intent])
    results = [answer.result async for answer in stub.ExecuteIntents(request, timeout=20)]
    assert json.loads(await store.get(results[0].result.location)) == expected


async def test_an_intent_whose_result_no_message_carries_stops_no_other(mesh: InProcessMesh) -> None:
    """R86, R149: without a store it is completed, and says why its result is not there; the next one is executed."""
    app = App("shop")

    @app.effect("repeat")
    def repeat(parameters: dict[str, int], context: EffectContext) -> dict[str, str]:
        """Gives a text of a size."""
        return {"text": "x" * parameters["size"]}

    server = await mesh.add(EffectNode(app.effects, None, "1"), message_bytes_max=MESSAGE_BYTES_MAX)
    request = effect_pb2.ExecuteIntentsRequest()
    for intent_id, size in (("i-1", MESSAGE_BYTES_MAX), ("i-2", 10)):
        intent = request.intents.add(
            intent_id=intent_id, intent_type=intent_pb2.INTENT_TYPE_CUSTOM, custom_type="repeat", target="app"
        )
        intent.payload.update({"size": size})
    stub = effect_pb2_grpc.EffectServiceStub(mesh.channel(server))
    answers = {row.result.intent_id: row.result async for row in stub.ExecuteIntents(request, timeout=20)}
    assert {row.status for row in answers.values()} == {intent_pb2.INTENT_STATUS_COMPLETED}
    assert answers["i-1"].error.reason == "PAYLOAD_TOO_LARGE"
    assert "ONEX_PAYLOAD_STORE" in answers["i-1"].error.message
    assert not answers["i-1"].HasField("result")
    assert from_payload(answers["i-2"].result) == {"text": "x" * 10}


async def test_a_single_action_that_no_message_carries_is_refused(
    mesh: InProcessMesh, client: EtcdClient, keys: Keyspace
) -> None:
    """R149: ExecuteAction says it in the result, as the stream does."""
    server = await mesh.add(ComputeNode(App("shop").algorithms, "1"), message_bytes_max=MESSAGE_BYTES_MAX)
    session = await Session.open(client, instance_id=f"test-{uuid.uuid4().hex[:8]}", ttl_s=5)
    record = workflow_pb2.Commit(workflow_id="w-1")
    record.state.workflow_id = "w-1"
    owned = await Journal(client, keys).start(session, record)
    data = json_payload([{"n": "x" * 100} for _ in range(2000)])
    made = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=owned.lease_id,
        epoch=owned.epoch,
        fencing_token=owned.fencing_token,
        target_node=common_pb2.NODE_KIND_COMPUTE,
        correlation_id="c",
        workflow_id="w-1",
        step_id="s",
        command_payload=action_pb2.Command(compute=contract("map", data, fields={"a": "row.n", "b": "row.n"})),
    )
    made.issued_at.FromDatetime(datetime.now(UTC))
    made.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=20))
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(server))
    answer = await stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=made), timeout=20)
    assert answer.result.error.reason == "PAYLOAD_TOO_LARGE"
    assert "set ONEX_PAYLOAD_STORE" in answer.result.error.message
    await session.close()

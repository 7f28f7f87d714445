"""A reducer node on a running mesh: its services over gRPC, actions under a real lease, health, development."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import grpc
import loophole
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    node_pb2,
    node_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Ownership, Session
from onex_mesh.reducer.core import ReducerRegistry, transition
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import from_payload, json_payload
from onex_mesh.runtime.serving import NodeServer
from tests.inprocess import InProcessMesh
from tests.order_machine import Order, OrderMachine

ORDER = {"items": [{"sku": "tea", "price": "2.50", "quantity": 3}], "customer_email": "ann@example.org"}


class Forgetful:
    """A machine that is not pure."""

    state_model = Order

    @staticmethod
    @transition("GO", source="*", target=None)
    def go(state: Order) -> Order:
        """Different each time."""
        return state.model_copy(update={"order_id": loophole.count()})


def registry() -> ReducerRegistry:
    made = ReducerRegistry()
    made.add_class(OrderMachine, name="order")
    made.add_class(OrderMachine, name="order", version="1.1.0")
    made.add_class(Forgetful)
    return made


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def node(mesh: InProcessMesh) -> NodeServer:
    return await mesh.add(ReducerNode(registry(), "1.2.3"))


@pytest.fixture
def stub(mesh: InProcessMesh, node: NodeServer) -> reducer_pb2_grpc.ReducerServiceStub:
    return reducer_pb2_grpc.ReducerServiceStub(mesh.channel(node))


@pytest.fixture
async def session(client: EtcdClient) -> AsyncGenerator[Session, None]:
    opened = await Session.open(client, instance_id=f"test-{uuid.uuid4().hex[:8]}", ttl_s=5)
    yield opened
    await opened.close()


@pytest.fixture
async def owned(client: EtcdClient, keys: Keyspace, session: Session) -> Ownership:
    record = workflow_pb2.Commit(workflow_id="w-1")
    record.state.workflow_id = "w-1"
    return await Journal(client, keys).start(session, record)


def place_order() -> reducer_pb2.ReducerContract:
    made = reducer_pb2.ReducerContract(correlation_id="corr-1")
    made.reduction_config.reducer = "order"
    made.fsm_action.action = "PLACE_ORDER"
    made.fsm_action.payload.CopyFrom(json_payload(ORDER))
    return made


def action(owned: Ownership, command: action_pb2.Command) -> action_pb2.Action:
    made = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=owned.lease_id,
        epoch=owned.epoch,
        target_node=common_pb2.NODE_KIND_REDUCER,
        command_payload=command,
        correlation_id="corr-2",
        workflow_id=owned.workflow_id,
        fencing_token=owned.fencing_token,
        step_id="place",
    )
    made.issued_at.FromDatetime(datetime.now(UTC))
    made.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=20))
    return made


async def test_the_order_is_placed_over_the_wire(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R51, R64, R65, R70–R72: state, what happened to it, and three intents; the same call gives the same again but
    for the time."""
    contract = place_order()
    contract.occurred_at.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    request = reducer_pb2.ExecuteReductionRequest(contract=contract)
    first = (await stub.ExecuteReduction(request)).output
    again = (await stub.ExecuteReduction(request)).output
    assert first.correlation_id == "corr-1"
    assert (first.state_metadata.previous_state, first.state_metadata.new_state) == ("IDLE", "ORDER_PLACED")
    assert [intent.target for intent in first.intents] == ["orders_table", "email_service", "order_events_topic"]
    for output in (first, again):
        output.reduction_metrics.ClearField("execution_time")
    assert first == again


async def test_errors_arrive_with_reason_and_fields(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R66, R67: status, ErrorInfo and BadRequest as the table says."""
    contract = place_order()
    contract.fsm_action.action = "CANCEL_ORDER"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ExecuteReduction(reducer_pb2.ExecuteReductionRequest(contract=contract))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    known = errors.from_rpc_error(caught.value)
    assert isinstance(known, errors.UnknownActionError)
    assert known.correlation_id == "corr-1"
    contract = place_order()
    contract.fsm_action.payload.CopyFrom(json_payload({"items": []}))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ExecuteReduction(reducer_pb2.ExecuteReductionRequest(contract=contract))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(caught.value)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    fields = {violation.field for violation in bad.field_violations}
    assert fields == {"fsm_action.payload.items", "fsm_action.payload.customer_email"}


async def test_a_stream_of_chunks_is_aggregated(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R50, R57: the contract, then chunks; progress as they are counted, then the output."""
    contract = reducer_pb2.ReducerContract()
    contract.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_AVERAGE
    contract.streaming_config.chunk_size = 10
    call = stub.StreamReduction()
    await call.write(reducer_pb2.StreamReductionRequest(contract=contract))
    for sequence in range(1, 6):
        data = json_payload(list(range((sequence - 1) * 10, sequence * 10)))
        chunk = reducer_pb2.ReductionChunk(sequence=sequence, data=data)
        await call.write(reducer_pb2.StreamReductionRequest(chunk=chunk))
        update = await call.read()
        assert (update.progress.sequence, update.progress.records_processed) == (sequence, sequence * 10)
    await call.done_writing()
    update = await call.read()
    assert from_payload(update.output.aggregated_data) == 24.5
    assert from_payload(update.output.state) == {"sum": 1225, "count": 50}
    assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "the first message is the contract, and is missing"),
        ([reducer_pb2.StreamReductionRequest(chunk=reducer_pb2.ReductionChunk(sequence=1))], "is the contract"),
        ([reducer_pb2.StreamReductionRequest(contract=reducer_pb2.ReducerContract())], "names neither"),
    ],
)
async def test_a_stream_begins_with_its_contract(
    stub: reducer_pb2_grpc.ReducerServiceStub, requests: list[reducer_pb2.StreamReductionRequest], message: str
) -> None:
    """R57: once, and first."""
    with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
        await _streamed(stub, requests)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_after_the_contract_come_only_chunks(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R57: a second contract is refused, and so are records within the contract."""
    contract = reducer_pb2.ReducerContract()
    contract.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_SUM
    request = reducer_pb2.StreamReductionRequest(contract=contract)
    with pytest.raises(grpc.aio.AioRpcError, match="after the contract come only chunks"):
        await _streamed(stub, [request, request])
    contract.input_data.CopyFrom(json_payload([1]))
    with pytest.raises(grpc.aio.AioRpcError, match="the records of a stream come in chunks"):
        await _streamed(stub, [reducer_pb2.StreamReductionRequest(contract=contract)])


async def test_reducers_are_listed_with_their_schemas(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R65: states, transitions and schemas, by name and version."""
    reducers = (await stub.ListReducers(reducer_pb2.ListReducersRequest())).reducers
    assert [(row.name, row.version) for row in reducers] == [
        ("forgetful", "1.0.0"),
        ("order", "1.0.0"),
        ("order", "1.1.0"),
    ]
    order = reducers[1]
    assert order.description == "Takes an order from nothing to the customer's door."
    assert list(order.states) == ["IDLE", "ORDER_PLACED", "PAYMENT_CONFIRMED", "SHIPPED"]
    assert (order.initial_state, list(order.final_states)) == ("IDLE", ["SHIPPED"])
    assert [(row.action, list(row.sources), row.target) for row in order.transitions] == [
        ("PLACE_ORDER", ["IDLE"], "ORDER_PLACED"),
        ("CONFIRM_PAYMENT", ["ORDER_PLACED"], "PAYMENT_CONFIRMED"),
        ("SHIP_ORDER", ["PAYMENT_CONFIRMED"], "SHIPPED"),
    ]
    assert "customer_email" in order.transitions[0].payload_schema["properties"]
    assert not order.transitions[2].HasField("payload_schema")
    assert "tracking_no" in order.state_schema["properties"]
    assert list(reducers[0].transitions[0].sources) == ["*"]


async def test_an_action_gives_time_and_ids(mesh: InProcessMesh, node: NodeServer, owned: Ownership) -> None:
    """F13, R46, R146: under a lease, the time is issued_at and the ids derive from action_id."""
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(node))
    made = action(owned, action_pb2.Command(reduction=place_order()))
    result = (await stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=made))).result
    assert result.status == action_pb2.ACTION_STATUS_COMPLETED
    output = result.outputs[0].reduction
    state = from_payload(output.aggregated_data)
    assert isinstance(state, dict)
    assert datetime.fromisoformat(str(state["placed_at"])) == made.issued_at.ToDatetime(tzinfo=UTC)
    assert output.intents[1].intent_id == str(uuid.uuid5(uuid.UUID(made.action_id), "1"))


async def test_other_commands_are_refused(mesh: InProcessMesh, node: NodeServer, owned: Ownership) -> None:
    """R139: a reducer node executes reductions."""
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(node))
    made = action(owned, action_pb2.Command())
    made.command_payload.compute.algorithm_config.algorithm_type = "sum"
    with pytest.raises(grpc.aio.AioRpcError, match="reduction") as caught:
        await stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=made))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_links_of_a_chain_have_ids_of_their_own(mesh: InProcessMesh, node: NodeServer, owned: Ownership) -> None:
    """F13, R73: two reducers in one action never give the same id or key to two intents."""
    chain = action_pb2.CommandChain()
    for step_id in ("place", "place_another"):
        chain.links.add(step_id=step_id, command=action_pb2.Command(reduction=place_order()))
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(node))
    request = action_pb2.ExecuteActionRequest(action=action(owned, action_pb2.Command(chain=chain)))
    result = (await stub.ExecuteAction(request)).result
    intents = [intent for output in result.outputs for intent in output.reduction.intents]
    assert len(intents) == 6
    assert len({intent.intent_id for intent in intents}) == 6
    assert len({intent.idempotency_key for intent in intents}) == 6


async def test_the_node_announces_its_reducers(mesh: InProcessMesh, node: NodeServer) -> None:
    """R94, R159: capabilities in the registry, and a health report."""
    assert {"reducer:order", "reducer:forgetful"} <= set(node.info.capabilities)
    stub = node_pb2_grpc.NodeServiceStub(mesh.channel(node))
    health = (await stub.GetHealth(node_pb2.GetHealthRequest())).health
    assert health.status == node_pb2.HEALTH_STATUS_HEALTHY


async def test_in_development_an_impure_transition_is_found(mesh: InProcessMesh, node: NodeServer) -> None:
    """R48: with the setting, each transition runs twice; without it, nobody notices."""
    contract = reducer_pb2.ReducerContract()
    contract.reduction_config.reducer = "forgetful"
    contract.fsm_action.action = "GO"
    request = reducer_pb2.ExecuteReductionRequest(contract=contract)
    await reducer_pb2_grpc.ReducerServiceStub(mesh.channel(node)).ExecuteReduction(request)
    careful = await mesh.add(ReducerNode(registry(), "1.2.3"), development=True)
    with pytest.raises(grpc.aio.AioRpcError, match="two runs of GO differ in state") as caught:
        await reducer_pb2_grpc.ReducerServiceStub(mesh.channel(careful)).ExecuteReduction(request)
    assert isinstance(errors.from_rpc_error(caught.value), errors.PurityViolationError)


def test_a_node_serves_once_it_is_started() -> None:
    """R113: nothing is executed before start."""
    with pytest.raises(errors.InternalError, match="the node is not started"):
        ReducerNode(registry()).executor()


async def _streamed(
    stub: reducer_pb2_grpc.ReducerServiceStub, requests: list[reducer_pb2.StreamReductionRequest]
) -> None:
    async for _ in stub.StreamReduction(iter(requests)):
        pass

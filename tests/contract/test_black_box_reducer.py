"""The REDUCER node as a black box: only calls, through the fixtures of pytest-grpc."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest

from examples.orders.app import app
from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_lease import EmbeddedEtcd
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.blackbox import served


@pytest.fixture(scope="module")
def grpc_addr(etcd: EmbeddedEtcd) -> Iterator[str]:
    with served(ReducerNode(app.reducers, "1.0.0"), etcd, uuid.uuid4().hex) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[reducer_pb2_grpc.ReducerServiceStub]:
    return reducer_pb2_grpc.ReducerServiceStub


def aggregation(method: reducer_pb2.AggregationMethod, data: object, state: object = None) -> object:
    made = reducer_pb2.ReducerContract(correlation_id="black-box", input_data=json_payload(data))
    made.reduction_config.aggregation_method = method
    if state is not None:
        made.current_state.CopyFrom(state)  # type: ignore[arg-type]  # a payload that the node returned
    return reducer_pb2.ExecuteReductionRequest(contract=made)


def test_an_average_goes_on(grpc_stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R51, R54, R55, R64, F24: the average of [2, 4], continued with [9], is 5."""
    first = grpc_stub.ExecuteReduction(aggregation(reducer_pb2.AGGREGATION_METHOD_AVERAGE, [2, 4]), timeout=10).output
    assert from_payload(first.aggregated_data) == 3
    second = grpc_stub.ExecuteReduction(
        aggregation(reducer_pb2.AGGREGATION_METHOD_AVERAGE, [9], first.state), timeout=10
    ).output
    assert from_payload(second.aggregated_data) == 5
    assert second.reduction_metrics.records_processed == 1
    assert second.correlation_id == "black-box"


def order(action: str, payload: object) -> reducer_pb2.ExecuteReductionRequest:
    made = reducer_pb2.ReducerContract(correlation_id="black-box", action_id=str(uuid.UUID(int=7)))
    made.reduction_config.reducer = "order"
    made.fsm_action.action = action
    made.fsm_action.payload.CopyFrom(json_payload(payload))
    return reducer_pb2.ExecuteReductionRequest(contract=made)


def test_the_order_machine_is_described(grpc_stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R70–R72: its states and actions."""
    rows = {row.name: row for row in grpc_stub.ListReducers(reducer_pb2.ListReducersRequest(), timeout=10).reducers}
    assert rows["order"].initial_state == "IDLE"
    assert {"PLACE_ORDER", "CONFIRM_PAYMENT", "SHIP_ORDER"} <= {row.action for row in rows["order"].transitions}


@pytest.mark.parametrize(("action", "reason"), [("DANCE", "UNKNOWN_ACTION"), ("SHIP_ORDER", "TRANSITION_REFUSED")])
def test_actions_that_cannot_be(grpc_stub: reducer_pb2_grpc.ReducerServiceStub, action: str, reason: str) -> None:
    """R66: an unknown action, and one that the state does not take, each with its reason."""
    with pytest.raises(grpc.RpcError) as caught:
        grpc_stub.ExecuteReduction(order(action, {}), timeout=10)
    assert from_rpc_error(caught.value).reason == reason

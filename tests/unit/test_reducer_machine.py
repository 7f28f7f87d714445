"""One transition of a state machine: the order process, what is refused, and that the action alone decides."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import loophole
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from onex.v1 import intent_pb2
from onex_mesh.reducer.core import (
    FrozenDict,
    FrozenJson,
    Fsm,
    Next,
    ReducerContext,
    ReducerRegistry,
    api_call,
    cache_update,
    custom,
    database_write,
    file_operation,
    transition,
)
from onex_mesh.reducer.core.machine import Applied, apply_action
from onex_mesh.reducer.core.wire import intent_messages
from onex_mesh.runtime.errors import (
    PurityViolationError,
    ReductionFailedError,
    StateConsistencyError,
    TransitionRefusedError,
    UnknownActionError,
    ValidationError,
)
from onex_mesh.runtime.payload import from_struct
from tests.order_machine import Order, OrderMachine, Status

ACTION_ID = "2f4a3a52-1c6d-4f0e-8a44-111111111111"
NOW = datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)
ORDER = {
    "items": [{"sku": "tea", "price": "2.50", "quantity": 3}, {"sku": "cup", "price": "10"}],
    "customer_email": "ann@example.org",
}
FSM = Fsm.from_class(OrderMachine, name="order")


def context(action_id: str = ACTION_ID) -> ReducerContext:
    return ReducerContext(now=NOW, action_id=action_id, correlation_id="corr-1")


def act(
    action: str, payload: object = None, state: object = None, *, fsm: Fsm = FSM, action_id: str = ACTION_ID
) -> Applied:
    return apply_action(fsm, state, action, payload, lambda: context(action_id), twice=True)


def placed() -> dict[str, object]:
    return act("PLACE_ORDER", ORDER).document


def machine(function: Callable[..., object], **options: object) -> Fsm:
    """A machine with one transition, GO, from anywhere to anywhere."""
    body = {"state_model": Order, "go": staticmethod(transition("GO", source="*", target=None)(function)), **options}
    return Fsm.from_class(type("Machine", (), body))


# The order process


def test_place_order_sets_the_state_and_emits_three_intents_in_order() -> None:
    """R70–R72: status, order id, items, total and placed_at are set; CRITICAL, HIGH and NORMAL intents follow."""
    applied = act("PLACE_ORDER", ORDER)
    order_id = str(context().uuid("order"))
    assert applied.document == {
        "status": "ORDER_PLACED",
        "order_id": order_id,
        "items": [
            {"sku": "tea", "price": "2.50", "quantity": 3},
            {"sku": "cup", "price": "10", "quantity": 1},
        ],
        "total": "17.50",
        "placed_at": "2026-03-04T05:06:07.089000Z",
        "payment": "",
        "tracking_no": "",
    }
    assert (applied.previous, applied.status, applied.final) == ("IDLE", "ORDER_PLACED", False)
    write, mail, event = intent_messages(applied.intents, context())
    assert [(intent.intent_type, intent.target, intent.priority) for intent in (write, mail, event)] == [
        (intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders_table", intent_pb2.INTENT_PRIORITY_CRITICAL),
        (intent_pb2.INTENT_TYPE_NOTIFICATION, "email_service", intent_pb2.INTENT_PRIORITY_HIGH),
        (intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, "order_events_topic", intent_pb2.INTENT_PRIORITY_NORMAL),
    ]
    assert write.idempotency_key == f"order_{order_id}"
    assert from_struct(write.payload) == {"operation": "insert", "data": applied.document}
    assert from_struct(mail.payload)["to"] == "ann@example.org"
    assert (mail.retry_policy.max_retries, mail.retry_policy.initial_backoff.ToMilliseconds()) == (3, 250)
    assert from_struct(event.payload)["data"] == {"order_id": order_id, "timestamp": "2026-03-04T05:06:07.089000+00:00"}
    assert dict(event.metadata) == {"source": "orders"}


def test_an_order_goes_all_the_way() -> None:
    """R70, R71: IDLE → ORDER_PLACED → PAYMENT_CONFIRMED → SHIPPED, where nothing leads out."""
    paid = act("CONFIRM_PAYMENT", {"reference": "p1", "amount": "17.5"}, placed())
    assert (paid.previous, paid.status, paid.document["payment"]) == ("ORDER_PLACED", "PAYMENT_CONFIRMED", "p1")
    shipped = act("SHIP_ORDER", None, paid.document)
    assert (shipped.status, shipped.final, shipped.intents) == ("SHIPPED", True, ())
    with pytest.raises(TransitionRefusedError):
        act("SHIP_ORDER", None, shipped.document)


def test_ids_and_keys_of_intents_derive_from_the_action() -> None:
    """F13, F27, R73, R79: intent_id is uuid5(action_id, index), and a key is derived where none was given."""
    first = intent_messages(act("PLACE_ORDER", ORDER).intents, context())
    again = intent_messages(act("PLACE_ORDER", ORDER).intents, context())
    other = intent_messages(act("PLACE_ORDER", ORDER, action_id=str(uuid.uuid4())).intents, context(str(uuid.uuid4())))
    assert first == again
    assert [intent.intent_id for intent in first] == [
        str(uuid.uuid5(uuid.UUID(ACTION_ID), str(index))) for index in range(3)
    ]
    keys = [intent.idempotency_key for intent in first]
    assert len(set(keys)) == 3
    assert len(keys[1]) == 64
    assert {intent.intent_id for intent in other}.isdisjoint(intent.intent_id for intent in first)
    assert {intent.correlation_id for intent in first} == {"corr-1"}


def test_the_context_is_made_of_the_action_alone() -> None:
    """F13, R48: time, ids and random numbers repeat for the same action and differ for another."""
    one, same, other = context(), context(), context("not a uuid")
    assert one.now == NOW
    assert (one.uuid("a"), one.uuid(), one.uuid()) == (same.uuid("a"), same.uuid(), same.uuid())
    assert len({one.uuid("a"), one.uuid("b"), one.uuid(), one.uuid(), uuid.UUID(one.intent_id(0))}) == 5
    assert one.random.random() == same.random.random() != other.random.random()
    assert other.uuid("a") == context("not a uuid").uuid("a") != one.uuid("a")


# What is refused


def test_an_unknown_action_is_answered_with_the_known_ones() -> None:
    """R66: the error names the action and what there is."""
    with pytest.raises(UnknownActionError, match=r"CANCEL_ORDER.*PLACE_ORDER, CONFIRM_PAYMENT, SHIP_ORDER") as caught:
        act("CANCEL_ORDER")
    assert caught.value.error_context == {
        "action": "CANCEL_ORDER",
        "known": ["PLACE_ORDER", "CONFIRM_PAYMENT", "SHIP_ORDER"],
    }


def test_an_action_in_the_wrong_state_is_answered_with_the_right_ones() -> None:
    """R65: the error names the state, and the states that the action starts from."""
    with pytest.raises(TransitionRefusedError, match="SHIP_ORDER is refused in the state ORDER_PLACED") as caught:
        act("SHIP_ORDER", None, placed())
    assert caught.value.error_context == {
        "action": "SHIP_ORDER",
        "state": "ORDER_PLACED",
        "allowed": ["PAYMENT_CONFIRMED"],
    }


def test_a_guard_that_refuses_is_named() -> None:
    """R66: a transition that a guard refused says which one."""
    with pytest.raises(TransitionRefusedError, match="by paid_in_full") as caught:
        act("CONFIRM_PAYMENT", {"reference": "p1", "amount": "17.49"}, placed())
    assert caught.value.error_context["guards"] == ["paid_in_full"]


def test_a_payload_that_does_not_fit_is_refused_with_its_paths() -> None:
    """R66: all violations at once, each with its path."""
    with pytest.raises(ValidationError) as caught:
        act("PLACE_ORDER", {"items": [{"sku": 1, "price": "x"}], "unknown": 1})
    assert {
        "fsm_action.payload.items[0].sku",
        "fsm_action.payload.items[0].price",
        "fsm_action.payload.customer_email",
        "fsm_action.payload.unknown",
    } <= {path for path, _ in caught.value.violations}
    with pytest.raises(ValidationError, match=r"fsm_action\.payload"):
        act("PLACE_ORDER", None)


def test_a_state_that_does_not_fit_is_refused() -> None:
    """R67: a stored state of another shape is a consistency error with its paths."""
    with pytest.raises(StateConsistencyError, match=r"current_state\.status") as caught:
        act("PLACE_ORDER", ORDER, {"status": "LOST"})
    assert caught.value.error_context["violations"][0]["field"] == "current_state.status"  # type: ignore[index]


def go_nowhere(state: Order) -> Order:
    return state


def test_a_transition_that_ends_elsewhere_than_declared_is_refused() -> None:
    """R67: the returned status must be the declared target."""

    class Machine:
        state_model = Order
        go = staticmethod(transition("GO", source=Status.IDLE, target=Status.SHIPPED)(go_nowhere))

    with pytest.raises(StateConsistencyError, match="left the state IDLE, but declares SHIPPED"):
        act("GO", fsm=Fsm.from_class(Machine))


def break_the_state(state: Order) -> Order:
    return state.model_copy(update={"items": "three"})


def forget_a_rule(state: Order) -> Order:
    item = {"sku": "x", "price": "1", "quantity": 0}
    return Order.model_construct(**{**dict(state), "items": (item,)})


@pytest.mark.parametrize("function", [break_the_state, forget_a_rule])
def test_a_state_that_could_not_be_read_again_is_refused(function: Callable[..., object]) -> None:
    """R67: model_copy checks nothing, so the state is checked before anybody commits it."""
    with pytest.raises(StateConsistencyError, match="the transition GO left a state"):
        act("GO", fsm=machine(function))


def divide(state: Order, payload: object) -> Order:
    assert isinstance(payload, FrozenDict)
    return state.model_copy(update={"order_id": str(1 / payload["by"])})


def test_an_exception_of_a_transition_is_told_with_its_line() -> None:
    """R149: type, message and line of the application's own code, and no traceback."""
    line = divide.__code__.co_firstlineno + 2
    with pytest.raises(ReductionFailedError) as caught:
        act("GO", {"by": 0}, fsm=machine(divide))
    assert caught.value.message == f"the transition GO failed at {__file__}:{line}: ZeroDivisionError: division by zero"
    assert caught.value.error_context["error_type"] == "ZeroDivisionError"


def refuse(state: Order) -> Order:
    raise TransitionRefusedError("not on a Sunday")


def test_an_error_of_the_mesh_is_passed_on_as_it_is() -> None:
    """R19, R149: a transition may refuse in its own words; the error is no cause of itself."""
    with pytest.raises(TransitionRefusedError, match="not on a Sunday") as caught:
        act("GO", fsm=machine(refuse))
    assert caught.value.__cause__ is None


def return_text(state: Order) -> Order:
    return "done"  # type: ignore[return-value]  # what the annotation hides is what is tested


def return_other_intents(state: Order) -> Next[Order]:
    return Next(state, ["mail"])  # type: ignore[list-item]  # likewise


def return_one_intent(state: Order) -> Next[Order]:
    return Next(state, database_write("t"))  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (return_text, "GO returned a str, not a Order"),
        (return_other_intents, "GO returned a str among its intents"),
        (return_one_intent, "GO returned intents that are no sequence"),
    ],
)
def test_what_a_transition_may_not_return(function: Callable[..., object], message: str) -> None:
    """R46: a state of the model and intents, nothing else; the error names the line of the transition."""
    with pytest.raises(ReductionFailedError, match=message) as caught:
        act("GO", fsm=machine(function))
    assert caught.value.message.startswith(f"{__file__}:{function.__code__.co_firstlineno}: ")


def emit_a_set(state: Order) -> Next[Order]:
    return Next(state, [database_write("t", data={"rows": [{"tags": {"a"}}]})])


def test_an_intent_that_cannot_travel_is_refused_with_its_path() -> None:
    """F22: what is not JSON is an error naming the path, never its text."""
    with pytest.raises(ReductionFailedError, match=r"intent 0 .*data\.rows\[0\]\.tags: a set cannot be JSON"):
        intent_messages(act("GO", fsm=machine(emit_a_set)).intents, context())


def emit_without_target(state: Order) -> Next[Order]:
    return Next(state, [database_write("")])


def test_an_intent_names_its_target() -> None:
    """R75: an intent without target is a failure of the transition that made it."""
    with pytest.raises(ReductionFailedError, match="an intent names its target"):
        act("GO", fsm=machine(emit_without_target))
    with pytest.raises(ValueError, match="custom_type goes with"):
        custom("", "target")


def test_every_kind_of_intent_has_its_payload() -> None:
    """R74, R89, R90: the remaining kinds, with the parameters of the contract; empty ones do not travel."""
    messages = intent_messages(
        (
            api_call("payments", method="POST", path="/charges", body={"amount": 3}, headers={"X-A": "b"}),
            file_operation("archive", operation="write", path="a/b.txt", content="text"),
            cache_update("cache", operation="set", cache_key="k", value=[1]),
            custom("label", "printer", payload={"text": "hi"}),
            database_write("t", operation="delete", table="orders", where={"id": 1}),
        ),
        context(),
    )
    assert [from_struct(message.payload) for message in messages] == [
        {"method": "POST", "path": "/charges", "headers": {"X-A": "b"}, "body": {"amount": 3}},
        {"operation": "write", "path": "a/b.txt", "content": "text"},
        {"operation": "set", "key": "k", "value": [1]},
        {"text": "hi"},
        {"operation": "delete", "table": "orders", "where": {"id": 1}},
    ]
    assert [intent_pb2.IntentType.Name(message.intent_type)[12:] for message in messages] == [
        "API_CALL",
        "FILE_OPERATION",
        "CACHE_UPDATE",
        "CUSTOM",
        "DATABASE_WRITE",
    ]
    assert messages[3].custom_type == "label"


# Choosing among transitions


def is_small(state: Order, payload: object) -> bool:
    return isinstance(payload, FrozenDict) and payload["n"] < 10


def take_small(state: Order) -> Order:
    return state.model_copy(update={"order_id": "small"})


def take_large(state: Order) -> Order:
    return state.model_copy(update={"order_id": "large"})


class Choosing:
    """Two transitions of one action."""

    state_model = Order
    small = staticmethod(transition("GO", source="*", target=None, guard=is_small)(take_small))
    large = staticmethod(transition("GO", source=Status.IDLE, target=None)(take_large))


def test_the_first_transition_whose_guard_allows_it_is_taken() -> None:
    """R46: several transitions of one action are tried in the order of the class."""
    fsm = Fsm.from_class(Choosing)
    assert act("GO", {"n": 3}, fsm=fsm).document["order_id"] == "small"
    assert act("GO", {"n": 30}, fsm=fsm).document["order_id"] == "large"
    with pytest.raises(TransitionRefusedError, match="by is_small"):
        act("GO", {"n": 30}, {"status": "SHIPPED"}, fsm=fsm)


def guard_that_fails(state: Order) -> bool:
    return bool(state.items[7])


def test_a_guard_that_fails_is_an_error_and_no_refusal() -> None:
    """R149: an exception of a guard is told, not taken for "no"."""

    class Machine:
        state_model = Order
        go = staticmethod(transition("GO", source="*", target=None, guard=guard_that_fails)(go_nowhere))

    with pytest.raises(ReductionFailedError, match=r"the guard of GO failed at .*IndexError"):
        act("GO", fsm=Fsm.from_class(Machine))


# Immutability


def change_payload(state: Order, payload: object) -> Order:
    assert isinstance(payload, FrozenDict)
    payload["items"].append(1)
    return state


def change_payload_key(state: Order, payload: object) -> Order:
    payload["items"] = ()  # type: ignore[index]  # that it cannot is what is tested
    return state


@pytest.mark.parametrize("function", [change_payload, change_payload_key])
def test_a_plain_payload_cannot_be_changed_at_any_depth(function: Callable[..., object]) -> None:
    """F38, R82: lists are tuples, objects are FrozenDict."""
    with pytest.raises(ReductionFailedError, match=r"AttributeError|TypeError"):
        act("GO", {"items": [1]}, fsm=machine(function))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


class Bag(BaseModel):
    model_config = ConfigDict(frozen=True)
    status: Status = Status.IDLE
    anything: FrozenJson = None
    counts: FrozenDict[str, int] = FrozenDict()


@given(json_values, st.dictionaries(st.text(max_size=3), st.integers()))
def test_frozen_fields_keep_any_json_and_can_be_hashed(value: object, counts: dict[str, int]) -> None:
    """F38: what goes into FrozenJson and FrozenDict comes out as it was, and nothing in it can be changed."""
    bag = Bag.model_validate({"anything": value, "counts": counts})
    again = Bag.model_validate(bag.model_dump(mode="json"))
    assert bag.model_dump(mode="json") == {"status": "IDLE", "anything": value, "counts": counts}
    assert again == bag
    assert hash(again) == hash(bag)
    assert (bag.counts | {"a": 1})["a"] == 1


def overflow(state: Bag) -> Bag:
    return Bag(anything=(1e308 * 10,))


def test_an_infinity_is_never_stored_as_nothing() -> None:
    """F22: it is no JSON, and is refused instead of becoming null."""
    body = {"state_model": Bag, "go": staticmethod(transition("GO", source="*", target=None)(overflow))}
    with pytest.raises(StateConsistencyError, match="inf is not JSON"):
        act("GO", fsm=Fsm.from_class(type("Bags", (), body)))


# Two runs


def count_up(state: Order) -> Order:
    return state.model_copy(update={"order_id": loophole.count()})


def test_in_development_two_runs_are_compared() -> None:
    """R48: what the check at registration cannot see shows when the transition runs twice."""
    with pytest.raises(PurityViolationError, match=r"two runs of GO differ in state: order_id is '\d+' and then '\d+'"):
        act("GO", fsm=machine(count_up))


# The registry


def test_reducers_are_found_by_name_and_version() -> None:
    """R32: the newest by PEP 440 where no version is named."""
    registry = ReducerRegistry()
    for version in ("1.2.0", "1.10.0", "1.9.0"):
        registry.add_class(OrderMachine, name="order", version=version)
    assert registry.get("order").version == "1.10.0"
    assert registry.get("order", "1.9.0").version == "1.9.0"
    assert [reducer.version for reducer in registry] == ["1.2.0", "1.9.0", "1.10.0"]

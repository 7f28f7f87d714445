"""The order as a state machine: a reducer is tested without any mock (R92)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal

import pytest

from examples.orders.app import app
from examples.orders.invoice import COLUMNS, read_invoice
from examples.orders.order import priced
from examples.orders.pricing import price_invoice
from onex_mesh.reducer.core import Fsm, Intent, IntentType, Priority, ReducerContext
from onex_mesh.reducer.core.machine import Applied, apply_action
from onex_mesh.runtime.errors import TransitionRefusedError, UnknownActionError, ValidationError

NOW = datetime.datetime(2026, 3, 2, 9, 30, tzinfo=datetime.UTC)
ACTION_ID = "7b0c3d52-8a8e-4f6d-9a44-0c2f6d2c9d11"


def context() -> ReducerContext:
    return ReducerContext(now=NOW, action_id=ACTION_ID, correlation_id="c")


def machine() -> Fsm:
    found = app.reducers.get("order")
    assert isinstance(found, Fsm)
    return found


def act(state: object, action: str, payload: object) -> Applied:
    return apply_action(machine(), state, action, payload, context, twice=True)


def payload(number: str, *lines: tuple[str, str], customer: str = "17850") -> dict[str, object]:
    """The pricing of an invoice with lines of (quantity, price)."""
    rows = []
    for quantity, price in lines:
        values = (number, "85123A", "LANTERN", quantity, "3/2/26 9:05", price, customer, "France")
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return priced(price_invoice(read_invoice(rows))).model_dump(mode="json")


def summary(intent: Intent) -> tuple[IntentType, str, Priority]:
    return (intent.type, intent.target, intent.priority)


THREE = [
    (IntentType.DATABASE_WRITE, "orders_table", Priority.CRITICAL),
    (IntentType.NOTIFICATION, "email_service", Priority.HIGH),
    (IntentType.MESSAGE_PUBLISH, "order_events_topic", Priority.NORMAL),
]


def test_place_order() -> None:
    """R70–R72: IDLE → ORDER_PLACED; status, order_id, items, total, placed_at; three intents in this order."""
    placed = act(None, "PLACE_ORDER", payload("536365", ("6", "2.55"), ("8", "2.75")))
    assert (placed.previous, placed.status, placed.final) == ("IDLE", "ORDER_PLACED", False)
    document = placed.document
    assert document["order_id"] == "ord-536365"
    assert document["total"] == "37.30"
    assert document["placed_at"] == "2026-03-02T09:30:00Z"
    items = document["items"]
    assert isinstance(items, list)
    assert [item["total_pence"] for item in items] == [1530, 2200]
    assert [summary(intent) for intent in placed.intents] == THREE
    write, mail, event = placed.intents
    assert write.idempotency_key == "order_ord-536365"
    row = write.payload["data"]
    assert write.payload["operation"] == "insert"
    assert isinstance(row, Mapping)
    assert (row["order_id"], row["status"]) == ("ord-536365", "ORDER_PLACED")
    assert (row["total_pence"], row["item_count"]) == (3730, 2)
    assert (mail.payload["template"], mail.payload["to"]) == (
        "order_confirmation",
        "customer-17850@customers.shop.example",
    )
    assert event.payload["event_type"] == "order.placed"


def test_the_same_action_gives_the_same_order() -> None:
    """R48, F13: state and intents derive from the action alone."""
    given = payload("536365", ("6", "2.55"))
    assert act(None, "PLACE_ORDER", given) == act(None, "PLACE_ORDER", given)


def test_an_order_goes_its_way() -> None:
    """R70: PLACE_ORDER, CONFIRM_PAYMENT, SHIP_ORDER; each step is announced."""
    placed = act(None, "PLACE_ORDER", payload("1", ("1", "10.00")))
    paid = act(placed.document, "CONFIRM_PAYMENT", {"reference": "bank-7", "amount_pence": 1000})
    assert (paid.status, paid.document["payment_reference"]) == ("PAYMENT_CONFIRMED", "bank-7")
    assert [summary(intent) for intent in paid.intents] == THREE
    assert paid.intents[0].payload["where"] == {"order_id": "ord-1"}
    assert paid.intents[0].idempotency_key == "order_ord-1_paid"
    shipped = act(paid.document, "SHIP_ORDER", {"tracking_no": "XY1"})
    assert (shipped.status, shipped.final) == ("SHIPPED", True)
    assert shipped.document["total"] == "10.00"
    assert [summary(intent) for intent in shipped.intents] == THREE
    assert shipped.intents[2].payload["event_type"] == "order.shipped"


def test_cancellations_and_rejections_are_outcomes() -> None:
    """Issue 2 §5: a cancelled invoice is credited, an order with nothing left is rejected; both are recorded."""
    credited = act(None, "RECORD_CANCELLATION", payload("C9", ("-2", "1.25")))
    assert (credited.status, credited.document["total"], credited.final) == ("CREDITED", "-2.50", True)
    rejected = act(None, "REJECT_ORDER", payload("9", ("1", "0"), customer=""))
    assert (rejected.status, rejected.document["total"], rejected.final) == ("REJECTED", "0.00", True)
    assert rejected.intents[1].payload["to"] == "desk@shop.example"
    for applied in (credited, rejected):
        assert [summary(intent) for intent in applied.intents] == THREE
        assert Decimal(str(applied.document["total"])) <= 0


@pytest.mark.parametrize("action", ["SHIP_ORDER", "CONFIRM_PAYMENT"])
def test_what_comes_too_early_is_refused(action: str) -> None:
    """R65: an action that the state does not take is refused, and nothing happens."""
    values = {"SHIP_ORDER": {"tracking_no": "1"}, "CONFIRM_PAYMENT": {"reference": "1", "amount_pence": 1}}
    with pytest.raises(TransitionRefusedError):
        act(None, action, values[action])


def test_what_is_wrong_is_refused() -> None:
    """R66, R37: an unknown action, a payload that does not fit, a payment of another sum, an order placed twice."""
    given = payload("1", ("1", "10.00"))
    placed = act(None, "PLACE_ORDER", given)
    with pytest.raises(UnknownActionError):
        act(None, "EAT_ORDER", given)
    with pytest.raises(ValidationError, match="items"):
        act(None, "PLACE_ORDER", {**given, "items": [{"stock_code": "1"}]})
    with pytest.raises(TransitionRefusedError, match="999 pence were paid, 1000 are due"):
        act(placed.document, "CONFIRM_PAYMENT", {"reference": "1", "amount_pence": 999})
    with pytest.raises(TransitionRefusedError):
        act(placed.document, "PLACE_ORDER", given)

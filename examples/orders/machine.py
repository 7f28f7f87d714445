"""The order as a state machine (R70–R72). Pure: it declares what should happen, and touches nothing.

IDLE ── PLACE_ORDER ─────────▶ ORDER_PLACED ── CONFIRM_PAYMENT ──▶ PAYMENT_CONFIRMED ── SHIP_ORDER ──▶ SHIPPED
IDLE ── RECORD_CANCELLATION ─▶ CREDITED
IDLE ── REJECT_ORDER ────────▶ REJECTED
"""

from __future__ import annotations

from examples.orders.announcements import event, mail, row
from examples.orders.order import Order, Payment, Priced, Shipment, Status, pence, recorded
from onex_mesh.app import (
    Intent,
    Next,
    Priority,
    ReducerContext,
    Retry,
    database_write,
    message_publish,
    notification,
    transition,
)
from onex_mesh.runtime.errors import TransitionRefusedError

TABLE = "orders_table"
MAIL = "email_service"
EVENTS = "order_events_topic"

_PERSISTENT = Retry(max_retries=8)


class OrderMachine:
    """What can happen to an order, and who is told."""

    state_model = Order
    initial = Status.IDLE
    final = (Status.SHIPPED, Status.CREDITED, Status.REJECTED)

    @staticmethod
    @transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
    def place(state: Order, payload: Priced, ctx: ReducerContext) -> Next[Order]:
        """A sale."""
        order = recorded(payload, Status.ORDER_PLACED, ctx.now)
        return Next(order, _announced(order, "order_confirmation", "order.placed"))

    @staticmethod
    @transition("RECORD_CANCELLATION", source=Status.IDLE, target=Status.CREDITED)
    def cancel(state: Order, payload: Priced, ctx: ReducerContext) -> Next[Order]:
        """A cancelled invoice: a credit note of its own."""
        order = recorded(payload, Status.CREDITED, ctx.now)
        return Next(order, _announced(order, "credit_note", "order.credited"))

    @staticmethod
    @transition("REJECT_ORDER", source=Status.IDLE, target=Status.REJECTED)
    def reject(state: Order, payload: Priced, ctx: ReducerContext) -> Next[Order]:
        """Nothing of the invoice could be sold: recorded, so that somebody looks at it."""
        order = recorded(payload, Status.REJECTED, ctx.now)
        return Next(order, _announced(order, "order_rejected", "order.rejected"))

    @staticmethod
    @transition("CONFIRM_PAYMENT", source=Status.ORDER_PLACED, target=Status.PAYMENT_CONFIRMED)
    def confirm_payment(state: Order, payload: Payment, ctx: ReducerContext) -> Next[Order]:
        """The money is there, to the penny."""
        due_pence = pence(state.total)
        if payload.amount_pence != due_pence:
            raise TransitionRefusedError(f"{payload.amount_pence} pence were paid, {due_pence} are due")
        order = state.model_copy(update={"status": Status.PAYMENT_CONFIRMED, "payment_reference": payload.reference})
        changes = {"status": order.status.value, "paid_at": ctx.now.isoformat()}
        return Next(order, _changed(order, "paid", changes, "payment_received", "order.paid"))

    @staticmethod
    @transition("SHIP_ORDER", source=Status.PAYMENT_CONFIRMED, target=Status.SHIPPED)
    def ship(state: Order, payload: Shipment, ctx: ReducerContext) -> Next[Order]:
        """It is on its way."""
        order = state.model_copy(update={"status": Status.SHIPPED, "tracking_no": payload.tracking_no})
        changes = {"status": order.status.value, "shipped_at": ctx.now.isoformat()}
        return Next(order, _changed(order, "shipped", changes, "order_shipped", "order.shipped"))


def _announced(order: Order, template: str, event_type: str) -> tuple[Intent, ...]:
    """The three side effects of an order that is recorded, most important first."""
    return (
        database_write(
            TABLE,
            operation="insert",
            data=row(order),
            priority=Priority.CRITICAL,
            key=f"order_{order.order_id}",
            retry=_PERSISTENT,
        ),
        _mail(order, template),
        _event(order, event_type),
    )


def _changed(order: Order, what: str, changes: dict[str, str], template: str, event_type: str) -> tuple[Intent, ...]:
    """The three side effects of an order that changed."""
    return (
        database_write(
            TABLE,
            operation="update",
            data=changes,
            where={"order_id": order.order_id},
            priority=Priority.CRITICAL,
            key=f"order_{order.order_id}_{what}",
            retry=_PERSISTENT,
        ),
        _mail(order, template),
        _event(order, event_type),
    )


def _mail(order: Order, template: str) -> Intent:
    return notification(
        MAIL, template=template, to=order.mail_to, data=mail(order), priority=Priority.HIGH, retry=_PERSISTENT
    )


def _event(order: Order, event_type: str) -> Intent:
    return message_publish(
        EVENTS, event_type=event_type, data=event(order), priority=Priority.NORMAL, retry=_PERSISTENT
    )

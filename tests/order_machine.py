"""The order process of R70–R72 as a state machine: the reducer of the tests."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from onex_mesh.reducer.core import (
    Next,
    Priority,
    ReducerContext,
    Retry,
    database_write,
    message_publish,
    notification,
    transition,
)


class Frozen(BaseModel):
    """Base of what the machine reads and writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(StrEnum):
    """States of an order."""

    IDLE = "IDLE"
    ORDER_PLACED = "ORDER_PLACED"
    PAYMENT_CONFIRMED = "PAYMENT_CONFIRMED"
    SHIPPED = "SHIPPED"


class Item(Frozen):
    """A line."""

    sku: str
    price: Decimal
    quantity: int = Field(1, ge=1)


class Order(Frozen):
    """The state."""

    status: Status = Status.IDLE
    order_id: str = ""
    items: tuple[Item, ...] = ()
    total: Decimal = Decimal(0)
    placed_at: datetime.datetime | None = None
    payment: str = ""
    tracking_no: str = ""


class NewOrder(Frozen):
    """Payload of PLACE_ORDER."""

    items: tuple[Item, ...] = Field(min_length=1)
    customer_email: str


class Payment(Frozen):
    """Payload of CONFIRM_PAYMENT."""

    reference: str
    amount: Decimal


def paid_in_full(state: Order, payload: Payment) -> bool:
    """Whether the money is there."""
    return payload.amount == state.total


class OrderMachine:
    """Takes an order from nothing to the customer's door.

    The second paragraph is for whoever reads the source.
    """

    state_model = Order
    initial = Status.IDLE
    final = (Status.SHIPPED,)

    @staticmethod
    @transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
    def place(state: Order, payload: NewOrder, ctx: ReducerContext) -> Next[Order]:
        """A customer orders."""
        order_id = str(ctx.uuid("order"))
        total = sum((item.price * item.quantity for item in payload.items), Decimal(0))
        order = Order(
            status=Status.ORDER_PLACED, order_id=order_id, items=payload.items, total=total, placed_at=ctx.now
        )
        told = {"order_id": order_id, "items": order.items, "total": order.total}
        return Next(
            order,
            [
                database_write("orders_table", data=order, priority=Priority.CRITICAL, key=f"order_{order_id}"),
                notification(
                    "email_service",
                    template="order_confirmation",
                    to=payload.customer_email,
                    data=told,
                    priority=Priority.HIGH,
                    retry=Retry(max_retries=3, initial_backoff=datetime.timedelta(milliseconds=250)),
                ),
                message_publish(
                    "order_events_topic",
                    event_type="ORDER_PLACED",
                    data={"order_id": order_id, "timestamp": ctx.now},
                    metadata={"source": "orders"},
                ),
            ],
        )

    @staticmethod
    @transition("CONFIRM_PAYMENT", source=Status.ORDER_PLACED, target=Status.PAYMENT_CONFIRMED, guard=paid_in_full)
    def confirm(state: Order, payload: Payment) -> Order:
        """The money is there."""
        return state.model_copy(update={"status": Status.PAYMENT_CONFIRMED, "payment": payload.reference})

    @staticmethod
    @transition("SHIP_ORDER", source=Status.PAYMENT_CONFIRMED, target=Status.SHIPPED)
    def ship(state: Order, ctx: ReducerContext) -> tuple[Order, list[object]]:
        """It is on its way."""
        number = f"T{ctx.random.randrange(10**9):09d}"
        return state.model_copy(update={"status": Status.SHIPPED, "tracking_no": number}), []

"""An order: its state, what drives it, and what others are told about it. Plain data; amounts are whole pence."""

from __future__ import annotations

import datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from examples.orders.pricing import PricedOrder


class Status(StrEnum):
    """States of an order."""

    IDLE = "IDLE"
    ORDER_PLACED = "ORDER_PLACED"
    PAYMENT_CONFIRMED = "PAYMENT_CONFIRMED"
    SHIPPED = "SHIPPED"
    CREDITED = "CREDITED"
    REJECTED = "REJECTED"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Frozen):
    """A line that is sold, or credited where the quantity is negative."""

    stock_code: str
    description: str
    quantity: int
    unit_price: Decimal
    """Pounds; some prices have tenths of a penny."""
    total_pence: int


class SetAside(_Frozen):
    """A line that was not priced, with the reason."""

    stock_code: str
    description: str
    quantity: str
    unit_price: str
    reason: str


class Priced(_Frozen):
    """What the pricing hands on: the payload of the actions that record an invoice."""

    order_id: str
    invoice_no: str
    action: str
    customer_id: str | None
    country: str
    mail_to: str
    invoiced_at: datetime.datetime | None
    items: tuple[Item, ...]
    set_aside: tuple[SetAside, ...]
    total_pence: int


class Payment(_Frozen):
    """The payload of CONFIRM_PAYMENT."""

    reference: str
    amount_pence: int


class Shipment(_Frozen):
    """The payload of SHIP_ORDER."""

    tracking_no: str


class Order(_Frozen):
    """The state of an order (R71)."""

    status: Status = Status.IDLE
    order_id: str = ""
    invoice_no: str = ""
    customer_id: str | None = None
    country: str = ""
    mail_to: str = ""
    items: tuple[Item, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    total: Decimal = Decimal(0)
    """Pounds, exact; negative for a credit note."""
    placed_at: datetime.datetime | None = None
    payment_reference: str = ""
    tracking_no: str = ""


def priced(order: PricedOrder) -> Priced:
    """The result of the pricing as a payload."""
    return Priced(
        order_id=order.order_id,
        invoice_no=order.invoice.invoice_no,
        action=order.action,
        customer_id=order.invoice.customer_id or None,
        country=order.invoice.country,
        mail_to=order.mail_to,
        invoiced_at=order.invoice.invoiced_at,
        items=tuple(
            Item(
                stock_code=line.stock_code,
                description=line.description,
                quantity=line.quantity,
                unit_price=line.unit_price,
                total_pence=line.total_pence,
            )
            for line in order.items
        ),
        set_aside=tuple(
            SetAside(
                stock_code=row.line.stock_code,
                description=row.line.description,
                quantity=row.line.quantity,
                unit_price=row.line.unit_price,
                reason=row.reason,
            )
            for row in order.set_aside
        ),
        total_pence=order.total_pence,
    )


def recorded(payload: Priced, status: Status, now: datetime.datetime) -> Order:
    """The order that an invoice becomes."""
    return Order(
        status=status,
        order_id=payload.order_id,
        invoice_no=payload.invoice_no,
        customer_id=payload.customer_id,
        country=payload.country,
        mail_to=payload.mail_to,
        items=payload.items,
        set_aside=payload.set_aside,
        total=Decimal(payload.total_pence).scaleb(-2),
        placed_at=now,
    )


def pence(amount: Decimal) -> int:
    """Pounds as whole pence."""
    return int(amount.scaleb(2))

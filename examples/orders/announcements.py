"""What an order's state machine declares to the outside: a row for the shop's table, a mail, an event."""

from __future__ import annotations

import json
from decimal import Decimal

from examples.orders.order import Item, Order, SetAside, pence
from onex_mesh.runtime.payload import Json


def row(order: Order) -> dict[str, Json]:
    """The row of the shop's table."""
    return {
        "order_id": order.order_id,
        "invoice_no": order.invoice_no,
        "status": order.status.value,
        "customer_id": order.customer_id,
        "country": order.country,
        "total_pence": pence(order.total),
        "item_count": len(order.items),
        "set_aside_count": len(order.set_aside),
        "items": json.dumps([item.model_dump(mode="json") for item in order.items], separators=(",", ":")),
        "placed_at": _placed_at(order),
    }


def mail(order: Order) -> dict[str, Json]:
    """The values that the templates of the mails show."""
    return {
        "order_id": order.order_id,
        "invoice_no": order.invoice_no,
        "customer_id": order.customer_id,
        "total": _pounds(order.total),
        "tracking_no": order.tracking_no,
        "items": [_item(item) for item in order.items],
        "set_aside": [_set_aside(line) for line in order.set_aside],
    }


def event(order: Order) -> dict[str, Json]:
    """The data of an event: what others need to know, and nothing of the lines."""
    return {
        "order_id": order.order_id,
        "invoice_no": order.invoice_no,
        "status": order.status.value,
        "customer_id": order.customer_id,
        "total_pence": pence(order.total),
        "item_count": len(order.items),
        "placed_at": _placed_at(order),
    }


def _item(item: Item) -> dict[str, Json]:
    return {
        "quantity": str(item.quantity),
        "description": item.description or item.stock_code,
        "unit_price": f"£{item.unit_price}",
        "total": _pounds(Decimal(item.total_pence).scaleb(-2)),
    }


def _set_aside(line: SetAside) -> dict[str, Json]:
    return {"description": line.description or line.stock_code, "reason": line.reason}


def _pounds(amount: Decimal) -> str:
    sign = "-" if amount < 0 else ""
    return f"{sign}£{abs(amount):,.2f}"


def _placed_at(order: Order) -> str:
    assert order.placed_at is not None
    return order.placed_at.isoformat()

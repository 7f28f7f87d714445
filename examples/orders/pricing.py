"""Pricing: what of an invoice can be sold, and what it comes to. Pure, and exact: pounds are Decimal, sums are pence.

What a shop would do with the awkward ones:
- A line of an ordinary invoice with a quantity or price that is not more than zero, or not a number, is set aside with
  the reason; the rest is priced.
- An invoice whose number starts with C takes goods back: its lines have negative quantities, and it becomes a credit
  note with a negative total.
- Nothing left to sell: the order is rejected, which is an outcome and not an error.
- No customer: a guest's order, mailed to the desk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from examples.orders.invoice import Invoice, InvoiceLine

PLACE_ORDER = "PLACE_ORDER"
RECORD_CANCELLATION = "RECORD_CANCELLATION"
REJECT_ORDER = "REJECT_ORDER"

DESK_ADDRESS = "desk@shop.example"
_CUSTOMER_ADDRESS = "customer-{}@customers.shop.example"
_QUANTITY = re.compile(r"-?[0-9]{1,7}")
_PRICE = re.compile(r"-?[0-9]{1,7}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line that is sold, or credited where the quantity is negative."""

    stock_code: str
    description: str
    quantity: int
    unit_price: Decimal
    """Pounds."""
    total_pence: int


@dataclass(frozen=True, slots=True)
class SetAsideLine:
    """A line that was not priced."""

    line: InvoiceLine
    reason: str


@dataclass(frozen=True, slots=True)
class PricedOrder:
    """An invoice after pricing, and the action of the order's state machine that follows from it."""

    order_id: str
    action: str
    invoice: Invoice
    items: tuple[PricedLine, ...]
    set_aside: tuple[SetAsideLine, ...]
    total_pence: int
    mail_to: str


def price_invoice(invoice: Invoice) -> PricedOrder:
    """Prices an invoice."""
    items: list[PricedLine] = []
    set_aside: list[SetAsideLine] = []
    for line in invoice.lines:
        priced = _price_line(line, credit=invoice.is_cancellation)
        if isinstance(priced, PricedLine):
            items.append(priced)
        else:
            set_aside.append(SetAsideLine(line, priced))
    return PricedOrder(
        order_id=order_id(invoice.invoice_no),
        action=_action(invoice, items),
        invoice=invoice,
        items=tuple(items),
        set_aside=tuple(set_aside),
        total_pence=sum(item.total_pence for item in items),
        mail_to=_CUSTOMER_ADDRESS.format(invoice.customer_id) if invoice.customer_id else DESK_ADDRESS,
    )


def order_id(invoice_no: str) -> str:
    """The id of an order: derived from its invoice, so that the same invoice is always the same order."""
    return f"ord-{invoice_no.lower()}"


def _action(invoice: Invoice, items: list[PricedLine]) -> str:
    if not items:
        return REJECT_ORDER
    return RECORD_CANCELLATION if invoice.is_cancellation else PLACE_ORDER


def _price_line(line: InvoiceLine, *, credit: bool) -> PricedLine | str:
    """The priced line, or why it cannot be priced."""
    if not _QUANTITY.fullmatch(line.quantity):
        return f"the quantity {line.quantity!r} is not a whole number below ten million"
    if not _PRICE.fullmatch(line.unit_price):
        return f"the price {line.unit_price!r} is not a number below ten million"
    quantity, unit_price = int(line.quantity), Decimal(line.unit_price)
    if unit_price <= 0:
        return f"the price {line.unit_price} is not more than zero"
    if credit and quantity >= 0:
        return f"the quantity {quantity} in a credit note is not negative"
    if not credit and quantity <= 0:
        return f"the quantity {quantity} is not more than zero"
    # Some prices have tenths of a penny; each line is rounded by itself, as it stands on the invoice.
    pence = (quantity * unit_price * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    return PricedLine(line.stock_code, line.description, quantity, unit_price, int(pence))

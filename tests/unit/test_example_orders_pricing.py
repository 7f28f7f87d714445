"""The orders example: how invoices are read and priced, and that the independent check agrees."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.orders.inbox import fill_inbox
from examples.orders.invoice import COLUMNS, NotAnInvoiceError, read_invoice, read_rows, write_rows
from examples.orders.order import priced
from examples.orders.pricing import PricedOrder, price_invoice
from examples.orders.verify import expectations

ORDERS = Path(__file__).resolve().parents[2] / "examples/orders/orders.csv"


def row(
    number: str = "1", quantity: str = "1", price: str = "1.00", customer: str = "7", **more: str
) -> dict[str, str]:
    values = (number, "A", "A  THING ", quantity, "12/1/10 8:26", price, customer, "United Kingdom")
    return dict(zip(COLUMNS, values, strict=True))


def price(*rows: dict[str, str]) -> PricedOrder:
    return price_invoice(read_invoice(rows))


def test_a_sale_is_priced_exactly() -> None:
    """F37: amounts are exact; 0.1 and 0.2 pounds are 30 pence."""
    order = price(row(price="0.1"), row(price="0.2"), row(quantity="3", price="1.15"))
    assert order.action == "PLACE_ORDER"
    assert order.order_id == "ord-1"
    assert [item.total_pence for item in order.items] == [10, 20, 345]
    assert order.total_pence == 375
    assert order.mail_to == "customer-7@customers.shop.example"
    assert order.invoice.invoiced_at == datetime.datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - the shop's own clock
    assert order.items[0].description == "A THING"
    assert priced(order).items[2].unit_price == Decimal("1.15")


@pytest.mark.parametrize(
    ("quantity", "price_text", "reason"),
    [
        ("-5", "1.00", "the quantity -5 is not more than zero"),
        ("0", "1.00", "the quantity 0 is not more than zero"),
        ("1", "0", "the price 0 is not more than zero"),
        ("1", "-2.50", "the price -2.50 is not more than zero"),
        ("two", "1.00", "the quantity 'two' is not a whole number below ten million"),
        ("1", "1e9", "the price '1e9' is not a number below ten million"),
        ("1", "NaN", "the price 'NaN' is not a number below ten million"),
        ("1.5", "1.00", "the quantity '1.5' is not a whole number below ten million"),
        ("", "", "the quantity '' is not a whole number below ten million"),
    ],
)
def test_a_line_that_cannot_be_sold_is_set_aside_and_the_rest_priced(
    quantity: str, price_text: str, reason: str
) -> None:
    """Issue 2 §5: as a shop would, an odd line does not stop the order."""
    order = price(row(), row(quantity=quantity, price=price_text))
    assert (order.action, order.total_pence) == ("PLACE_ORDER", 100)
    assert [line.reason for line in order.set_aside] == [reason]


def test_a_cancelled_invoice_is_a_credit_note() -> None:
    """Issue 2 §5: an invoice whose number starts with C is an action of its own, with a negative total."""
    order = price(row("C9", "-2", "1.25"), row("C9", "1", "1.25"))
    assert (order.action, order.order_id, order.total_pence) == ("RECORD_CANCELLATION", "ord-c9", -250)
    assert [line.reason for line in order.set_aside] == ["the quantity 1 in a credit note is not negative"]


def test_nothing_left_is_a_rejection_and_no_customer_goes_to_the_desk() -> None:
    """Issue 2 §5: a rejection is an outcome; a guest's order is mailed to the desk."""
    order = price(row(price="0", customer=""))
    assert (order.action, order.total_pence, order.mail_to) == ("REJECT_ORDER", 0, "desk@shop.example")


@pytest.mark.parametrize(
    ("price_text", "quantity", "pence"),
    [("0.335", "100", 3350), ("0.125", "7", 88), ("0.125", "-7", -88), ("0.005", "1", 1), ("0.004", "1", 0)],
)
def test_tenths_of_a_penny_are_rounded_by_line(price_text: str, quantity: str, pence: int) -> None:
    """F37: each line is rounded to pence, halves away from zero."""
    number = "C1" if quantity.startswith("-") else "1"
    assert price(row(number, quantity, price_text)).total_pence == pence


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no line"),
        ([{"InvoiceNo": "1"}], "missing columns: StockCode, Description, Quantity"),
        ([row("1"), row("2")], "several invoices: 1, 2"),
        ([row("")], "several invoices: none"),
    ],
)
def test_what_is_no_invoice_is_refused(rows: list[dict[str, str]], message: str) -> None:
    """Lines that are no invoice are an error of the step."""
    with pytest.raises(NotAnInvoiceError, match=message):
        read_invoice(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing columns: InvoiceNo"),
        ("a,b\n1,2\n", "missing columns"),
        (",".join(COLUMNS) + "\n1,2,3\n", "line 2 has not the fields of the header"),
        (write_rows([row()]) + '"a\n', "line"),
    ],
)
def test_what_is_no_export_is_refused(text: str, message: str) -> None:
    """A file that is no export is told with the line."""
    with pytest.raises(NotAnInvoiceError, match=message):
        read_rows(text)


_NUMBERS = st.sampled_from(["1", "C1"])
_QUANTITIES = st.integers(-50, 50).map(str) | st.just("x")
_PRICES = st.decimals("-2", "20", places=3).map(str) | st.just("")


@given(number=_NUMBERS, lines=st.lists(st.tuples(_QUANTITIES, _PRICES), min_size=1, max_size=8))
def test_the_independent_check_agrees_with_the_pricing(
    number: str, lines: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The check at the end of a run computes by itself, and comes to the same total and outcome for any invoice."""
    rows = [row(number, quantity, price_text) for quantity, price_text in lines]
    path = tmp_path_factory.mktemp("orders") / "orders.csv"
    path.write_text(write_rows(rows), encoding="utf-8")
    order = price(*rows)
    want = expectations(path)[number]
    outcome = {"PLACE_ORDER": "ORDER_PLACED", "RECORD_CANCELLATION": "CREDITED", "REJECT_ORDER": "REJECTED"}
    assert (outcome[order.action], order.total_pence) == (want.status, want.total_pence)


def test_the_inbox_has_one_file_for_each_invoice(tmp_path: Path) -> None:
    """The same export makes the same files, so that a second run starts the same workflows."""
    files = fill_inbox(ORDERS, tmp_path / "inbox")
    assert len(files) == 12
    assert len({file.workflow_id for file in files}) == 12
    assert fill_inbox(ORDERS, tmp_path / "inbox") == files
    assert sorted(path.name for path in (tmp_path / "inbox").iterdir()) == sorted(file.path.name for file in files)
    actions = [price_invoice(read_invoice(read_rows(file.path.read_text(encoding="utf-8")))).action for file in files]
    assert actions.count("PLACE_ORDER") == 9
    assert actions.count("RECORD_CANCELLATION") == 2
    assert actions.count("REJECT_ORDER") == 1

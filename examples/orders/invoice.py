"""An invoice as the shop's order system exports it: CSV lines of one invoice, taken apart without judging them."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)


class NotAnInvoiceError(ValueError):
    """The lines are not the export of one invoice."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line, its numbers still as text: whether they are numbers is for the pricing to judge."""

    stock_code: str
    description: str
    quantity: str
    unit_price: str


@dataclass(frozen=True, slots=True)
class Invoice:
    """One invoice."""

    invoice_no: str
    customer_id: str
    """Empty for a guest."""
    country: str
    invoiced_at: datetime.datetime | None
    """Local time of the shop; None where the export holds no readable date."""
    lines: tuple[InvoiceLine, ...]

    @property
    def is_cancellation(self) -> bool:
        """Whether it takes an earlier invoice back: its number starts with C."""
        return self.invoice_no[:1].upper() == "C"


def read_invoice(rows: Sequence[Mapping[str, str]]) -> Invoice:
    """The invoice that the lines of an export make.

    Raises:
        NotAnInvoiceError: A column is missing, there is no line, or the lines belong to several invoices.
    """
    if not rows:
        raise NotAnInvoiceError("there is no line")
    missing = [name for name in COLUMNS if any(name not in row for row in rows)]
    if missing:
        raise NotAnInvoiceError(f"missing columns: {', '.join(missing)}")
    numbers = {row["InvoiceNo"].strip() for row in rows}
    if len(numbers) > 1 or "" in numbers:
        raise NotAnInvoiceError(f"the lines belong to several invoices: {', '.join(sorted(numbers)) or 'none'}")
    return Invoice(
        invoice_no=min(numbers),
        customer_id=_first(rows, "CustomerID"),
        country=_first(rows, "Country"),
        invoiced_at=_moment(_first(rows, "InvoiceDate")),
        lines=tuple(
            InvoiceLine(
                stock_code=row["StockCode"].strip(),
                description=" ".join(row["Description"].split()),
                quantity=row["Quantity"].strip(),
                unit_price=row["UnitPrice"].strip(),
            )
            for row in rows
        ),
    )


def read_rows(text: str) -> list[dict[str, str]]:
    """The lines of an export, of any number of invoices, as they stand.

    Raises:
        NotAnInvoiceError: A column is missing, or a line has not as many fields as the header.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise NotAnInvoiceError(f"missing columns: {', '.join(missing)}")
    rows: list[dict[str, str]] = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise NotAnInvoiceError(f"line {reader.line_num} has not the fields of the header")
            rows.append(row)
    except csv.Error as error:
        raise NotAnInvoiceError(f"line {reader.line_num}: {error}") from error
    return rows


def write_rows(rows: Sequence[Mapping[str, str]]) -> str:
    """The export that holds these lines."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _first(rows: Sequence[Mapping[str, str]], column: str) -> str:
    return next((row[column].strip() for row in rows if row[column].strip()), "")


def _moment(text: str) -> datetime.datetime | None:
    try:
        # The export has no offset: it is the shop's own clock, and kept as such.
        return datetime.datetime.strptime(text, "%m/%d/%y %H:%M")  # noqa: DTZ007 - see above
    except ValueError:
        return None

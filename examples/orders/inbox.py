"""The inbox: an export of many invoices, split into one file each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from examples.orders.invoice import read_rows, write_rows


@dataclass(frozen=True, slots=True)
class OrderFile:
    """One invoice in the inbox."""

    invoice_no: str
    path: Path
    digest: str
    """SHA-256 of its content: the same order is the same file with the same content."""

    @property
    def workflow_id(self) -> str:
        """Derived from the invoice, so that an order that was placed is never placed again."""
        return f"order-{self.invoice_no}"


def fill_inbox(orders: Path, inbox: Path) -> list[OrderFile]:
    """Writes each invoice of an export into the inbox.

    Raises:
        NotAnInvoiceError: The export is not one.
        OSError: It cannot be read, or the inbox not written.
    """
    by_invoice: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(orders.read_text(encoding="utf-8")):
        by_invoice.setdefault(row["InvoiceNo"].strip(), []).append(row)
    inbox.mkdir(parents=True, exist_ok=True)
    files = []
    for invoice_no, rows in by_invoice.items():
        content = write_rows(rows).encode()
        path = inbox / f"{invoice_no}.csv"
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
        files.append(OrderFile(invoice_no, path, hashlib.sha256(content).hexdigest()))
    return files

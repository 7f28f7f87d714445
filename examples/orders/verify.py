"""Checks what came out of a run against what the orders say, by a computation of its own.

It reads the export again and shares no code with the pricing: fractions instead of decimals, its own rules.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from examples.orders.mailbox import Mail, read_mails


@dataclass(frozen=True, slots=True)
class Expected:
    """What must become of one invoice."""

    invoice_no: str
    status: str
    total_pence: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the run left in the world, by invoice."""

    rows: Mapping[str, Sequence[tuple[str, int]]]
    """(status, total_pence) of each row of the table."""
    mails: Mapping[str, Sequence[Mail]]
    events: Mapping[str, Sequence[str]]
    """Type of each event."""


def expectations(orders: Path) -> dict[str, Expected]:
    """What must become of each invoice of an export, by invoice number."""
    totals: dict[str, int] = {}
    sold: Counter[str] = Counter()
    with orders.open(encoding="utf-8-sig", newline="") as file:
        for line in csv.DictReader(file):
            number = line["InvoiceNo"].strip()
            totals.setdefault(number, 0)
            try:
                quantity, price = Fraction(line["Quantity"]), Fraction(line["UnitPrice"])
            except ValueError:
                continue
            backwards = number.upper().startswith("C")
            if price > 0 and quantity != 0 and (quantity < 0) == backwards:
                sold[number] += 1
                totals[number] += _half_away(quantity * price * 100)
    return {
        number: Expected(number, _status(number, sold[number]), total if sold[number] else 0)
        for number, total in totals.items()
    }


def look(folder: Path) -> Found:
    """What stands in the table, the mailbox and the event log below a folder."""
    rows: dict[str, list[tuple[str, int]]] = {}
    database = folder / "orders.db"
    if database.exists():
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            for number, status, total in connection.execute("SELECT invoice_no, status, total_pence FROM orders"):
                rows.setdefault(number, []).append((status, total))
    mails: dict[str, list[Mail]] = {}
    for mail in read_mails(folder / "mailbox"):
        for word in mail.subject.replace(":", " ").split():
            if word.startswith("ord-"):
                mails.setdefault(word.removeprefix("ord-").upper(), []).append(mail)
    events: dict[str, list[str]] = {}
    log = folder / "order-events.jsonl"
    for text in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        event = json.loads(text)
        events.setdefault(event["data"]["invoice_no"], []).append(event["type"])
    return Found(rows, mails, events)


def problems(expected: Iterable[Expected], found: Found) -> list[str]:
    """Everything that is not as it should be; empty if all is."""
    wrong: list[str] = []
    for want in expected:
        number = want.invoice_no
        rows = found.rows.get(number, ())
        if list(rows) != [(want.status, want.total_pence)]:
            wrong.append(f"{number}: the table has {list(rows)}, expected once {(want.status, want.total_pence)}")
        mails = found.mails.get(number.upper(), ())
        if len(mails) != 1:
            wrong.append(f"{number}: {len(mails)} mails, expected 1")
        events = found.events.get(number, ())
        if len(events) != 1:
            wrong.append(f"{number}: {len(events)} events, expected 1")
    return wrong


def _status(number: str, sold: int) -> str:
    if not sold:
        return "REJECTED"
    return "CREDITED" if number.upper().startswith("C") else "ORDER_PLACED"


def _half_away(value: Fraction) -> int:
    """The nearest whole number; halves go away from zero."""
    doubled = abs(value) * 2 + 1
    whole = doubled.numerator // (2 * doubled.denominator)
    return -whole if value < 0 else whole

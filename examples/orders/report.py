"""The table of orders at the end of a run, where to look, and the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from examples.orders.inbox import OrderFile
from examples.orders.verify import Expected, Found, problems

_QUERY = "SELECT order_id, status, total_pence FROM orders"


@dataclass(frozen=True, slots=True)
class Result:
    """How the workflow of one order ended."""

    file: OrderFile
    status: str
    epoch: int = 0
    state: str = ""
    intents_done: int = 0
    intents: int = 0
    replayed: bool = False
    error: str = ""


def report(results: Sequence[Result], expected: dict[str, Expected], found: Found, folder: Path) -> list[str]:
    """Prints the table of orders and where to look; returns what is not as it should be."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("order", "workflow", "state", "total", "epoch", "intents", "rows", "mails", "events", ""):
        grid.add_column(column, justify="right" if column in ("total", "epoch") else "left")
    for result in results:
        number = result.file.invoice_no
        total = expected[number].total_pence
        grid.add_row(
            number,
            result.status,
            result.state,
            f"{'-' if total < 0 else ''}{abs(total) // 100}.{abs(total) % 100:02d}",
            str(result.epoch or ""),
            f"{result.intents_done} of {result.intents}",
            str(len(found.rows.get(number, ()))),
            str(len(found.mails.get(number.upper(), ()))),
            str(len(found.events.get(number, ()))),
            result.error or ("was placed before" if result.replayed else ""),
        )
    wrong = [f"{result.file.invoice_no}: {result.error}" for result in results if result.error]
    wrong += [
        f"{result.file.invoice_no}: {result.status}, {result.intents_done} of {result.intents} intents done"
        for result in results
        if not result.error and (result.status != "COMPLETED" or result.intents_done != 3 or result.intents != 3)
    ]
    wrong += problems(expected.values(), found)
    want = sum(row.total_pence for row in expected.values())
    have = sum(total for number in expected for _, total in found.rows.get(number, ()))
    if want != have:
        wrong.append(f"the table sums up to {have} pence, the orders to {want}")
    # Read through a pipe there is no width to fit into.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
    console.print(grid)
    console.print(f"\n{len(results)} orders, {have} pence in the table, {want} by an independent computation.")
    console.print("Where to look:")
    console.print(f"  orders   sqlite3 {folder / 'orders.db'} '{_QUERY}'")
    console.print(f"  mails    ls {folder}/mailbox")
    console.print(f"  events   cat {folder}/order-events.jsonl")
    command = _beside_python("onex-mesh")
    console.print(f"  history  {command} dev --app examples.orders.app:app --data-dir {folder}/mesh")
    if results:
        console.print(f"           {command} history {results[0].file.workflow_id}     (in another terminal)")
    for line in wrong:
        console.print(f"WRONG: {line}", style="red", markup=False)
    return wrong


def _beside_python(name: str) -> str:
    """How a command of this environment is called from the working folder."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        return name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)

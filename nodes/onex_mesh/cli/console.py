"""The two streams of the command: results on stdout, everything about them on stderr."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from onex_mesh.runtime.errors import OnexError, ValidationError
from onex_mesh.runtime.payload import Json

_VIOLATIONS_SHOWN = 20
_WIDTH_PIPED = 400


def print_table(grid: Table) -> None:
    """Writes a table to stdout. What reads a pipe has no width to fit into: rows are not folded for it."""
    if sys.stdout.isatty():
        Console(highlight=False).print(grid)
        return
    width = None if "COLUMNS" in os.environ else _WIDTH_PIPED
    console = Console(file=io.StringIO(), highlight=False, width=width)
    with console.capture() as captured:
        console.print(grid)
    # Rich fills rows up with spaces.
    lines = (line.rstrip() for line in captured.get().splitlines())
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Writes names and values to stdout, a line each, however long."""
    width = max(len(name) for name, _ in facts)
    sys.stdout.write("".join(f"{name:<{width}}  {value}".rstrip() + "\n" for name, value in facts))


def notes() -> Console:
    """The console for notes, progress and errors."""
    return Console(file=sys.stderr, highlight=False)


def print_json(value: Json) -> None:
    """Writes one JSON value to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def table(*columns: str, title: str = "") -> Table:
    """An empty table in the style of all tables of the command."""
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid


def print_error(error: OnexError) -> None:
    """Writes an error in a few lines: the message, then the reason and the correlation id."""
    facts = f"reason {error.reason}"
    if error.correlation_id:
        facts += f", correlation id {error.correlation_id}"
    lines = [f"[bold red]error:[/] {escape(error.message)}"]
    if isinstance(error, ValidationError):
        shown = [
            (field, text) for field, text in error.violations if not (field in error.message and text in error.message)
        ]
        lines += [f"  {escape(field)}: {escape(text)}" for field, text in shown[:_VIOLATIONS_SHOWN]]
    lines.append(f"  [dim]({escape(facts)})[/]")
    notes().print("\n".join(lines), soft_wrap=True)


def print_failure(message: str, hint: str = "") -> None:
    """Writes a failure of the command itself."""
    notes().print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        notes().print(f"  [dim]{escape(hint)}[/]", soft_wrap=True)


_STATUS_STYLES = {
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "EXECUTING_INTENTS": "cyan",
    "WAITING": "cyan",
    "RETRYING": "yellow",
    "SKIPPED": "yellow",
    "COMPENSATING": "yellow",
    "CANCELLED": "yellow",
    "FAILED": "red",
    "ABORTED": "red",
}


def status_text(name: str) -> Text:
    """The name of a status in its colour."""
    return Text(name, style=_STATUS_STYLES.get(name, ""))

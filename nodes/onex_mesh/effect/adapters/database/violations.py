"""What may be wrong with the parameters of a database effect, each as (field, description)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from onex_mesh.effect.adapters.database.commands import Row
from onex_mesh.effect.core.kinds.database import DatabaseTarget, Table
from onex_mesh.runtime.errors import ValidationError

_ROWS_MAX = 1_000
_VALUES_MAX = 30_000
"""Both databases take some 32,700 bound values in a statement."""
_NAME_CHARS_MAX = 64
_VIOLATIONS_MAX = 50

Violation = tuple[str, str]


def short(name: str) -> str:
    """A name that somebody sent, as it may stand in a message."""
    return name if len(name) <= _NAME_CHARS_MAX else f"{name[:_NAME_CHARS_MAX]}…"


def require_table(given: str, target: DatabaseTarget) -> tuple[str, Table]:
    """The table that is meant.

    Raises:
        ValidationError: None is, or one that the target does not list.
    """
    name = given or target.table or ""
    if not name:
        raise ValidationError("table: is required", violations=(("table", "is required"),))
    table = target.tables.get(name)
    if table is None:
        text = f"{short(name)!r} is not a table of this target"
        raise ValidationError(f"table: {text}", violations=(("table", text),))
    return name, table


def operation_violations(operation: str, known: tuple[str, ...], table: Table) -> Iterator[Violation]:
    """An operation that is none, or not allowed on the table."""
    if operation not in known:
        yield "operation", f"{short(operation)!r} is not one of {', '.join(known)}"
    elif operation not in table.operations:
        yield "operation", f"{operation!r} is not allowed on this table"


def row_violations(operation: str, rows: Sequence[Row], table: Table, name: str) -> Iterator[Violation]:
    """Rows to write: missing, too many, or with columns that are not listed or differ from row to row."""
    if operation == "delete":
        if rows:
            yield "data", "a delete has none; its rows are named by where"
        return
    if not rows or not all(rows):
        yield "data", "is required and not empty"
        return
    if operation == "update" and len(rows) > 1:
        yield "data", "an update takes one set of values"
    columns = rows[0].keys()
    if len(rows) > _ROWS_MAX:
        yield "data", f"{len(rows)} rows are more than {_ROWS_MAX}"
        return
    if len(rows) * len(columns) > _VALUES_MAX:
        yield "data", f"{len(rows)} rows of {len(columns)} columns are more than {_VALUES_MAX} values"
        return
    yield from listed("data", columns, table, name)
    for index, row in enumerate(rows[1:], start=1):
        if row.keys() != columns:
            yield f"data[{index}]", "has other columns than the first row"


def where_violations(where: Row, table: Table, name: str, *, is_required: bool) -> Iterator[Violation]:
    """A condition that is missing, on columns that are not listed, or on values that are not plain."""
    if is_required and not where:
        yield "where", "is required: the whole table is never changed"
    yield from listed("where", where, table, name)
    for column, value in where.items():
        if isinstance(value, dict | list):
            yield f"where.{short(column)}", "is not a plain value"


def listed(field: str, columns: Iterable[str], table: Table, name: str) -> Iterator[Violation]:
    """Columns that the target does not list."""
    for column in columns:
        if column not in table.columns:
            yield f"{field}.{short(column)}", f"is not a column of {name!r} that this target lists"


def raise_if_any(found: Sequence[Violation]) -> None:
    """Refuses what has violations; very many are cut short.

    Raises:
        ValidationError: There are some.
    """
    if not found:
        return
    told = list(found[:_VIOLATIONS_MAX])
    if len(found) > len(told):
        told.append(("", f"and {len(found) - len(told)} more"))
    raise ValidationError(
        "; ".join(f"{field}: {text}" if field else text for field, text in told), violations=tuple(told)
    )

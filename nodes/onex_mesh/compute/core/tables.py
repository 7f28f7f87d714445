"""Arrow tables: told apart and made without importing pyarrow where nobody uses it."""

from __future__ import annotations

import importlib
import importlib.util
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from onex_mesh.runtime.errors import ValidationError

if TYPE_CHECKING:
    from typing_extensions import TypeIs


Rows: TypeAlias = list[dict[str, object]]
"""Rows of JSON."""


class Table(Protocol):
    """What is used of a pyarrow.Table."""

    @property
    def num_rows(self) -> int:
        """How many rows it has."""

    @property
    def column_names(self) -> list[str]:
        """Its columns, in order."""

    @property
    def nbytes(self) -> int:
        """Bytes of its rows; of a slice, those of its own rows only."""

    @property
    def schema(self) -> object:
        """Its columns' names and Arrow types."""

    def slice(self, offset: int, length: int) -> Table:
        """Some of its rows, without a copy."""

    def select(self, columns: Sequence[str]) -> Table:
        """Some of its columns, without a copy."""

    def take(self, indices: object) -> Table:
        """Some of its rows, by number; a null makes a row of nulls."""

    def column(self, name: str) -> Column:
        """A column."""

    def to_pylist(self) -> list[dict[str, object]]:
        """Its rows."""


class Column(Protocol):
    """What is used of a column of a table."""

    @property
    def type(self) -> object:
        """Its Arrow type."""

    @property
    def null_count(self) -> int:
        """How many nulls it has."""

    def cast(self, to: object, safe: bool = True) -> Column:
        """Its values in another type; refused where that would change them, if safe."""

    def to_numpy(self) -> object:
        """Its values as a NumPy array."""

    def to_pylist(self) -> list[object]:
        """Its values."""


class Lists(Column, Protocol):
    """What is used of an array of lists."""

    @property
    def offsets(self) -> Column:
        """Where each list begins among the values, and where the last one ends."""

    @property
    def values(self) -> Column:
        """The values of all lists."""


def is_table_type(annotation: object) -> bool:
    """Whether an annotation is pyarrow.Table, without importing pyarrow."""
    return (
        isinstance(annotation, type)
        and annotation.__name__ == "Table"
        and annotation.__module__.partition(".")[0] == "pyarrow"
    )


def is_table(value: object) -> TypeIs[Table]:
    """Whether a value is a pyarrow.Table."""
    return is_table_type(type(value))


def table_of(value: object, at: str = "") -> Table:
    """The table of a list of rows, of one row, or of plain values, which make the column "value".

    A field that some rows have and others lack is null where it is missing. Fields keep the order in which they first
    appear.

    Args:
        value: The rows, the row or the values.
        at: Where they stand, for the error.

    Raises:
        ValidationError: The values of a column have no common type, or pyarrow is not installed.
    """
    pa = arrow()
    rows = _rows(value, at)
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    arrays = []
    for column in columns:
        try:
            arrays.append(pa.array([row.get(column) for row in rows]))
        except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
            reason = str(error).splitlines()[0]
            path = f"{at}.{column}" if at else column
            raise ValidationError(
                f"the column {column!r} cannot be a table's: {reason}", violations=((path, reason),)
            ) from error
    table: Table = pa.table(arrays, names=list(columns))
    return table


def has_arrow() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def arrow() -> types.ModuleType:
    """The module pyarrow, which is an extra.

    Raises:
        ValidationError: It is not installed.
    """
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ValidationError("tables need the extra: pip install 'onex-mesh[arrow]'") from error


def arrow_compute() -> types.ModuleType:
    """The module pyarrow.compute.

    Raises:
        ValidationError: It is not installed.
    """
    arrow()
    return importlib.import_module("pyarrow.compute")


def _rows(value: object, at: str) -> Sequence[dict[str, object]]:
    items: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    rows = [item for item in items if isinstance(item, dict)]
    if not rows:
        return [{"value": item} for item in items]
    if len(rows) < len(items):
        text = "a table is made of rows or of plain values, not of both"
        raise ValidationError(f"{at}: {text}" if at else text, violations=((at, text),))
    return rows

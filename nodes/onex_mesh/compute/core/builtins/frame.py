"""Rows or a table, and the columns of either.

JSON rows stay as they are: only the columns that an algorithm looks at are made into Arrow's, and the result is picked
from the rows themselves, so nothing that it does not look at is ever converted.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from pydantic import BaseModel, ConfigDict

from onex_mesh.compute.core.data import json_type
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, is_table
from onex_mesh.runtime.errors import ValidationError

_INT64 = range(-(2**63), 2**63)


class Params(BaseModel):
    """Parameters: unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def refusal(at: str, text: str) -> ValidationError:
    """The error that says what is wrong where."""
    return ValidationError(f"{at}: {text}", violations=((at, text),))


def frame_of(data: object, at: str = "input_data", offset: int = 0) -> Table | Rows:
    """Data as a table or a list of rows.

    Raises:
        ValidationError: It is neither.
    """
    if is_table(data):
        return data
    if not isinstance(data, list):
        raise refusal(at, f"expected rows or a table, found {json_type(data)}")
    for index, row in enumerate(data, offset):
        if not isinstance(row, dict):
            raise refusal(f"{at}[{index}]", f"expected a row, found {json_type(row)}")
    return cast("Rows", data)


def names_of(frame: Table | Rows) -> list[str]:
    """Names of its columns; of rows, all fields in the order in which they first appear."""
    if is_table(frame):
        return frame.column_names
    names: dict[str, None] = {}
    for row in frame:
        names.update(dict.fromkeys(row))
    return list(names)


def columns(
    frame: Table | Rows, names: Sequence[str], at: str = "input_data", offset: int = 0, may_lack: bool = False
) -> Table:
    """Some columns as a table; a field that a row has not is null.

    Args:
        frame: Rows or a table.
        names: Which columns.
        at: Where the rows stand, for the error.
        offset: How many rows come before, for the error.
        may_lack: Whether there need be no row that has a field: another chunk may have one.

    Raises:
        ValidationError: No row has the field, or its values have no common type (with the path of the culprit).
    """
    if is_table(frame):
        require(frame.column_names, names, at)
        return frame.select(names)
    if not may_lack:
        require(present_in(frame, names), names, at)
    made = [column_of([row.get(name) for row in frame], name, at, offset) for name in names]
    table: Table = arrow().table(made, names=list(names))
    return table


def present_in(frame: Table | Rows, names: Sequence[str]) -> list[str]:
    """The fields that some row has; all of them where there are no rows, and in a table."""
    if is_table(frame) or not frame:
        return list(names)
    return [name for name in names if any(name in row for row in frame)]


def require(present: Iterable[str], names: Sequence[str], at: str = "input_data") -> None:
    """Sees to it that each field is there.

    Raises:
        ValidationError: One is not.
    """
    known = set(present)
    for name in names:
        if name not in known:
            raise refusal(f"{at}.{name}", "is required and missing")


def require_in_chunks(partials: Sequence[Partial], names: Sequence[str]) -> None:
    """Sees to it that each field is there in a row of a chunk: `present` of partial results tells.

    Raises:
        ValidationError: One is not.
    """
    require([name for partial in partials for name in cast("list[str]", partial.parts["present"])], names)


@contextmanager
def merging() -> Iterator[None]:
    """Takes the numbers of rows out of errors: those of partial results say nothing about the data."""
    try:
        yield
    except ValidationError as error:
        at, text = error.violations[0]
        raise refusal(re.sub(r"\[\d+\]", "", at, count=1), text) from error


def column_of(
    values: Sequence[object], name: str, at: str = "input_data", offset: int = 0, kind: object = None
) -> Column:
    """A column of Python's values.

    Args:
        values: The values.
        name: Its name, for the error.
        at: Where its rows stand, for the error.
        offset: How many rows come before, for the error.
        kind: Its Arrow type. Default: the one that all values have.

    Raises:
        ValidationError: The values have no common type, or not that one (with the path of the culprit).
    """
    pa = arrow()
    try:
        column: Column = pa.array(values, kind)
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
        culprit = _culprit(values)
        where = f"{at}.{name}" if culprit is None else f"{at}[{culprit + offset}].{name}"
        raise refusal(where, f"does not fit its column: {str(error).splitlines()[0]}") from error
    return column


def _culprit(values: Sequence[object]) -> int | None:
    """Where the first value stands that has another type than those before it, or is too large."""
    first = ""
    for index, value in enumerate(values):
        kind = json_type(value).replace("integer", "number")
        if isinstance(value, int) and (value not in _INT64 or (abs(value) > 2**53 and float in map(type, values))):
            return index
        if value is not None and first and kind != first:
            return index
        first = first or ("" if value is None else kind)
    return None


def numbered(count: int) -> Column:
    """The numbers of so many rows, from 0."""
    found: Column = arrow().array(importlib.import_module("numpy").arange(count, dtype="int64"))
    return found


def in_one(column: Column) -> Column:
    """A column in one piece."""
    pa = arrow()
    whole: Column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole


def taken(frame: Table | Rows, indices: object) -> Table | Rows:
    """Some rows, by an Arrow array of their numbers."""
    if is_table(frame):
        return frame.take(indices)
    return [frame[index] for index in indices.to_pylist()]  # type: ignore[attr-defined]  # an Arrow array


@contextmanager
def refusing(at: str, what: str) -> Iterator[None]:
    """Turns what Arrow cannot do with the caller's data into the error that says so."""
    pa = arrow()
    try:
        yield
    except pa.ArrowException as error:
        raise refusal(at, f"{what}: {str(error).splitlines()[0]}") from error

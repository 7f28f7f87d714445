"""Parameters of database effects, checked against the tables that the target lists (R16, R89). Nothing here is SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import pydantic

from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.database import DatabaseTarget, Table
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_ROWS_MAX = 1_000
_LIMIT_MAX = 10_000

Row = dict[str, Json]
_Model = TypeVar("_Model", bound=pydantic.BaseModel)
Violation = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Write:
    """A checked write. All names are listed at the target."""

    table: str
    operation: str
    """insert, update, upsert or delete."""
    rows: tuple[Row, ...]
    """Values to write; one for an update, none for a delete."""
    where: Row
    """Columns and the values that they must equal."""
    key: tuple[str, ...]
    """The columns that an upsert decides by."""
    returning: tuple[str, ...]
    """Columns to return of each row written."""


@dataclass(frozen=True, slots=True)
class Read:
    """A checked select. All names are listed at the target."""

    table: str
    columns: tuple[str, ...]
    where: Row
    order: tuple[tuple[str, bool], ...]
    """(column, whether descending)."""
    limit: int
    offset: int


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    table: str = ""
    where: dict[str, pydantic.JsonValue] = {}


class _WriteParameters(_Parameters):
    data: dict[str, pydantic.JsonValue] | list[dict[str, pydantic.JsonValue]] | None = None
    key: list[str] | None = None
    returning: list[str] = []


class _ReadParameters(_Parameters):
    columns: list[str] | None = None
    order: list[str] | str = []
    limit: Annotated[int, pydantic.Field(ge=1, le=_LIMIT_MAX)] = 1_000
    offset: Annotated[int, pydantic.Field(ge=0)] = 0


def check_write(request: EffectRequest, target: DatabaseTarget) -> Write:
    """The write that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: Its values are larger than the target takes.
    """
    given = _parse(_WriteParameters, request.parameters)
    operation = request.operation or "insert"
    name, table = _table(given.table, target)
    data: list[Row] = given.data if isinstance(given.data, list) else [] if given.data is None else [given.data]
    key = table.key if given.key is None else tuple(given.key)
    found = [
        *_operation_violations(operation, ("insert", "update", "upsert", "delete"), table),
        *_row_violations(operation, data, table, name),
        *_where_violations(given.where, table, name, is_required=operation in ("update", "delete")),
        *_listed("key", key, table, name),
        *_listed("returning", given.returning, table, name),
    ]
    if operation == "upsert":
        if not key:
            found.append(("key", f"table {name!r} has no key; an upsert needs one"))
        found.extend(("data", f"lacks {column!r} of the key") for column in key if data and column not in data[0])
    if operation in ("insert", "upsert") and given.where:
        found.append(("where", f"{operation} has none"))
    _raise(found)
    _check_size([*data, given.where], target)
    return Write(name, operation, tuple(data), given.where, key, tuple(given.returning))


def check_read(request: EffectRequest, target: DatabaseTarget) -> Read:
    """The select that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
    """
    given = _parse(_ReadParameters, request.parameters)
    name, table = _table(given.table, target)
    order = [given.order] if isinstance(given.order, str) else given.order
    ordered = tuple((column.removeprefix("-"), column.startswith("-")) for column in order)
    columns = table.columns if given.columns is None else tuple(given.columns)
    found = [
        *_operation_violations(request.operation or "select", ("select",), table),
        *_listed("columns", columns, table, name),
        *_listed("order", [column for column, _ in ordered], table, name),
        *_where_violations(given.where, table, name, is_required=False),
    ]
    if not columns:
        found.append(("columns", "is empty"))
    _raise(found)
    return Read(name, columns, given.where, ordered, given.limit, given.offset)


def _parse(model: type[_Model], parameters: Mapping[str, Json]) -> _Model:
    try:
        return model.model_validate(parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error


def _table(given: str, target: DatabaseTarget) -> tuple[str, Table]:
    name = given or target.table or ""
    if not name:
        raise ValidationError("table: is required", violations=(("table", "is required"),))
    table = target.tables.get(name)
    if table is None:
        text = f"{name[:64]!r} is not a table of this target"
        raise ValidationError(f"table: {text}", violations=(("table", text),))
    return name, table


def _operation_violations(operation: str, known: tuple[str, ...], table: Table) -> Iterator[Violation]:
    if operation not in known:
        yield "operation", f"{operation[:64]!r} is not one of {', '.join(known)}"
    elif operation not in table.operations:
        yield "operation", f"{operation!r} is not allowed on this table"


def _row_violations(operation: str, rows: list[Row], table: Table, name: str) -> Iterator[Violation]:
    if operation == "delete":
        if rows:
            yield "data", "a delete has none; its rows are named by where"
        return
    if not rows or not all(rows):
        yield "data", "is required and not empty"
        return
    if operation == "update" and len(rows) > 1:
        yield "data", "an update takes one set of values"
    if len(rows) > _ROWS_MAX:
        yield "data", f"{len(rows)} rows are more than {_ROWS_MAX}"
        return
    columns = rows[0].keys()
    yield from _listed("data", columns, table, name)
    for index, row in enumerate(rows[1:], start=1):
        if row.keys() != columns:
            yield f"data[{index}]", "has other columns than the first row"


def _where_violations(where: Row, table: Table, name: str, *, is_required: bool) -> Iterator[Violation]:
    if is_required and not where:
        yield "where", "is required: the whole table is never changed"
    yield from _listed("where", where, table, name)
    for column, value in where.items():
        if isinstance(value, dict | list):
            yield f"where.{column}", "is not a plain value"


def _listed(field: str, columns: Iterable[str], table: Table, name: str) -> Iterator[Violation]:
    for column in columns:
        if column not in table.columns:
            yield f"{field}.{column[:64]}", f"is not a column of {name!r} that this target lists"


def _check_size(values: list[Row], target: DatabaseTarget) -> None:
    size = len(json.dumps(values))
    if size > target.limits.size_bytes:
        raise PayloadTooLargeError(
            f"{size} bytes of values are more than the {target.limits.size_bytes} that the target takes",
            error_context={"size_bytes": size, "size_bytes_max": target.limits.size_bytes},
        )


def _raise(found: list[Violation]) -> None:
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))

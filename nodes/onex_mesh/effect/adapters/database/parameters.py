"""Parameters of database effects, checked against what the target lists (R16, R89). Nothing here is SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, TypeVar

import pydantic

from onex_mesh.effect.adapters.database.commands import Call, Read, Row, TableRead, TableWrite, Write, Writes
from onex_mesh.effect.adapters.database.violations import (
    Violation,
    listed,
    operation_violations,
    raise_if_any,
    require_table,
    row_violations,
    short,
    where_violations,
)
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.kinds.database_statement import ROWS_MAX, Statement
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_OPERATIONS_MAX = 100
_WRITES = ("insert", "update", "upsert", "delete")

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _TableWrite(_Parameters):
    operation: str = "insert"
    table: str = ""
    data: dict[str, pydantic.JsonValue] | list[dict[str, pydantic.JsonValue]] | None = None
    where: dict[str, pydantic.JsonValue] = {}
    key: list[str] | None = None
    returning: list[str] = []
    expect_rows: Annotated[int, pydantic.Field(ge=0)] | None = None


class _TableRead(_Parameters):
    operation: str = "select"
    table: str = ""
    columns: list[str] | None = None
    where: dict[str, pydantic.JsonValue] = {}
    order: list[str] | str = []
    limit: Annotated[int, pydantic.Field(ge=1, le=ROWS_MAX)] = 1_000
    offset: Annotated[int, pydantic.Field(ge=0, lt=2**63)] = 0


class _Call(_Parameters):
    operation: str = ""
    statement: str
    parameters: dict[str, pydantic.JsonValue] = {}


class _WriteCall(_Call):
    expect_rows: Annotated[int, pydantic.Field(ge=0)] | None = None


class _Transaction(_Parameters):
    operation: str = ""
    operations: Annotated[list[dict[str, pydantic.JsonValue]], pydantic.Field(min_length=1)]


def check_writes(request: EffectRequest, target: DatabaseTarget) -> Writes:
    """The writes that a request asks for: one, or the list under `operations`.

    Raises:
        ValidationError: All that is wrong with them.
        PayloadTooLargeError: Their values are larger than the target takes.
    """
    given = _given(request)
    found: list[Violation] = []
    if "operations" not in given:
        writes = [_checked_write(given, target, "", found)]
    else:
        operations = _transaction(given)
        writes = [
            _checked_write(operation, target, f"operations[{index}].", found)
            for index, operation in enumerate(operations)
        ]
    raise_if_any(found)
    _check_size(given, target)
    return Writes(tuple(write for write in writes if write is not None), "operations" in given)


def check_read(request: EffectRequest, target: DatabaseTarget) -> Read:
    """The select, or the call of a reading statement, that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: Its values are larger than the target takes.
    """
    given = _given(request)
    found: list[Violation] = []
    read: Read | None
    if "statement" in given:
        read = _checked_call(_parse(_Call, given), target, "read", "", found)
    else:
        read = _checked_select(given, target, found)
    raise_if_any(found)
    assert read is not None, "what could not be read was a violation"
    _check_size(given, target)
    return read


def _given(request: EffectRequest) -> dict[str, Json]:
    if request.has_body:
        raise ValidationError("body: a database effect has none", violations=(("body", "not taken"),))
    return {**request.parameters, **({"operation": request.operation} if request.operation else {})}


def _transaction(given: Mapping[str, Json]) -> list[Row]:
    transaction = _parse(_Transaction, given)
    found: list[Violation] = []
    if transaction.operation:
        found.append(("operation", "each of the operations has its own"))
    count = len(transaction.operations)
    if count > _OPERATIONS_MAX:
        found.append(("operations", f"{count} are more than {_OPERATIONS_MAX}"))
    raise_if_any(found)
    return transaction.operations


def _checked_write(given: Mapping[str, Json], target: DatabaseTarget, at: str, found: list[Violation]) -> Write | None:
    """The write; None where it could not be read at all. What is wrong with it is added to `found`."""
    try:
        if "statement" in given:
            call = _parse(_WriteCall, given)
            return _checked_call(call, target, "write", at, found, expect_rows=call.expect_rows)
        return _checked_table_write(_parse(_TableWrite, given), target, at, found)
    except ValidationError as error:
        found.extend((f"{at}{path}", text) for path, text in error.violations)
        return None


def _checked_table_write(given: _TableWrite, target: DatabaseTarget, at: str, found: list[Violation]) -> TableWrite:
    name, table = require_table(given.table, target)
    data: list[Row] = given.data if isinstance(given.data, list) else [] if given.data is None else [given.data]
    key = table.key if given.key is None else tuple(given.key)
    problems = [
        *operation_violations(given.operation, _WRITES, table),
        *row_violations(given.operation, data, table, name),
        *where_violations(given.where, table, name, is_required=given.operation in ("update", "delete")),
        *listed("key", key, table, name),
        *listed("returning", given.returning, table, name),
    ]
    if given.operation == "upsert":
        if not key:
            problems.append(("key", f"table {name!r} has no key; an upsert needs one"))
        problems.extend(
            ("data", f"lacks {short(column)!r} of the key") for column in key if data and column not in data[0]
        )
    if given.operation in ("insert", "upsert") and given.where:
        problems.append(("where", f"{given.operation} has none"))
    found.extend((f"{at}{field}", text) for field, text in problems)
    return TableWrite(
        name, given.operation, tuple(data), given.where, key, tuple(given.returning), given.expect_rows, at
    )


def _checked_select(given: Mapping[str, Json], target: DatabaseTarget, found: list[Violation]) -> TableRead:
    asked = _parse(_TableRead, given)
    name, table = require_table(asked.table, target)
    order = [asked.order] if isinstance(asked.order, str) else asked.order
    ordered = tuple((column.removeprefix("-"), column.startswith("-")) for column in order)
    columns = table.columns if asked.columns is None else tuple(asked.columns)
    found += [
        *operation_violations(asked.operation, ("select",), table),
        *listed("columns", columns, table, name),
        *listed("order", [column for column, _ in ordered], table, name),
        *where_violations(asked.where, table, name, is_required=False),
    ]
    if not columns:
        found.append(("columns", "is empty"))
    return TableRead(name, columns, asked.where, ordered, asked.limit, asked.offset)


def _checked_call(
    given: _Call, target: DatabaseTarget, mode: str, at: str, found: list[Violation], *, expect_rows: int | None = None
) -> Call | None:
    statement = target.statements.get(given.statement)
    if statement is None:
        found.append((f"{at}statement", f"{short(given.statement)!r} is not a statement of this target"))
        return None
    if statement.mode != mode:
        found.append((f"{at}statement", f"{given.statement!r} is a {statement.mode}: use database_{statement.mode}"))
    if given.operation:
        found.append((f"{at}operation", "a named statement has none"))
    found.extend(_argument_violations(given.parameters, statement, f"{at}parameters."))
    return Call(given.statement, given.parameters, expect_rows, at)


def _argument_violations(given: Row, statement: Statement, at: str) -> list[Violation]:
    unknown = given.keys() - statement.parameters.keys()
    found: list[Violation] = [(f"{at}{short(name)}", "is not a parameter of the statement") for name in unknown]
    for name, parameter in statement.parameters.items():
        value = given.get(name)
        if value is None:
            if not parameter.nullable:
                found.append((f"{at}{name}", "may not be null" if name in given else "is required"))
        elif parameter.length_max is not None and isinstance(value, str | list) and len(value) > parameter.length_max:
            found.append((f"{at}{name}", f"{len(value)} is longer than {parameter.length_max}"))
    return sorted(found)


def _parse(model: type[_Model], parameters: Mapping[str, Json]) -> _Model:
    try:
        return model.model_validate(dict(parameters))
    except pydantic.ValidationError as error:
        problem = refused(error, "")
        rows = tuple((short(field), text) for field, text in problem.violations)
        raise_if_any(list(rows))
        raise


def _check_size(values: Mapping[str, Json], target: DatabaseTarget) -> None:
    size = len(json.dumps(values))
    if size > target.limits.size_bytes:
        raise PayloadTooLargeError(
            f"{size} bytes of parameters are more than the {target.limits.size_bytes} that the target takes",
            error_context={"size_bytes": size, "size_bytes_max": target.limits.size_bytes},
        )

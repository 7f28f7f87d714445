"""Data against a JSON Schema (draft 2020-12, unless the schema names another): all violations with their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

from onex_mesh.compute.core.data import path_of
from onex_mesh.compute.core.schema_columns import suspects
from onex_mesh.compute.core.tables import Table, is_table
from onex_mesh.runtime.errors import ValidationError

Violation = tuple[str, str]

_TEXT_MAX = 300
_BATCH_ROWS = 4_096


def schema_validator(schema: Mapping[str, object], at: str) -> Validator:
    """What checks data against a schema. References lead into the schema itself only: nothing is fetched.

    Raises:
        ValidationError: It is no JSON Schema; `at` says where it stands.
    """
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(dict(schema))
    except SchemaError as error:
        where = path_of(at, tuple(error.absolute_path))
        raise ValidationError(
            f"{where}: not JSON Schema: {error.message[:_TEXT_MAX]}", violations=((where, error.message[:_TEXT_MAX]),)
        ) from error
    return kind(dict(schema), registry=Registry(), format_checker=kind.FORMAT_CHECKER)


def schema_violations(validator: Validator, data: object, offset: int = 0) -> Iterator[Violation]:
    """Path and text of each violation in an object, or in each row of a list or table.

    Args:
        validator: The schema.
        data: Plain JSON or a table.
        offset: How many rows come before.
    """
    if is_table(data):
        yield from _of_table(validator, data, offset)
    elif isinstance(data, list):
        for index, row in enumerate(data, offset):
            yield from _of_value(validator, row, f"input_data[{index}]")
    else:
        yield from _of_value(validator, data, "input_data")


def _of_table(validator: Validator, table: Table, offset: int) -> Iterator[Violation]:
    rows = suspects(validator, table)
    if rows is not None:
        numbers: Sequence[int] = cast("list[int]", rows.to_pylist())
        table = table.take(rows)
    else:
        numbers = range(table.num_rows)
    for begin in range(0, table.num_rows, _BATCH_ROWS):
        batch = table.slice(begin, _BATCH_ROWS).to_pylist()
        for number, row in zip(numbers[begin : begin + _BATCH_ROWS], batch, strict=True):
            yield from _of_value(validator, row, f"input_data[{number + offset}]")


def _of_value(validator: Validator, value: object, root: str) -> Iterator[Violation]:
    try:
        for error in validator.iter_errors(value):  # type: ignore[arg-type]  # JSON, which is what it takes
            yield path_of(root, tuple(error.absolute_path)), error.message[:_TEXT_MAX]
    except (OverflowError, ValueError) as failure:
        # An infinity or NaN in a table is a multiple of nothing, which the validator finds out by failing.
        yield root, f"cannot be checked against the schema: {failure}"

"""What the input must look like, by the shape of the data: an object, a list of rows, or a table (R36, R37, F21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from types import MappingProxyType

from onex_mesh.compute.core.data import VIOLATIONS_MAX, json_type
from onex_mesh.compute.core.json_schema import schema_validator, schema_violations
from onex_mesh.compute.core.rules import Rules, rule_violations
from onex_mesh.compute.core.tables import Column, arrow, is_table
from onex_mesh.runtime.errors import ValidationError

_SCHEMA_AT = "input_validation.json_schema"
TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")


def validate_input(
    data: object,
    required_fields: Sequence[str],
    data_types: Mapping[str, str],
    rules: Mapping[str, Rules] = MappingProxyType({}),
    json_schema: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Checks data against rules; for a list of rows or a table they hold for every row.

    Args:
        data: Plain JSON or a table.
        required_fields: Fields that must be there.
        data_types: Expected JSON type by field; a field that is not there is not checked.
        rules: Further rules by field.
        json_schema: JSON Schema of an object, or of each row.

    Raises:
        ValidationError: With each violation and its path, at most 100.
    """
    if not (required_fields or data_types or rules or json_schema):
        return
    for field, expected in data_types.items():
        if expected not in TYPES:
            text = f"{expected!r} is none of {', '.join(TYPES)}"
            at = f"input_validation.data_types.{field}"
            raise ValidationError(f"{at}: {text}", violations=((at, text),))
    for field, rule in rules.items():
        rule.check(f"input_validation.rules.{field}")
    found = chain(
        _violations(data, required_fields, data_types) if required_fields or data_types else (),
        rule_violations(data, rules),
        schema_violations(schema_validator(json_schema, _SCHEMA_AT), data) if json_schema else (),
    )
    violations = tuple(islice(found, VIOLATIONS_MAX))
    if violations:
        at, text = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise ValidationError(f"{at} {text}{more}", violations=violations)


def _violations(
    data: object, required_fields: Sequence[str], data_types: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if is_table(data):
        missing = [field for field in required_fields if field not in data.column_names]
        yield from ((f"input_data.{field}", "is required and missing") for field in missing)
        required_fields = ()
        checked = [name for name in data.column_names if name in data_types]
        data = data.select([name for name in checked if not _all_fit(data.column(name), data_types[name])]).to_pylist()
    rows: Sequence[object] = data if isinstance(data, list | tuple) else [data]
    for index, row in enumerate(rows):
        at = f"input_data[{index}]" if isinstance(data, list | tuple) else "input_data"
        if not isinstance(row, dict):
            yield at, f"should be an object with fields, found {json_type(row)}"
            continue
        for field in required_fields:
            if field not in row:
                yield f"{at}.{field}", "is required and missing"
        for field, expected in data_types.items():
            if field in row and not _fits(row[field], expected):
                yield f"{at}.{field}", f"has the wrong type: expected {expected}, found {json_type(row[field])}"


def _all_fit(column: Column, expected: str) -> bool:
    """Whether the type of a column says already that all its values fit."""
    kinds, kind = arrow().types, column.type
    match expected:
        case "string":
            right = kinds.is_string(kind) or kinds.is_large_string(kind)
        case "integer":
            right = kinds.is_integer(kind)
        case "number":
            right = kinds.is_integer(kind) or kinds.is_floating(kind)
        case "boolean":
            right = kinds.is_boolean(kind)
        case _:
            right = False
    return bool(right) and not column.null_count


def _fits(value: object, expected: str) -> bool:
    found = json_type(value)
    return found == expected or (expected == "number" and found == "integer")

"""The records that an aggregation reads: a list, a table, or a single value; and the values in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice

from onex.v1 import common_pb2
from onex_mesh.reducer.core.documents import VIOLATIONS_MAX, summary_of
from onex_mesh.reducer.core.rows import TableRows, table_rows
from onex_mesh.reducer.core.scalars import scalar_of
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, from_payload

_NUMBERS = frozenset({int, float, Decimal})
_KEYS = frozenset({str, int, bool, type(None)})
_JSON_TYPES = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
    type(None): "null",
}


def records_of(payload: common_pb2.Payload, path: str = "input_data") -> Sequence[object]:
    """The records of a payload: the items of a list, the rows of an Arrow table, nothing, or the one value that it is.

    Raises:
        ValidationError: It holds neither JSON nor an Arrow table.
    """
    if payload.WhichOneof("content") == "data" and payload.content_type == ARROW_TYPE:
        return table_rows(payload.data, path)
    value = from_payload(payload)
    if isinstance(value, bytes):
        text = f"expected JSON or an Arrow table, found bytes of type {payload.content_type or 'unknown'}"
        raise ValidationError(f"{path}: {text}", violations=((path, text),))
    if isinstance(value, list):
        return list(value)
    return [] if payload.WhichOneof("content") is None else [value]


def numbers_of(records: Sequence[object], field: str, offset: int) -> Sequence[object]:
    """The numbers to aggregate: the records themselves, or a field of each.

    Args:
        records: The records.
        field: The field; empty if the records are numbers.
        offset: How many records came before, for paths.

    Returns:
        A list, or the column of a table (`onex_mesh.reducer.core.columns.NumberColumn`).

    Raises:
        ValidationError: Some are no finite numbers, with the path of each, at most 100.
    """
    if isinstance(records, TableRows):
        array = records.column(field)
        if array is not None:
            from onex_mesh.reducer.core.columns import number_column

            column = number_column(array)
            if column is not None:
                return column
    values = _field_values(records, field)
    numbers = [value for value in values if type(value) in _NUMBERS and _is_finite(value)]
    if len(numbers) < len(values):
        raise _refused(_each_violation(records, field, offset, _number_violation))
    return numbers


def scalars_of(records: Sequence[object], field: str, offset: int) -> Sequence[object]:
    """The values to tell apart: the records themselves, or a field of each; None where it is null or missing.

    Returns:
        A list, or the column of a table (`onex_mesh.reducer.core.value_columns.ValueColumn`).

    Raises:
        ValidationError: Some are objects, lists, bytes or not finite, with the path of each, at most 100.
    """
    if isinstance(records, TableRows):
        from onex_mesh.reducer.core.value_columns import value_column

        array = records.column(field)
        if array is None:
            path, text = f"input_data.{field}", "is required and missing: the table has no such column"
            raise ValidationError(f"{path}: {text}", violations=((path, text),))
        column = value_column(array)
        if column is not None:
            return column
    values = _field_values(records, field)
    try:
        return [value if type(value) in _KEYS else scalar_of(value) for value in values]
    except ValueError:
        raise _refused(_each_violation(records, field, offset, _scalar_violation)) from None


def json_type(value: object) -> str:
    """The JSON type of a plain value."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


def picked(values: Sequence[object], indices: Sequence[int]) -> Sequence[object]:
    """Some of the values or records, by their places; a range is all of them."""
    if isinstance(indices, range):
        assert len(indices) == len(values)
        return values
    if isinstance(values, range):
        # Records of which nothing but their number is asked.
        return range(len(indices))
    if isinstance(values, list):
        return [values[index] for index in indices]
    chosen: Sequence[object] = values.pick(indices)  # type: ignore[attr-defined]  # rows and columns of tables
    return chosen


def _field_values(records: Sequence[object], field: str) -> Sequence[object]:
    if not field:
        return records
    if isinstance(records, TableRows):
        column = records.column(field)
        return [None] * len(records) if column is None else list(column.to_pylist())
    return [record.get(field) if isinstance(record, dict) else None for record in records]


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or value - value == 0.0


def _refused(found: Iterator[tuple[str, str]]) -> ValidationError:
    violations = tuple(islice(found, VIOLATIONS_MAX))
    return ValidationError(summary_of(violations), violations=violations)


def _each_violation(
    records: Sequence[object], field: str, offset: int, violation: Callable[[object], str]
) -> Iterator[tuple[str, str]]:
    for index, record in enumerate(records, offset):
        path, value = f"input_data[{index}]", record
        if field:
            if not isinstance(record, dict):
                yield path, f"expected an object with the field {field!r}, found {json_type(record)}"
                continue
            path = f"{path}.{field}"
            if field not in record and violation is _number_violation:
                yield path, "is required and missing"
                continue
            value = record.get(field)
        text = violation(value)
        if text:
            yield path, text


def _number_violation(value: object) -> str:
    if type(value) not in _NUMBERS:
        hint = "; name the field to aggregate in reduction_config.field" if isinstance(value, dict) else ""
        return f"expected a number, found {json_type(value)}{hint}"
    return "" if _is_finite(value) else f"expected a finite number, found {value}"


def _scalar_violation(value: object) -> str:
    try:
        scalar_of(value)
    except ValueError as error:
        return str(error)
    return ""

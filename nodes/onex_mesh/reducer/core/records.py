"""The records that an aggregation reads: a list, a table, or a single value; and the numbers in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from onex.v1 import common_pb2
from onex_mesh.reducer.core.documents import VIOLATIONS_MAX, summary_of
from onex_mesh.reducer.core.exact import ExactSum, Number
from onex_mesh.reducer.core.rows import TableRows, table_rows
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, from_payload

_NUMBERS = frozenset({int, float})
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


def numbers_of(records: Sequence[object], field: str, offset: int) -> list[Number]:
    """The numbers to aggregate: the records themselves, or a field of each.

    Args:
        records: The records.
        field: The field; empty if the records are numbers.
        offset: How many records came before, for paths.

    Raises:
        ValidationError: Some are no finite numbers, with the path of each, at most 100.
    """
    values = [record.get(field) if isinstance(record, dict) else None for record in records] if field else records
    numbers = [value for value in values if type(value) in _NUMBERS and _is_finite(value)]
    if len(numbers) < len(values):
        raise _violations(records, field, offset)
    return numbers  # type: ignore[return-value]  # the types were compared above, which is the quick way


def sum_of(records: Sequence[object], field: str, offset: int, total: ExactSum) -> ExactSum:
    """A sum with the numbers of more records; the columns of a table are summed without making rows of them.

    Raises:
        ValidationError: Some are no finite numbers (see `numbers_of`), or the sum is beyond what a double can hold.
    """
    summed = records.summed(field, total) if isinstance(records, TableRows) else None
    if summed is not None:
        return summed
    return total.add(numbers_of(records, field, offset))


def json_type(value: object) -> str:
    """The JSON type of a plain value."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or value - value == 0.0


def _violations(records: Sequence[object], field: str, offset: int) -> ValidationError:
    violations = tuple(islice(_each_violation(records, field, offset), VIOLATIONS_MAX))
    return ValidationError(summary_of(violations), violations=violations)


def _each_violation(records: Sequence[object], field: str, offset: int) -> Iterator[tuple[str, str]]:
    for index, record in enumerate(records, offset):
        path, value = f"input_data[{index}]", record
        if field:
            if not isinstance(record, dict):
                yield path, f"expected an object with the field {field!r}, found {json_type(record)}"
                continue
            path = f"{path}.{field}"
            if field not in record:
                yield path, "is required and missing"
                continue
            value = record[field]
        if type(value) not in _NUMBERS:
            hint = "; name the field to aggregate in reduction_config.field" if isinstance(value, dict) else ""
            yield path, f"expected a number, found {json_type(value)}{hint}"
        elif not _is_finite(value):
            yield path, f"expected a finite number, found {value}"

"""Event times of records, in microseconds since 1970-01-01T00:00:00Z."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from onex_mesh.reducer.core.documents import VIOLATIONS_MAX, summary_of
from onex_mesh.reducer.core.records import json_type
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.runtime.errors import ValidationError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000
_MICROSECOND = timedelta(microseconds=1)
_LEAST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND
_MOST_US = (datetime.max.replace(tzinfo=UTC) - EPOCH) // _MICROSECOND


def times_of(records: Sequence[object], field: str, offset: int) -> Sequence[int]:
    """The time of each record: a list, or an array of NumPy for a table.

    Args:
        records: The records.
        field: Which field holds it: RFC 3339 text with an offset, a number of seconds, or a time of Arrow (UTC where it
            names no zone).
        offset: How many records came before, for paths.

    Raises:
        ValidationError: Some have no such time, with the path of each, at most 100.
    """
    if isinstance(records, TableRows):
        array = records.column(field)
        if array is not None:
            from onex_mesh.reducer.core.time_columns import column_times

            times = column_times(array)
            if times is not None:
                return times
    found: list[int] = []
    violations: list[tuple[str, str]] = []
    for index, record in enumerate(records, offset):
        if not isinstance(record, dict):
            violations.append((f"input_data[{index}]", f"expected an object, found {json_type(record)}"))
        elif field not in record:
            violations.append((f"input_data[{index}].{field}", "is required and missing"))
        else:
            try:
                found.append(microseconds_of(record[field]))
            except ValueError as error:
                violations.append((f"input_data[{index}].{field}", str(error)))
        if len(violations) == VIOLATIONS_MAX:
            break
    if violations:
        raise ValidationError(summary_of(violations), violations=tuple(islice(violations, VIOLATIONS_MAX)))
    return found


def microseconds_of(value: object) -> int:
    """The time that a value says.

    Raises:
        ValueError: It says none, or one outside of the years 1 to 9999.
    """
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected a time such as 2026-03-04T05:06:07Z, found {value[:40]!r}") from None
        if time.tzinfo is None:
            raise ValueError(f"the time {value} has no offset from UTC, such as Z or +01:00")
        value = time
    if isinstance(value, datetime):
        return (value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) // _MICROSECOND
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        scaled = value * SECOND_US if isinstance(value, int) else round(value * SECOND_US)
        if not _LEAST_US <= scaled <= _MOST_US:
            raise ValueError(f"{value} seconds are outside of the years 1 to 9999; are they milliseconds?")
        return scaled
    raise ValueError(f"expected a time, found {json_type(value)}")


def text_of(microseconds: int) -> str:
    """The time as RFC 3339 text."""
    return (EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")


def clamped(microseconds: int) -> int:
    """The time, or the first or last one that can be written: windows reach beyond the records in them."""
    return min(max(microseconds, _LEAST_US), _MOST_US)

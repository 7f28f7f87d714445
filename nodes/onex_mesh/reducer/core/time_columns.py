"""Columns of Arrow tables as event times. Imported only where a table came: it needs the extra `arrow`.

pyarrow ships no types; its objects are Any here."""

# mypy: disable-error-code="attr-defined,no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from onex_mesh.reducer.core.times import SECOND_US, microseconds_of

_UNITS_US = {"s": SECOND_US, "ms": 1_000, "us": 1}


def column_times(array: Any) -> Sequence[int] | None:
    """Microseconds since 1970 of a column, as an array of 64-bit integers; None where some are no times."""
    kinds = pa.types
    if array.null_count or not len(array):
        return None
    if kinds.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if kinds.is_date(kind):
        array = array.cast(pa.timestamp("s"))
        kind = array.type
    if kinds.is_timestamp(kind) and kind.unit == "ns":
        # Cut off towards the past.
        return _within(np.asarray(array.cast(pa.int64())) // 1_000, 1)
    if kinds.is_timestamp(kind):
        return _within(np.asarray(array.cast(pa.int64())), _UNITS_US[kind.unit])
    if kinds.is_integer(kind) and kind != pa.uint64():
        return _within(np.asarray(array.cast(pa.int64())), SECOND_US)
    return _by_value(array) if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_floating(kind) else None


def _by_value(array: Any) -> Sequence[int] | None:
    encoded = array.dictionary_encode().unify_dictionaries().combine_chunks()
    try:
        known = [microseconds_of(value) for value in encoded.dictionary.to_pylist()]
    except ValueError:
        return None
    return cast("Sequence[int]", np.asarray(known, dtype=np.int64)[np.asarray(encoded.indices)])


def _within(times: Any, unit_us: int) -> Sequence[int] | None:
    """The times in microseconds; None where one is outside of the years 1 to 9999."""
    least, most = microseconds_of("0001-01-01T00:00:00Z"), microseconds_of("9999-12-31T23:59:59.999999Z")
    if int(times.min()) * unit_us < least or int(times.max()) * unit_us > most:
        return None
    return cast("Sequence[int]", times if unit_us == 1 else times * unit_us)

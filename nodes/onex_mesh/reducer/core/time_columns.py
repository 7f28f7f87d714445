"""Columns of Arrow tables as event times. Imported only where a table came: it needs the extra `arrow`.

pyarrow ships no types; its objects are Any here."""

# mypy: disable-error-code="attr-defined,no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onex_mesh.reducer.core.times import SECOND_US, microseconds_of


def column_times(array: Any) -> Sequence[int] | None:
    """Microseconds since 1970 of a column, as an array of 64-bit integers; None where some are no times."""
    kinds = pa.types
    if array.null_count or not len(array):
        return None
    if kinds.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if kinds.is_timestamp(kind) or kinds.is_date(kind):
        try:
            # Nanoseconds are cut off, towards the past, as the other units cannot be.
            whole = pc.floor_temporal(array, unit="microsecond") if kinds.is_timestamp(kind) else array
            found = np.asarray(whole.cast(pa.timestamp("us", kind.tz if kinds.is_timestamp(kind) else None)))
        except pa.ArrowInvalid:
            return None
        return _within(found.astype("datetime64[us]").astype(np.int64))
    if kinds.is_integer(kind):
        seconds = np.asarray(array.cast(pa.int64()))
        limit = 2**63 // SECOND_US
        return None if int(seconds.max()) >= limit or int(seconds.min()) <= -limit else _within(seconds * SECOND_US)
    return _by_value(array) if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_floating(kind) else None


def _by_value(array: Any) -> Sequence[int] | None:
    encoded = array.dictionary_encode().unify_dictionaries().combine_chunks()
    try:
        known = [microseconds_of(value) for value in encoded.dictionary.to_pylist()]
    except ValueError:
        return None
    return cast("Sequence[int]", np.asarray(known, dtype=np.int64)[np.asarray(encoded.indices)])


def _within(times: Any) -> Sequence[int] | None:
    least, most = microseconds_of("0001-01-01T00:00:00Z"), microseconds_of("9999-12-31T23:59:59.999999Z")
    return None if int(times.min()) < least or int(times.max()) > most else cast("Sequence[int]", times)

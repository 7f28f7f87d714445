"""Keys of the columns of tables. Imported only where a table came: it needs the extra `arrow`."""

# mypy: disable-error-code="attr-defined,no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from onex_mesh.reducer.core.scalars import Ranked, ranked
from onex_mesh.reducer.core.value_columns import ValueColumn

_TABLE_MIN = 2**16
"""Numbers up to this are looked up in a table, however few rows there are."""


def keys_of_columns(columns: Sequence[Sequence[object]]) -> tuple[Sequence[int], list[tuple[Ranked, ...]]]:
    """See `onex_mesh.reducer.core.keys.keys_of`."""
    numbered = [cast("ValueColumn", column).numbered() for column in columns]
    combined = np.zeros(len(columns[0]), dtype=np.int64)
    keys: list[tuple[Ranked, ...]] = [()]
    for codes, values in numbered:
        # Numbered anew after each column, so that no product of their sizes can overflow.
        combined, found = numbers_of(combined * (len(values) + 1) + codes + 1, len(keys) * (len(values) + 1))
        known: list[Ranked] = [ranked(None), *map(ranked, values)]
        keys = [(*keys[code // len(known)], known[code % len(known)]) for code in found]
    return cast("Sequence[int]", combined), keys


def numbers_of(values: Any, end: int = 0) -> tuple[Any, list[int]]:
    """The integers of an array numbered from 0, and the integers.

    Args:
        values: 64-bit integers.
        end: All of them are from 0 to below it; 0 where that is not known.
    """
    if 0 < end <= max(_TABLE_MIN, len(values)):
        is_there = np.bincount(values, minlength=end) > 0
        return (np.cumsum(is_there) - 1)[values], np.flatnonzero(is_there).tolist()
    encoded = pa.array(values).dictionary_encode()
    return np.asarray(encoded.indices).astype(np.int64), encoded.dictionary.to_pylist()

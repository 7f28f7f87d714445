"""Columns of Arrow tables as values to tell apart: how often each occurs, in all or by group.

Imported only where a table came: it needs the extra `arrow`. pyarrow ships no types; its objects are Any here.
"""

# mypy: disable-error-code="attr-defined,no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onex_mesh.reducer.core.aggregates.fold import Groups
from onex_mesh.reducer.core.hashes import DOUBLE_TAG, FACTORS, INCREMENT, SHIFTS, hash_of
from onex_mesh.reducer.core.scalars import Scalar, scalar_of

_JSON_INT_LIMIT = 2**53


class ValueColumn(Sequence[object]):
    """A column of values, or nulls.

    Args:
        codes: Number of the value, from 0; null for null.
        values: The values, different from each other.
        numbers: The same as an array of NumPy, where they are 64-bit integers or doubles.
    """

    __slots__ = ("_codes", "_numbers", "_values")

    def __init__(self, codes: Any, values: Sequence[Scalar], numbers: Any = None) -> None:
        self._codes = codes
        self._values = values
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> ValueColumn: ...
    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            assert step == 1, "values are read in their order"
            return ValueColumn(self._codes.slice(begin, max(0, end - begin)), self._values, self._numbers)
        code = self._codes[index].as_py()
        return None if code is None else self._values[code]

    def pick(self, indices: Sequence[int]) -> ValueColumn:
        """The values at these places."""
        return ValueColumn(self._codes.take(pa.array(indices, pa.int64())), self._values, self._numbers)

    def tolist(self) -> list[Scalar]:
        """The values; None for null."""
        return [None if code is None else self._values[code] for code in self._codes.to_pylist()]

    def numbered(self) -> tuple[Any, Sequence[Scalar]]:
        """Number of the value by row, as a NumPy array, and the values; nulls have the number -1."""
        return np.asarray(pc.fill_null(self._codes, -1)), self._values

    def hashes(self) -> list[int]:
        """The hash of each value that occurs, once; see `onex_mesh.reducer.core.hashes`."""
        present = np.flatnonzero(np.bincount(np.asarray(self._codes.drop_null()), minlength=len(self._values)))
        if self._numbers is None:
            return [hash_of(self._values[code]) for code in present.tolist()]
        hashes: list[int] = _hashed(self._numbers[present]).tolist()
        return hashes

    def counts(self) -> list[tuple[Scalar, int]]:
        """How often each value occurs that does; nulls do not count."""
        found = np.bincount(np.asarray(self._codes.drop_null()), minlength=len(self._values))
        return [(self._values[code], int(found[code])) for code in np.flatnonzero(found).tolist()]

    def counts_by_group(self, groups: Groups) -> list[list[tuple[Scalar, int]]]:
        """The same of each group."""
        found = pa.table({"group": np.asarray(groups.codes), "code": self._codes}).drop_null()
        found = found.group_by(["group", "code"], use_threads=False).aggregate([([], "count_all")])
        counts: list[list[tuple[Scalar, int]]] = [[] for _ in range(groups.count)]
        columns = (found.column(name).to_pylist() for name in ("group", "code", "count_all"))
        for group, code, count in zip(*columns, strict=True):
            counts[group].append((self._values[code], count))
        return counts


def value_column(array: Any) -> ValueColumn | None:
    """A column of a table as values; None where some of them are none (see `scalar_of`)."""
    if not pa.types.is_dictionary(array.type):
        if pa.types.is_nested(array.type) or pa.types.is_null(array.type):
            return None
        array = array.dictionary_encode()
    array = array.unify_dictionaries().combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ChunkedArray):  # without any chunk
        return ValueColumn(pa.array([], pa.int32()), ())
    try:
        values = [scalar_of(value) for value in array.dictionary.to_pylist()]
    except ValueError:
        return None
    if len(set(values)) == len(values) and None not in values:
        return ValueColumn(array.indices, values, _numbers(array.dictionary))
    return _unified(array.indices, values)


def _numbers(dictionary: Any) -> Any:
    kinds, kind = pa.types, dictionary.type
    if kinds.is_floating(kind):
        return np.asarray(dictionary, dtype=np.float64)
    return np.asarray(dictionary, dtype=np.int64) if kinds.is_integer(kind) and kind != pa.uint64() else None


def _hashed(numbers: Any) -> Any:
    """The hashes of numbers, as `hash_of` has them."""
    bits = numbers.view(np.uint64)
    if numbers.dtype == np.float64:
        is_whole = (numbers == np.floor(numbers)) & (np.abs(numbers) <= _JSON_INT_LIMIT)
        whole = np.where(is_whole, numbers, 0.0).astype(np.int64).view(np.uint64)
        bits = np.where(is_whole, whole, bits ^ np.uint64(DOUBLE_TAG))
    bits = bits + np.uint64(INCREMENT)
    for shift, factor in zip(SHIFTS, FACTORS, strict=False):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(SHIFTS[-1]))


def _unified(indices: Any, values: Sequence[Scalar]) -> ValueColumn:
    """Values of which some are the same, such as 0.0 and -0.0, or null within the dictionary."""
    numbers: dict[Scalar, int] = {}
    renumbered = [None if value is None else numbers.setdefault(value, len(numbers)) for value in values]
    return ValueColumn(pa.array(renumbered, pa.int64()).take(indices), list(numbers))

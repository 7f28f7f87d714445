"""Columns of Arrow tables as the aggregates read them: sums, extremes and counts of whole columns or by group, exact,
without making rows of them.

Imported only where a table came: it needs the extra `arrow`. pyarrow ships no types; its objects are Any here.
"""

# mypy: disable-error-code="attr-defined,no-untyped-call"

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onex_mesh.reducer.core.aggregates.fold import Groups
from onex_mesh.reducer.core.exact import ExactSum, Number
from onex_mesh.reducer.core.slices import (
    BLOCK,
    GROUPED_BLOCK,
    exact_doubles,
    exact_doubles_by_group,
    exact_squares,
    whole_sums_by_group,
)

Array = npt.NDArray[Any]

_INT_LIMIT = 2**63
_DOUBLE_INT_MAX = 2**53
_DIGITS_MAX = 76
_MANTISSA_BITS = 52
_MAGNITUDE_MASK = 2**63 - 1


class NumberColumn(Sequence[object]):
    """A column of finite numbers without nulls: 64-bit integers, doubles, or decimals.

    Args:
        array: The column, of one of these types; see `number_column`.
    """

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> NumberColumn: ...
    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            assert step == 1, "values are read in their order"
            return NumberColumn(self._array.slice(begin, max(0, end - begin)))
        return self._array[index].as_py()

    def pick(self, indices: Sequence[int]) -> NumberColumn:
        """The numbers at these places."""
        return NumberColumn(self._array.take(pa.array(indices, pa.int64())))

    def tolist(self) -> list[Number]:
        """The numbers."""
        numbers: list[Number] = self._array.to_pylist()
        return numbers

    @property
    def is_decimal(self) -> bool:
        """Whether the numbers are decimals."""
        return bool(pa.types.is_decimal(self._array.type))

    def total(self) -> ExactSum:
        """Their exact sum."""
        if not len(self):
            return ExactSum()
        if self.is_decimal:
            return ExactSum(decimal=pc.sum(_widest(self._array)).as_py())
        if pa.types.is_floating(self._array.type):
            return ExactSum().add(exact_doubles(values for _, values in self.blocks(BLOCK)))
        return ExactSum(whole=sum(_whole_sum(values) for _, values in self.blocks(BLOCK)))

    def totals(self, groups: Groups) -> list[ExactSum]:
        """The exact sum of each group."""
        if self.is_decimal:
            sums = _by_code(groups, _widest(self._array), "sum").to_pylist()
            return [ExactSum(decimal=value) for value in sums]
        if pa.types.is_floating(self._array.type):
            parts = exact_doubles_by_group(self._joined(), np.asarray(groups.codes), groups.count)
            return [ExactSum().add(part) for part in parts]
        wholes = whole_sums_by_group(self._joined(), np.asarray(groups.codes), groups.count)
        return [ExactSum(whole=value) for value in wholes]

    def ends(self) -> tuple[Number, Number]:
        """The smallest and the largest; there is at least one."""
        found = pc.min_max(self._array).as_py()
        return found["min"], found["max"]

    def ends_by_group(self, groups: Groups, *, largest: bool) -> list[Number]:
        """The largest or the smallest of each group."""
        if self.is_decimal:
            found: list[Number] = _by_code(groups, self._array, "max" if largest else "min").to_pylist()
            return found
        values, codes = self._joined(), np.asarray(groups.codes)
        ends = np.empty(groups.count, dtype=values.dtype)
        # One of each group to begin with; which one does not matter.
        ends[codes] = values
        (np.maximum if largest else np.minimum).at(ends, codes, values)
        numbers: list[Number] = ends.tolist()
        return numbers

    def square_parts(self, groups: Groups | None = None) -> list[list[float]] | None:
        """Doubles with the exact sum of the squares, of all or of each group; decimals count as the closest doubles.

        None where a square is beyond what doubles hold exactly.
        """
        if pa.types.is_integer(self._array.type) and max(map(abs, map(int, self.ends()))) > _DOUBLE_INT_MAX:
            return None
        parts: list[list[float]] = [[] for _ in range(1 if groups is None else groups.count)]
        for begin, values in self._double_blocks(BLOCK if groups is None else GROUPED_BLOCK):
            squares = exact_squares(values)
            if squares is None:
                return None
            if groups is None:
                parts[0].extend(exact_doubles(squares))
                continue
            codes = np.asarray(groups.codes[begin : begin + len(values)])
            for square in squares:
                for part, more in zip(parts, exact_doubles_by_group(square, codes, groups.count), strict=True):
                    part.extend(more)
        return parts

    def buckets(self, bits: int) -> dict[int, int]:
        """How many numbers each bucket has; see `onex_mesh.reducer.core.aggregates.quantiles.bucket_of`."""
        buckets: Counter[int] = Counter()
        for _, values in self._double_blocks(GROUPED_BLOCK):
            found = pc.value_counts(pa.array(_bucketed(values, bits)))
            values_counts = (found.field(name).to_pylist() for name in ("values", "counts"))
            buckets.update(dict(zip(*values_counts, strict=True)))
        return buckets

    def buckets_by_group(self, bits: int, groups: Groups) -> list[dict[int, int]]:
        """The same of each group."""
        found = pa.table({"group": np.asarray(groups.codes), "bucket": _bucketed(self.doubles(), bits)})
        found = found.group_by(["group", "bucket"], use_threads=False).aggregate([([], "count_all")])
        buckets: list[dict[int, int]] = [{} for _ in range(groups.count)]
        columns = (found.column(name).to_pylist() for name in ("group", "bucket", "count_all"))
        for group, bucket, count in zip(*columns, strict=True):
            buckets[group][bucket] = count
        return buckets

    def doubles(self) -> Array:
        """The numbers as doubles, each the closest one."""
        if self.is_decimal:
            return np.asarray(self._array.cast(pa.float64(), safe=False))
        return np.asarray(self._array, dtype=np.float64)

    def blocks(self, size: int) -> Iterator[tuple[int, Array]]:
        """Where each block begins, and its numbers; integers and doubles only. Nothing is copied."""
        begin = 0
        for chunk in self._array.chunks:
            for start in range(0, len(chunk), size):
                yield begin + start, chunk.slice(start, size).to_numpy()
            begin += len(chunk)

    def _double_blocks(self, size: int) -> Iterator[tuple[int, Array]]:
        """Where each block begins, and its numbers as the closest doubles."""
        for begin in range(0, len(self), size):
            yield begin, self[begin : begin + size].doubles()

    def _joined(self) -> Array:
        """All integers or doubles as one array; a copy only where they came in several pieces."""
        pieces = [values for _, values in self.blocks(len(self))]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _bucketed(values: Array, bits: int) -> Array:
    pattern = values.view(np.int64)
    magnitude = (pattern & _MAGNITUDE_MASK) >> (_MANTISSA_BITS - bits)
    magnitude[magnitude >> bits == 0] = 0
    return np.where(pattern < 0, -magnitude, magnitude)


def number_column(array: Any) -> NumberColumn | None:
    """A column of a table as numbers; None where some are null, no numbers, or not finite."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if array.null_count or not len(array):
        return None
    if pa.types.is_decimal(kind):
        return NumberColumn(array if kind.scale >= 0 else array.cast(pa.decimal256(_DIGITS_MAX, 0)))
    if pa.types.is_integer(kind):
        wide = pa.uint64() if kind == pa.uint64() else pa.int64()
        return NumberColumn(array if kind == wide else array.cast(wide))
    if not pa.types.is_floating(kind):
        return None
    column = NumberColumn(array if kind == pa.float64() else array.cast(pa.float64()))
    # NaN and infinities show in the extremes, as NumPy computes them.
    for _, values in column.blocks(BLOCK):
        if not (math.isfinite(values.min()) and math.isfinite(values.max())):
            return None
    return column


def _whole_sum(values: Array) -> int:
    largest = max(abs(int(values.min())), abs(int(values.max())))
    if largest * len(values) < _INT_LIMIT:
        return int(values.sum())
    # 64 bits could overflow, which NumPy would not tell.
    return sum(values.tolist())


def _by_code(groups: Groups, array: Any, function: str) -> Any:
    """An aggregate of Arrow by group, in the order of their numbers."""
    found = pa.table({"code": np.asarray(groups.codes), "value": array})
    found = found.group_by("code", use_threads=False).aggregate([("value", function)])
    return found.take(pc.sort_indices(found.column("code"))).column(f"value_{function}")


def _widest(array: Any) -> Any:
    """Decimals in a type in which sums of less than 10^38 of them cannot overflow."""
    return array.cast(pa.decimal256(_DIGITS_MAX, array.type.scale))

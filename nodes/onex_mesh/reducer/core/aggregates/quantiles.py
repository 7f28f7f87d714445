"""Quantiles within a relative error, in bounded memory.

Numbers are counted in buckets that are cut from the doubles' own bits: the exponent and the leading bits of the
mantissa. So 2^bits buckets of one width lie between two powers of two, as in an HDR histogram, and the middle of a
bucket is within 2^-(bits+1) of any number in it. Unlike with t-digest or KLL, the counts do not depend on the order or
the grouping of the records, and no logarithm is taken that two machines could round differently
(docs/adr/0008-aggregates.md).
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from onex_mesh.reducer.core.aggregates.extremes import Extreme
from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.aggregates.states import count_of, fields_of, refused
from onex_mesh.reducer.core.exact import Number
from onex_mesh.reducer.core.records import numbers_of

if TYPE_CHECKING:
    from onex_mesh.reducer.core.columns import NumberColumn

BITS_MAX = 12
_MANTISSA_BITS = 52
_MAGNITUDE_MASK = 2**63 - 1
_FIELDS = {"bits", "buckets", "min", "max"}
_LEAST, _MOST = Extreme(largest=False), Extreme(largest=True)


def bits_for(relative_error: float) -> int:
    """Fewest leading bits of the mantissa with which the middle of a bucket is that close to all its numbers."""
    return max(0, math.ceil(-math.log2(relative_error)) - 1)


@dataclass(frozen=True, slots=True)
class Quantiles(Fold):
    """Quantiles of numbers.

    Attributes:
        field: Field of the records; empty if they are numbers.
        shares: Which quantiles, each within 0 to 1.
        bits: Leading bits of the mantissa that tell buckets apart.
        buckets: How many numbers each bucket has, by its number; see `bucket_of`.
        least: The smallest number.
        most: The largest number.
    """

    shares: tuple[float, ...]
    bits: int
    field: str = ""
    buckets: Mapping[int, int] = dataclasses.field(default_factory=dict)
    least: Extreme = _LEAST
    most: Extreme = _MOST

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return numbers_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Quantiles:
        """See `Fold.take`."""
        if isinstance(values, list):
            counts = Counter(bucket_of(float(value), self.bits) for value in cast("list[Number]", values))
        else:
            counts = Counter(cast("NumberColumn", values).buckets(self.bits))
        return self._with(counts, self.least.take(values), self.most.take(values))

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Quantiles]:
        """See `Fold.by_group`."""
        if isinstance(values, list):
            return Fold.by_group(self, values, groups)
        column = cast("NumberColumn", values)
        least, most = self.least.by_group(values, groups), self.most.by_group(values, groups)
        return [
            self._with(counts, least[code], most[code])
            for code, counts in enumerate(column.buckets_by_group(self.bits, groups))
        ]

    def merge(self, other: Quantiles) -> Quantiles:
        """See `Fold.merge`."""
        return self._with(other.buckets, self.least.merge(other.least), self.most.merge(other.most))

    def resume(self, state: object, path: str) -> Quantiles:
        """See `Fold.resume`."""
        fields = fields_of(state, _FIELDS, path, "quantiles continue from their state {bits, buckets, min, max}")
        if fields["bits"] != self.bits:
            raise refused(
                f"{path}.bits", f"another relative_error was asked for: {self.bits} bits, not {fields['bits']}"
            )
        pairs = fields["buckets"]
        if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise refused(f"{path}.buckets", "expected pairs of bucket and count")
        limit = (_MAGNITUDE_MASK >> (_MANTISSA_BITS - self.bits)) + 1
        buckets: dict[int, int] = {}
        for at, (bucket, count) in enumerate(pairs):
            if type(bucket) is not int or abs(bucket) > limit or bucket in buckets:
                raise refused(f"{path}.buckets[{at}]", "expected the number of a bucket, each once")
            buckets[bucket] = count_of(count, f"{path}.buckets[{at}][1]")
        least, most = self.least.resume(fields["min"], f"{path}.min"), self.most.resume(fields["max"], f"{path}.max")
        if (least.best is None) == bool(buckets) or (most.best is None) == bool(buckets):
            raise refused(path, "has numbers without a smallest and a largest one, or the other way round")
        return replace(self, buckets=buckets, least=least, most=most)

    def result(self) -> object:
        """By share: a number within the relative error of the one of that rank (the smallest that so large a share of
        all numbers is not above); null of nothing. Those of 0 and 1 are the smallest and the largest, exactly."""
        if self.least.best is None or self.most.best is None:
            return {f"{share:g}": None for share in self.shares}
        ordered, count = sorted(self.buckets.items()), sum(self.buckets.values())
        return {f"{share:g}": self._at(share, ordered, count) for share in self.shares}

    def state(self) -> object:
        """See `Fold.state`."""
        buckets = [[bucket, count] for bucket, count in sorted(self.buckets.items())]
        return {"bits": self.bits, "buckets": buckets, "min": self.least.state(), "max": self.most.state()}

    def _with(self, counts: Mapping[int, int], least: Extreme, most: Extreme) -> Quantiles:
        buckets = dict(self.buckets)
        for bucket, count in counts.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        return replace(self, buckets=buckets, least=least, most=most)

    def _at(self, share: float, ordered: Sequence[tuple[int, int]], count: int) -> Number:
        least, most = cast("Number", self.least.best), cast("Number", self.most.best)
        # As an exact product: 0.07 times 100 is not quite 7 in doubles.
        rank = max(1, math.ceil(Fraction(Decimal(repr(share))) * count))
        if rank >= count or share == 0:
            return most if share else least
        if rank == 1:
            return least
        for bucket, many in ordered:
            rank -= many
            if rank <= 0:
                return min(max(middle_of(bucket, self.bits), float(least)), float(most))
        raise AssertionError("the counts come to less than the count")


def bucket_of(value: float, bits: int) -> int:
    """The bucket of a number: its exponent and the leading bits of its mantissa as an integer, which orders as the
    numbers do; negative numbers have negative ones. 0 is that of zero and of what is closer to it than 2^-1022, where
    doubles lose their precision."""
    (pattern,) = struct.unpack("<q", struct.pack("<d", value))
    magnitude = int(pattern & _MAGNITUDE_MASK) >> (_MANTISSA_BITS - bits)
    if magnitude >> bits == 0:
        return 0
    return -magnitude if pattern < 0 else magnitude


def middle_of(bucket: int, bits: int) -> float:
    """The number in the middle of a bucket."""
    if not bucket:
        return 0.0
    magnitude = abs(bucket)
    low, high = (_double_of((magnitude + more) << (_MANTISSA_BITS - bits)) for more in (0, 1))
    middle = low + (high - low) / 2 if math.isfinite(high) else low
    return -middle if bucket < 0 else middle


def _double_of(pattern: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<q", pattern))
    return float(value)

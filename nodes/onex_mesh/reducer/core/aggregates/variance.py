"""Variance and standard deviation, exact until they are rounded once.

The usual way (Chan, Golub and LeVeque 1983) merges (count, mean, sum of squares) and rounds at each step, so its last
digits depend on how the records were grouped. Here the sum and the sum of squares are kept exactly, as an integer times
a power of two, which every finite double and its square are. Nothing cancels, and every grouping gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.aggregates.states import fields_of, refused
from onex_mesh.reducer.core.exact import NO_SUM, ExactSum, Number, rounded
from onex_mesh.reducer.core.records import numbers_of

if TYPE_CHECKING:
    from onex_mesh.reducer.core.columns import NumberColumn

_MANTISSA_BITS = 53
_EXPONENT_MAX = 4_400
_DIGITS_MAX = 4_096
_FIELDS = {"count", "sum", "mantissa", "exponent"}


@dataclass(frozen=True, slots=True)
class Squares:
    """An exact sum of squares: mantissa · 2^exponent.

    Attributes:
        mantissa: Odd, or 0.
        exponent: 0 where the mantissa is 0.
    """

    mantissa: int = 0
    exponent: int = 0

    def add(self, values: Sequence[Number]) -> Squares:
        """The sum with the squares of more numbers."""
        by_exponent: dict[int, int] = {self.exponent: self.mantissa}
        for value in values:
            whole, exponent = _parts(value)
            by_exponent[2 * exponent] = by_exponent.get(2 * exponent, 0) + whole * whole
        least = min(by_exponent)
        return _reduced(sum(whole << (exponent - least) for exponent, whole in by_exponent.items()), least)

    def add_doubles(self, squares: Sequence[float]) -> Squares:
        """The sum with more squares, which the sum of these doubles is."""
        total = sum(map(Fraction, squares), self.exact())
        # A sum of doubles has a power of two below the line.
        return _reduced(total.numerator, 1 - total.denominator.bit_length())

    def merge(self, other: Squares) -> Squares:
        """The sum of both."""
        least = min(self.exponent, other.exponent)
        return _reduced(
            (self.mantissa << (self.exponent - least)) + (other.mantissa << (other.exponent - least)), least
        )

    def exact(self) -> Fraction:
        """The sum."""
        if self.exponent < 0:
            return Fraction(self.mantissa, 1 << -self.exponent)
        return Fraction(self.mantissa << self.exponent)


_NO_SQUARES = Squares()


@dataclass(frozen=True, slots=True)
class Variance(Fold):
    """Variance of numbers; decimals count as the closest doubles. Its state is count, sum and squares."""

    field: str = ""
    count: int = 0
    total: ExactSum = NO_SUM
    squares: Squares = _NO_SQUARES

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return numbers_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Variance:
        """See `Fold.take`."""
        if not isinstance(values, list):
            column = cast("NumberColumn", values)
            parts = column.square_parts()
            if parts is not None:
                total = ExactSum().add(column.doubles().tolist()) if column.is_decimal else column.total()
                return self._with(len(column), total, Squares().add_doubles(parts[0]))
            values = column.tolist()
        numbers = [float(value) if isinstance(value, Decimal) else value for value in cast("list[Number]", values)]
        return self._with(len(numbers), ExactSum().add(numbers), Squares().add(numbers))

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Variance]:
        """See `Fold.by_group`."""
        if isinstance(values, list):
            return Fold.by_group(self, values, groups)
        column = cast("NumberColumn", values)
        parts = None if column.is_decimal else column.square_parts(groups)
        if parts is None:
            return Fold.by_group(self, column.tolist(), groups)
        return [
            self._with(count, total, Squares().add_doubles(part))
            for count, total, part in zip(groups.sizes(), column.totals(groups), parts, strict=True)
        ]

    def merge(self, other: Variance) -> Variance:
        """See `Fold.merge`."""
        return self._with(other.count, other.total, other.squares)

    def resume(self, state: object, path: str) -> Variance:
        """See `Fold.resume`."""
        text = "a variance continues from its state {count, sum, mantissa, exponent}"
        fields = fields_of(state, _FIELDS, path, text)
        count, mantissa, exponent = fields["count"], fields["mantissa"], fields["exponent"]
        if type(count) is not int or count < 0:
            raise refused(f"{path}.count", "expected a count, 0 or more")
        is_text = isinstance(mantissa, str) and 0 < len(mantissa) <= _DIGITS_MAX
        if not isinstance(mantissa, str) or not is_text or set(mantissa) - set("0123456789abcdef"):
            raise refused(f"{path}.mantissa", "expected hexadecimal digits")
        if type(exponent) is not int or abs(exponent) > _EXPONENT_MAX:
            raise refused(f"{path}.exponent", f"expected an integer within ±{_EXPONENT_MAX}")
        total = ExactSum.from_json(fields["sum"], f"{path}.sum")
        made = replace(self, count=count, total=total, squares=_reduced(int(mantissa, 16), exponent))
        # By Cauchy and Schwarz no numbers have a smaller sum of squares; without this, a variance could be below 0.
        if made.squares.exact() * count < total.exact() ** 2 or (made.squares.mantissa and not count):
            raise refused(path, "no numbers have this count, sum and sum of squares")
        return made

    def result(self) -> object:
        """Count, mean, variance and standard deviation, of the population and of the sample; null where undefined."""
        if not self.count:
            return _result(0, None, None, None)
        total = self.total.exact()
        deviations = self.squares.exact() - total * total / self.count
        sample = deviations / (self.count - 1) if self.count > 1 else None
        return _result(self.count, total / self.count, deviations / self.count, sample)

    def state(self) -> object:
        """See `Fold.state`."""
        return {
            "count": self.count,
            "sum": self.total.to_json(),
            "mantissa": f"{self.squares.mantissa:x}",
            "exponent": self.squares.exponent,
        }

    def _with(self, count: int, total: ExactSum, squares: Squares) -> Variance:
        return replace(
            self, count=self.count + count, total=self.total.merge(total), squares=self.squares.merge(squares)
        )


def _parts(value: Number) -> tuple[int, int]:
    if isinstance(value, int):
        return value, 0
    fraction, exponent = math.frexp(value)
    return int(math.ldexp(fraction, _MANTISSA_BITS)), exponent - _MANTISSA_BITS


def _reduced(mantissa: int, exponent: int) -> Squares:
    if not mantissa:
        return Squares()
    zeros = (mantissa & -mantissa).bit_length() - 1
    return Squares(mantissa >> zeros, exponent + zeros)


def _result(
    count: int, mean: Fraction | None, population: Fraction | None, sample: Fraction | None
) -> dict[str, object]:
    return {
        "count": count,
        "mean": _double(mean),
        "variance_population": _double(population),
        "variance_sample": _double(sample),
        "stddev_population": _root(population),
        "stddev_sample": _root(sample),
    }


def _double(value: Fraction | None) -> float | None:
    return None if value is None else rounded(value, "the variance")


def _root(value: Fraction | None) -> float | None:
    rounded = _double(value)
    return None if rounded is None else math.sqrt(rounded)

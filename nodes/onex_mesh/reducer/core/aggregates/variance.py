"""Variance and standard deviation, exact until they are rounded once.

The usual way (Chan, Golub and LeVeque 1983) merges (count, mean, sum of squares) and rounds at each step, so its last
digits depend on how the records were grouped. Here the sum and the sum of squares are kept exactly, as an integer times
a power of two, which every finite double and its square are. Nothing cancels, and every grouping gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from onex_mesh.reducer.core.exact import ExactSum, Number
from onex_mesh.reducer.core.records import numbers_of
from onex_mesh.runtime.errors import StateConsistencyError, ValidationError

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

    def exact(self) -> Fraction:
        """The sum."""
        if self.exponent < 0:
            return Fraction(self.mantissa, 1 << -self.exponent)
        return Fraction(self.mantissa << self.exponent)


@dataclass(frozen=True, slots=True)
class Variance:
    """Variance of numbers; see `Fold` in `onex_mesh.reducer.core.aggregation`. Its state is count, sum and squares."""

    count: int
    total: ExactSum
    squares: Squares
    field: str

    def add(self, records: Sequence[object], offset: int) -> Variance:
        """See `Fold`."""
        numbers = numbers_of(records, self.field, offset)
        return Variance(self.count + len(numbers), self.total.add(numbers), self.squares.add(numbers), self.field)

    def result(self) -> object:
        """Count, mean, variance and standard deviation, of the population and of the sample; null where undefined."""
        if not self.count:
            return _result(0, None, None, None)
        total = self.total.exact()
        deviations = self.squares.exact() - total * total / self.count
        sample = deviations / (self.count - 1) if self.count > 1 else None
        return _result(self.count, total / self.count, deviations / self.count, sample)

    def state(self) -> object:
        """See `Fold`."""
        return {
            "count": self.count,
            "sum": self.total.to_json(),
            "mantissa": f"{self.squares.mantissa:x}",
            "exponent": self.squares.exponent,
        }


def variance(state: object, field: str) -> Variance:
    """The fold that continues from a state; None to begin anew.

    Raises:
        StateConsistencyError: The state is not one of a variance.
    """
    if state is None:
        return Variance(0, ExactSum(), Squares(), field)
    if not isinstance(state, dict) or set(state) != _FIELDS:
        raise _refused("current_state", "a variance continues from its state {count, sum, mantissa, exponent}")
    count, mantissa, exponent = state["count"], state["mantissa"], state["exponent"]
    if type(count) is not int or count < 0:
        raise _refused("current_state.count", "expected a count, 0 or more")
    if not isinstance(mantissa, str) or not 0 < len(mantissa) <= _DIGITS_MAX or set(mantissa) - set("0123456789abcdef"):
        raise _refused("current_state.mantissa", "expected hexadecimal digits")
    if type(exponent) is not int or abs(exponent) > _EXPONENT_MAX:
        raise _refused("current_state.exponent", f"expected an integer within ±{_EXPONENT_MAX}")
    total = ExactSum.from_json(state["sum"], "current_state.sum")
    made = Variance(count, total, _reduced(int(mantissa, 16), exponent), field)
    # By Cauchy and Schwarz no numbers have a smaller sum of squares; without this, a variance could be below 0.
    if made.squares.exact() * count < total.exact() ** 2 or (made.squares.mantissa and not count):
        raise _refused("current_state", "no numbers have this count, sum and sum of squares")
    return made


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
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        text = "the variance is beyond what a double can hold"
        raise ValidationError(text, violations=(("input_data", text),)) from None


def _root(value: Fraction | None) -> float | None:
    rounded = _double(value)
    return None if rounded is None else math.sqrt(rounded)


def _refused(path: str, text: str) -> StateConsistencyError:
    return StateConsistencyError(f"{path}: {text}", error_context={"field": path})

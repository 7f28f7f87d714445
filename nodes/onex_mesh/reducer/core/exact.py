"""Sums that do not depend on how their numbers were grouped.

Integers are summed as integers, decimals as decimals with all their digits. Doubles are kept as a short list of doubles
that do not overlap and whose sum is the exact one (Shewchuk 1997, "Adaptive precision floating-point arithmetic",
section 2). So a sum that was continued over any number of chunks is the correctly rounded sum of all its numbers, to
the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TypeAlias

from onex_mesh.runtime.errors import StateConsistencyError, ValidationError

Number: TypeAlias = int | float | Decimal

_JSON_INT_LIMIT = 2**53
_DIGITS_MAX = 400
_SCALE_MAX = 76
_EXACT = Context(prec=_DIGITS_MAX + _SCALE_MAX)


@dataclass(frozen=True, slots=True)
class ExactSum:
    """An exact sum.

    Attributes:
        whole: Sum of the integers.
        parts: Doubles whose sum is the exact sum of the doubles, largest first.
        decimal: Sum of the decimals, with the digits after the point that they had; None if there was none.
    """

    whole: int = 0
    parts: tuple[float, ...] = ()
    decimal: Decimal | None = None

    def add(self, values: Sequence[Number]) -> ExactSum:
        """The sum with more numbers, each an int, a finite float or a finite decimal.

        Raises:
            ValidationError: It is beyond what a double can hold.
        """
        whole = self.whole + sum(value for value in values if isinstance(value, int))
        doubles = [value for value in values if isinstance(value, float)]
        parts = _parts([*self.parts, *doubles]) if doubles else self.parts
        decimal = self.decimal
        for value in values:
            if isinstance(value, Decimal):
                decimal = value if decimal is None else _EXACT.add(decimal, value)
        return ExactSum(whole, parts, decimal)

    def merge(self, other: ExactSum) -> ExactSum:
        """The sum of both.

        Raises:
            ValidationError: It is beyond what a double can hold.
        """
        if other is NO_SUM or self is NO_SUM:
            return self if other is NO_SUM else other
        more: list[Number] = [other.whole, *other.parts]
        if other.decimal is not None:
            more.append(other.decimal)
        return self.add(more)

    def value(self) -> Number:
        """The sum: an int or a decimal if all numbers were, else the double closest to it.

        Raises:
            ValidationError: It is beyond what a double can hold.
        """
        if not self.parts:
            return self.whole if self.decimal is None else _EXACT.add(self.decimal, self.whole)
        try:
            return float(self.exact())
        except OverflowError:
            raise _too_large() from None

    def exact(self) -> Fraction:
        """The sum without any rounding."""
        return sum(map(Fraction, self.parts), Fraction(self.whole) + Fraction(self.decimal or 0))

    def to_json(self) -> object:
        """What it takes to continue: a plain number where that says it all."""
        if not self.parts and self.decimal is None and abs(self.whole) <= _JSON_INT_LIMIT:
            return self.whole
        plain: dict[str, object] = {"whole": str(self.whole), "parts": list(self.parts)}
        if self.decimal is not None:
            plain["decimal"] = f"{self.decimal:f}"
        return plain

    @classmethod
    def from_json(cls, state: object, path: str) -> ExactSum:
        """The sum that a state holds: a number, or what `to_json` gave.

        Raises:
            StateConsistencyError: It is neither.
        """
        if isinstance(state, dict):
            whole, parts, decimal = state.get("whole"), state.get("parts", []), read_decimal(state.get("decimal", "0"))
            is_list = isinstance(parts, list) and all(is_number(part) for part in parts)
            if _is_whole(whole) and is_list and decimal is not None:
                made = cls(int(str(whole))).add([float(part) for part in parts])
                return ExactSum(made.whole, made.parts, decimal if "decimal" in state else None)
        elif is_number(state):
            assert isinstance(state, int | float)
            return cls().add([state])
        raise StateConsistencyError(
            f"{path}: expected a number, or a sum to continue from",
            error_context={"field": path, "expected": "number", "found": type(state).__name__},
        )


NO_SUM = ExactSum()
"""The sum of nothing."""


def _parts(values: list[float]) -> tuple[float, ...]:
    """Doubles that do not overlap, with the same exact sum: what is left after each rounded sum is summed again."""
    parts: list[float] = []
    try:
        while part := math.fsum(values):
            parts.append(part)
            values.append(-part)
    except OverflowError:
        raise _too_large() from None
    return tuple(parts)


def _too_large() -> ValidationError:
    return ValidationError(
        "the sum is beyond what a double can hold", violations=(("input_data", "too large to be summed"),)
    )


def is_number(value: object) -> bool:
    """Whether a plain value is a finite number."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def read_decimal(text: object) -> Decimal | None:
    """The decimal of a text such as "-12.50"; None if it is none, or longer than decimals of tables can be."""
    if not isinstance(text, str) or len(text) > _DIGITS_MAX or not text.isascii():
        return None
    digits, _, places = text.removeprefix("-").partition(".")
    if not digits.isdecimal() or len(places) > _SCALE_MAX or not (places.isdecimal() or "." not in text):
        return None
    return Decimal(text)


def rounded(value: Fraction, what: str) -> float:
    """The closest double.

    Raises:
        ValidationError: It is beyond what a double can hold; `what` says what it is.
    """
    try:
        return float(value)
    except OverflowError:
        text = f"{what} is beyond what a double can hold"
        raise ValidationError(text, violations=(("input_data", text),)) from None


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= _DIGITS_MAX
    return isinstance(value, int) and not isinstance(value, bool)

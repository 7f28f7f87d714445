"""Sums that do not depend on how their numbers were grouped.

Integers are summed as integers. Doubles are kept as a short list of doubles that do not overlap and whose sum is the
exact one (Shewchuk 1997, "Adaptive precision floating-point arithmetic", section 2). So a sum that was continued over
any number of chunks is the correctly rounded sum of all its numbers, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from onex_mesh.runtime.errors import StateConsistencyError, ValidationError

Number: TypeAlias = int | float

_JSON_INT_LIMIT = 2**53


@dataclass(frozen=True, slots=True)
class ExactSum:
    """An exact sum.

    Attributes:
        whole: Sum of the integers.
        parts: Doubles whose sum is the exact sum of the doubles, largest first.
    """

    whole: int = 0
    parts: tuple[float, ...] = ()

    def add(self, values: Sequence[Number]) -> ExactSum:
        """The sum with more numbers, each an int or a finite float.

        Raises:
            ValidationError: It is beyond what a double can hold.
        """
        whole = self.whole + sum(value for value in values if isinstance(value, int))
        doubles = [value for value in values if isinstance(value, float)]
        return ExactSum(whole, _parts([*self.parts, *doubles]) if doubles else self.parts)

    def value(self) -> Number:
        """The sum: an int if all numbers were, else the double closest to it.

        Raises:
            ValidationError: It is beyond what a double can hold.
        """
        if not self.parts:
            return self.whole
        try:
            return float(self.exact())
        except OverflowError:
            raise _too_large() from None

    def exact(self) -> Fraction:
        """The sum without any rounding."""
        return sum(map(Fraction, self.parts), Fraction(self.whole))

    def to_json(self) -> object:
        """What it takes to continue: a plain number where that says it all."""
        if not self.parts and abs(self.whole) <= _JSON_INT_LIMIT:
            return self.whole
        return {"whole": str(self.whole), "parts": list(self.parts)}

    @classmethod
    def from_json(cls, state: object, path: str) -> ExactSum:
        """The sum that a state holds: a number, or what `to_json` gave.

        Raises:
            StateConsistencyError: It is neither.
        """
        if isinstance(state, dict):
            whole, parts = state.get("whole"), state.get("parts", [])
            if _is_whole(whole) and isinstance(parts, list) and all(is_number(part) for part in parts):
                return cls(int(str(whole))).add([float(part) for part in parts])
        elif is_number(state):
            assert isinstance(state, int | float)
            return cls().add([state])
        raise StateConsistencyError(
            f"{path}: expected a number, or a sum to continue from",
            error_context={"field": path, "expected": "number", "found": type(state).__name__},
        )


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


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal() and value.isascii() and len(value) <= 400
    return isinstance(value, int) and not isinstance(value, bool)

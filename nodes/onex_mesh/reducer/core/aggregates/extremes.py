"""The smallest and the largest of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onex_mesh.reducer.core.exact import Number, is_number
from onex_mesh.reducer.core.records import numbers_of
from onex_mesh.runtime.errors import StateConsistencyError


@dataclass(frozen=True, slots=True)
class Extreme:
    """The smallest or the largest number; see `Fold` in `onex_mesh.reducer.core.aggregation`.

    Integers and doubles are compared by value, without rounding either. A whole double within ±2^53 is an integer, as
    it is in JSON, and zero has no sign, so that the result does not depend on their order.

    Attributes:
        best: The one so far; None of nothing.
        largest: Whether the largest is asked for.
        field: Field of the records; empty if they are numbers.
    """

    best: Number | None
    largest: bool
    field: str

    def add(self, records: Sequence[object], offset: int) -> Extreme:
        """See `Fold`."""
        numbers: list[Number] = numbers_of(records, self.field, offset)
        if self.best is not None:
            numbers.append(self.best)
        if not numbers:
            return self
        best = max(numbers) if self.largest else min(numbers)
        return Extreme(_plain(best), self.largest, self.field)

    def result(self) -> object:
        """The number; null of nothing."""
        return self.best

    def state(self) -> object:
        """See `Fold`: the number itself."""
        return self.best


def extreme(state: object, *, largest: bool, field: str) -> Extreme:
    """The fold that continues from a state; None to begin anew.

    Raises:
        StateConsistencyError: The state is no number.
    """
    if state is None:
        return Extreme(None, largest, field)
    if not is_number(state):
        raise StateConsistencyError(
            "current_state: expected a number",
            error_context={"field": "current_state", "expected": "number", "found": type(state).__name__},
        )
    assert isinstance(state, int | float)
    return Extreme(_plain(state), largest, field)


def _plain(value: Number) -> Number:
    """One form for equal numbers: JSON makes an integer of a whole double too."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value

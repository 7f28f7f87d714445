"""The smallest and the largest of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.exact import Number, is_number, read_decimal
from onex_mesh.reducer.core.records import numbers_of
from onex_mesh.runtime.errors import StateConsistencyError

if TYPE_CHECKING:
    from onex_mesh.reducer.core.columns import NumberColumn

_JSON_INT_LIMIT = 2**53


@dataclass(frozen=True, slots=True)
class Extreme(Fold):
    """The smallest or the largest number.

    Integers, doubles and decimals are compared by value, without rounding any. A whole double within ±2^53 is an
    integer, as it is in JSON, and zero has no sign, so that the result does not depend on their order.

    Attributes:
        largest: Whether the largest is asked for.
        field: Field of the records; empty if they are numbers.
        best: The one so far; None of nothing.
    """

    largest: bool
    field: str = ""
    best: Number | None = None

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return numbers_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Extreme:
        """See `Fold.take`."""
        if not values:
            return self
        if isinstance(values, list):
            return self._with(max(values) if self.largest else min(values))
        return self._with(cast("NumberColumn", values).ends()[self.largest])

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Extreme]:
        """See `Fold.by_group`."""
        if isinstance(values, list):
            return Fold.by_group(self, values, groups)
        ends = cast("NumberColumn", values).ends_by_group(groups, largest=self.largest)
        return [self._with(end) for end in ends]

    def merge(self, other: Extreme) -> Extreme:
        """See `Fold.merge`."""
        return self if other.best is None else self._with(other.best)

    def resume(self, state: object, path: str) -> Extreme:
        """See `Fold.resume`."""
        if state is None:
            return self
        if isinstance(state, dict) and set(state) in ({"decimal"}, {"int"}):
            found = read_decimal(next(iter(state.values())))
            if found is not None and ("decimal" in state or found == found.to_integral_value()):
                return Extreme(self.largest, self.field, int(found) if "int" in state else found)
        elif is_number(state):
            assert isinstance(state, int | float)
            return Extreme(self.largest, self.field, _plain(state))
        raise StateConsistencyError(
            f"{path}: expected a number",
            error_context={"field": path, "expected": "number", "found": type(state).__name__},
        )

    def result(self) -> object:
        """The number; null of nothing."""
        return self.best

    def state(self) -> object:
        """The number itself; a decimal, or an integer that JSON would round, as a text in an object."""
        if isinstance(self.best, Decimal):
            return {"decimal": f"{self.best:f}"}
        if isinstance(self.best, int) and abs(self.best) > _JSON_INT_LIMIT:
            return {"int": str(self.best)}
        return self.best

    def _with(self, number: Number) -> Extreme:
        if self.best is not None:
            number = max(self.best, number) if self.largest else min(self.best, number)
        return Extreme(self.largest, self.field, _plain(number))


def _plain(value: Number) -> Number:
    """One form for equal numbers: JSON makes an integer of a whole double too."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= _JSON_INT_LIMIT
    return int(value) if is_whole else value

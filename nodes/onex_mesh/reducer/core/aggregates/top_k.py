"""The most frequent values, or the largest or smallest ones, in bounded memory.

Frequent values are counted as Misra and Gries (1982) do, in the form that merges (Agarwal et al. 2012, "Mergeable
summaries"): where there are more different values than the capacity, the count of the first one too many is taken off
all counts, and what is left of them stays. So each count is too low by `error` at most, which the result tells, and as
long as the values fit the counts are exact.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.aggregates.states import count_of, fields_of, refused
from onex_mesh.reducer.core.records import scalars_of
from onex_mesh.reducer.core.scalars import Ranked, Scalar, from_json, ranked, to_json, value_of

if TYPE_CHECKING:
    from onex_mesh.reducer.core.value_columns import ValueColumn

K_MAX = 10_000
CAPACITY_MAX = 100_000
_FIELDS = {"values", "error"}

Order = Literal["frequency", "largest", "smallest"]


@dataclass(frozen=True, slots=True)
class TopK(Fold):
    """Values and how often each occurs; null and what is missing do not count.

    Attributes:
        k: How many values the result has at most.
        order: Which ones: the most frequent, the largest, or the smallest. Numbers stand before texts.
        capacity: How many values are counted at most, for frequency; for the others it is k.
        field: Field of the records; empty if they are values.
        counts: How often each value occurs, by its key.
        error: By how much a count may be too low at most.
    """

    k: int
    order: Order
    capacity: int
    field: str = ""
    counts: Mapping[Ranked, int] = dataclasses.field(default_factory=dict)
    error: int = 0

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return scalars_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> TopK:
        """See `Fold.take`."""
        if isinstance(values, list):
            keys = Counter(ranked(value) for value in cast("list[Scalar]", values) if value is not None)
            return self._with(keys.items(), 0)
        return self._with(_keyed(cast("ValueColumn", values).counts()), 0)

    def by_group(self, values: Sequence[object], groups: Groups) -> list[TopK]:
        """See `Fold.by_group`."""
        if isinstance(values, list):
            return Fold.by_group(self, values, groups)
        return [self._with(_keyed(part), 0) for part in cast("ValueColumn", values).counts_by_group(groups)]

    def merge(self, other: TopK) -> TopK:
        """See `Fold.merge`."""
        return self._with(other.counts.items(), other.error)

    def resume(self, state: object, path: str) -> TopK:
        """See `Fold.resume`."""
        fields = fields_of(state, _FIELDS, path, "a top-k continues from its state {values, error}")
        rows = fields["values"]
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            raise refused(f"{path}.values", "expected pairs of value and count")
        counts: dict[Ranked, int] = {}
        for at, (value, count) in enumerate(rows):
            try:
                key = ranked(from_json(value))
            except ValueError as error:
                raise refused(f"{path}.values[{at}][0]", str(error)) from None
            if key in counts:
                raise refused(f"{path}.values[{at}][0]", "is there twice")
            counts[key] = count_of(count, f"{path}.values[{at}][1]")
        return replace(self, error=count_of(fields["error"], f"{path}.error"))._with(counts.items(), 0)

    def result(self) -> object:
        """Rows of value and count, the first ones first; for frequency with the bound of the counts' error."""
        rows = [{"value": value_of(key), "count": count} for key, count in self._ordered(self.counts)[: self.k]]
        return {"values": rows, "error": self.error} if self.order == "frequency" else {"values": rows}

    def state(self) -> object:
        """See `Fold.state`."""
        rows = [[to_json(value_of(key)), count] for key, count in sorted(self.counts.items())]
        return {"values": rows, "error": self.error}

    def _with(self, more: Iterable[tuple[Ranked, int]], error: int) -> TopK:
        counts = dict(self.counts)
        for key, count in more:
            counts[key] = counts.get(key, 0) + count
        error += self.error
        if len(counts) > self.capacity:
            ordered = self._ordered(counts)
            taken_off = ordered[self.capacity][1] if self.order == "frequency" else 0
            counts = {key: count - taken_off for key, count in ordered[: self.capacity] if count > taken_off}
            error += taken_off
        return replace(self, counts=counts, error=error)

    def _ordered(self, counts: Mapping[Ranked, int]) -> list[tuple[Ranked, int]]:
        if self.order == "frequency":
            return sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        return sorted(counts.items(), reverse=self.order == "largest")


def _keyed(counts: Iterable[tuple[Scalar, int]]) -> Iterable[tuple[Ranked, int]]:
    return ((ranked(value), count) for value, count in counts)

"""Sum, average and count: exact, however the records are grouped (R54, F24)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.aggregates.states import count_of
from onex_mesh.reducer.core.exact import NO_SUM, ExactSum, Number, rounded
from onex_mesh.reducer.core.records import numbers_of
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.runtime.errors import StateConsistencyError

if TYPE_CHECKING:
    from onex_mesh.reducer.core.columns import NumberColumn


@dataclass(frozen=True, slots=True)
class Sum(Fold):
    """The sum of numbers: of integers and decimals as such, of others the exact sum, rounded once."""

    field: str = ""
    total: ExactSum = NO_SUM

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return numbers_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Sum:
        """See `Fold.take`."""
        return Sum(self.field, _added(self.total, values))

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Sum]:
        """See `Fold.by_group`."""
        return [Sum(self.field, self.total.merge(total)) for total in _totals(values, groups)]

    def merge(self, other: Sum) -> Sum:
        """See `Fold.merge`."""
        return Sum(self.field, self.total.merge(other.total))

    def resume(self, state: object, path: str) -> Sum:
        """See `Fold.resume`."""
        return Sum(self.field, ExactSum.from_json(state, path))

    def result(self) -> object:
        """The sum; 0 of nothing."""
        return self.total.value()

    def state(self) -> object:
        """See `Fold.state`."""
        return self.total.to_json()


@dataclass(frozen=True, slots=True)
class Average(Fold):
    """The mean of numbers; its state is (sum, count)."""

    field: str = ""
    total: ExactSum = NO_SUM
    count: int = 0

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """See `Fold.read`."""
        return numbers_of(records, self.field, offset)

    def take(self, values: Sequence[object]) -> Average:
        """See `Fold.take`."""
        return Average(self.field, _added(self.total, values), self.count + len(values))

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Average]:
        """See `Fold.by_group`."""
        return [
            Average(self.field, self.total.merge(total), self.count + count)
            for count, total in zip(groups.sizes(), _totals(values, groups), strict=True)
        ]

    def merge(self, other: Average) -> Average:
        """See `Fold.merge`."""
        return Average(self.field, self.total.merge(other.total), self.count + other.count)

    def resume(self, state: object, path: str) -> Average:
        """See `Fold.resume`."""
        if not isinstance(state, dict) or set(state) != {"sum", "count"}:
            raise StateConsistencyError(
                f"{path}: an average continues from its sum and count, not from the mean alone",
                error_context={"field": path, "expected": "{sum, count}"},
            )
        total = ExactSum.from_json(state["sum"], f"{path}.sum")
        return Average(self.field, total, count_of(state["count"], f"{path}.count"))

    def result(self) -> object:
        """The mean, correctly rounded; null of nothing."""
        return rounded(self.total.exact() / self.count, "the average") if self.count else None

    def state(self) -> object:
        """See `Fold.state`."""
        return {"sum": self.total.to_json(), "count": self.count}


@dataclass(frozen=True, slots=True)
class Count(Fold):
    """The number of records; with a field, of those in which it is there and not null."""

    field: str = ""
    count: int = 0

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """Whether each record counts."""
        if not self.field:
            return range(len(records))
        if isinstance(records, TableRows):
            column = records.column(self.field)
            if column is None or column.null_count == len(records):
                return [False] * len(records)
            return range(len(records)) if not column.null_count else list(column.is_valid().to_pylist())
        return [isinstance(record, dict) and record.get(self.field) is not None for record in records]

    def take(self, values: Sequence[object]) -> Count:
        """See `Fold.take`."""
        return Count(self.field, self.count + (len(values) if isinstance(values, range) else sum(map(bool, values))))

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Count]:
        """See `Fold.by_group`."""
        if isinstance(values, range):
            return [Count(self.field, self.count + count) for count in groups.sizes()]
        return Fold.by_group(self, values, groups)

    def merge(self, other: Count) -> Count:
        """See `Fold.merge`."""
        return Count(self.field, self.count + other.count)

    def resume(self, state: object, path: str) -> Count:
        """See `Fold.resume`."""
        return Count(self.field, count_of(state, path))

    def result(self) -> object:
        """The count."""
        return self.count

    def state(self) -> object:
        """See `Fold.state`."""
        return self.count


def _added(total: ExactSum, values: Sequence[object]) -> ExactSum:
    if isinstance(values, list):
        return total.add(cast("list[Number]", values))
    return total.merge(cast("NumberColumn", values).total())


def _totals(values: Sequence[object], groups: Groups) -> list[ExactSum]:
    if isinstance(values, list):
        return [ExactSum().add(part) for part in groups.split(cast("list[Number]", values))]
    return cast("NumberColumn", values).totals(groups)

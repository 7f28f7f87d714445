"""Several aggregates at once, one of each for every combination of keys and for every window of event time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.grouped_state import Kept, read_groups, write_groups
from onex_mesh.reducer.core.keys import keys_of
from onex_mesh.reducer.core.records import picked
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.core.scalars import value_of
from onex_mesh.reducer.core.slots import Slot, joined_sessions, slots_of
from onex_mesh.reducer.core.times import clamped, text_of, times_of
from onex_mesh.reducer.core.windows import LateData, Placed, Window, later, place
from onex_mesh.runtime.errors import ValidationError

WINDOW_FIELDS = ("window_start", "window_end", "final")
BATCH_ROWS_MAX = 2**21
"""Rows that are taken at a time, each as often as it is in windows."""

Folds: TypeAlias = tuple[Fold, ...]
_WHOLE = Slot.of(())
"""Where everything is that has neither keys nor windows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a grouped aggregation makes of its records.

    Attributes:
        names: Names of the aggregates in the result.
        empty: The aggregates of nothing, in the same order.
        described: What each aggregate is, for comparing with stored states.
        group_by: Fields that make the key.
        window: How event time is cut; None for no windows.
    """

    names: tuple[str, ...]
    empty: Folds
    described: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    window: Window | None = None

    @property
    def has_rows(self) -> bool:
        """Whether the result is rows, and not one object."""
        return bool(self.group_by) or self.window is not None


@dataclass(frozen=True, slots=True)
class Grouped:
    """A grouped aggregation under way. Immutable.

    Attributes:
        shape: What it makes of its records.
        slots: The aggregates by key and window; windows that were closed are no longer among them.
        watermark: See `onex_mesh.reducer.core.windows`; None before the first record.
        closed: Rows of windows that were closed and not yet given away.
        late: Late records that were not yet given away.
        late_count: How many records were late.
    """

    shape: Shape
    slots: Mapping[Slot, Folds] = field(default_factory=dict)
    watermark: int | None = None
    closed: tuple[Mapping[str, object], ...] = ()
    late: tuple[object, ...] = ()
    late_count: int = 0

    def add(self, records: Sequence[object], offset: int) -> Grouped:
        """The aggregation with more records.

        Args:
            records: Plain JSON, or the rows of a table.
            offset: How many records came before, for paths.

        Raises:
            ValidationError: Some do not fit, or are late where that is refused; with their paths.
        """
        most = BATCH_ROWS_MAX // (1 if self.shape.window is None else self.shape.window.most_of_a_record)
        if len(records) <= most:
            return self._with(records, offset)
        # Cutting a batch changes nothing, and bounds what is in memory beside it.
        grouped = self
        for begin in range(0, len(records), most):
            grouped = grouped._with(records[begin : begin + most], offset + begin)
        return grouped

    def _with(self, records: Sequence[object], offset: int) -> Grouped:
        if not len(records):
            return self
        shape, window = self.shape, self.shape.window
        if not shape.has_rows:
            whole = self.slots.get(_WHOLE, shape.empty)
            return replace(self, slots={_WHOLE: tuple(fold.add(records, offset) for fold in whole)})
        codes, keys = keys_of(records, shape.group_by, offset)
        placed = None if window is None else place(window, times_of(records, window.time_field, offset), self.watermark)
        columns = [empty.read(records, offset) for empty in shape.empty]
        if window is None or placed is None:
            slots: Sequence[Slot] = [Slot.of(key) for key in keys]
            return replace(self, slots=self._taken(columns, Groups(codes, len(keys)), slots))
        made = self._with_late(records, placed, offset)
        if len(placed.rows):
            own = picked_codes(codes, placed.rows, is_table=isinstance(records, TableRows))
            groups, slots = slots_of(window, own, placed.starts, keys)
            columns = [picked(column, placed.rows) for column in columns]
            made = replace(made, slots=made._taken(columns, groups, slots))
        assert placed.newest is not None
        return made.advanced(placed.newest - window.lateness)

    def advanced(self, watermark: int) -> Grouped:
        """The aggregation once all records before that time have come: windows that end by then are closed."""
        if self.shape.window is None:
            return self
        reached = later(self.watermark, watermark)
        assert reached is not None
        ended = sorted(slot for slot in self.slots if slot.end <= reached)
        gone = set(ended)
        slots = {slot: folds for slot, folds in self.slots.items() if slot not in gone} if ended else self.slots
        rows = tuple(self._row(slot, is_final=True) for slot in ended)
        return replace(self, slots=slots, watermark=reached, closed=self.closed + rows)

    def released(self) -> Grouped:
        """The aggregation once its closed windows and late records were given away."""
        return replace(self, closed=(), late=()) if self.closed or self.late else self

    def result(self) -> object:
        """An object with the aggregates, or rows: closed windows first, then those that may still change."""
        if not self.shape.has_rows:
            folds = self.slots.get(_WHOLE, self.shape.empty)
            return {name: fold.result() for name, fold in zip(self.shape.names, folds, strict=True)}
        return [*self.closed, *(self._row(slot, is_final=False) for slot in sorted(self.slots))]

    def state(self) -> object:
        """What it takes to continue, as plain JSON: the groups in the order of their keys."""
        return write_groups(self._described(), self.watermark, sorted(self.slots.items(), key=lambda row: row[0]))

    def resume(self, state: object, path: str) -> Grouped:
        """The aggregation that continues from a state, of the shape of this one.

        Raises:
            StateConsistencyError: It is no such state, or one of other aggregates, keys or windows.
        """
        kept: Kept = read_groups(state, self._described(), self.shape.empty, len(self.shape.group_by), path)
        return replace(self, slots=dict(kept.slots), watermark=kept.watermark)

    def _described(self) -> dict[str, object]:
        shape = self.shape
        window = None if shape.window is None else shape.window.describe()
        aggregates = dict(zip(shape.names, shape.described, strict=True))
        return {"aggregates": aggregates, "group_by": list(shape.group_by), "window": window}

    def _taken(
        self, columns: Sequence[Sequence[object]], groups: Groups, slots: Sequence[Slot]
    ) -> Mapping[Slot, Folds]:
        """The aggregates with the values of each group, which belongs to one slot."""
        if self.shape.window is not None and self.shape.window.is_session:
            fresh = self._fresh(columns, groups)
            return joined_sessions(self.slots, dict(zip(slots, fresh, strict=True)))
        known = [self.slots.get(slot) for slot in slots]
        parts = [
            _continued(empty, [None if folds is None else folds[at] for folds in known], column, groups)
            for at, (empty, column) in enumerate(zip(self.shape.empty, columns, strict=True))
        ]
        made = dict(self.slots)
        made.update(zip(slots, zip(*parts, strict=True), strict=True))
        return made

    def _fresh(self, columns: Sequence[Sequence[object]], groups: Groups) -> Iterator[Folds]:
        """The aggregates of each group by itself."""
        parts = [empty.by_group(column, groups) for empty, column in zip(self.shape.empty, columns, strict=True)]
        return zip(*parts, strict=True)

    def _with_late(self, records: Sequence[object], placed: Placed, offset: int) -> Grouped:
        window, late = self.shape.window, placed.late
        assert window is not None
        if not late:
            return self
        if window.late is LateData.REFUSE:
            text = f"is late: its windows were closed; allowed_lateness is {window.lateness} us"
            violations = tuple((f"input_data[{offset + index}].{window.time_field}", text) for index in late[:100])
            raise ValidationError(f"{violations[0][0]}: {text}; {len(late)} records are", violations=violations)
        kept = tuple(picked(records, late)) if window.late is LateData.RETURN else ()
        return replace(self, late=self.late + kept, late_count=self.late_count + len(late))

    def _row(self, slot: Slot, *, is_final: bool) -> Mapping[str, object]:
        row: dict[str, object] = {}
        if self.shape.window is not None:
            row["window_start"], row["window_end"] = (text_of(clamped(time)) for time in (slot.start, slot.end))
        row.update(zip(self.shape.group_by, map(value_of, slot.key), strict=True))
        folds = self.slots[slot]
        row.update((name, fold.result()) for name, fold in zip(self.shape.names, folds, strict=True))
        if self.shape.window is not None:
            row["final"] = is_final
        return row


def picked_codes(codes: Sequence[int], rows: Sequence[int], *, is_table: bool) -> Sequence[int]:
    """The keys of the records at these places; a range is all of them."""
    if isinstance(rows, range):
        return codes
    if is_table:
        import numpy as np

        chosen: Sequence[int] = np.asarray(codes)[rows]  # type: ignore[assignment]  # an array reads as a sequence
        return chosen
    return [codes[row] for row in rows]


def _continued(empty: Fold, known: Sequence[Fold | None], values: Sequence[object], groups: Groups) -> Sequence[Fold]:
    """One aggregate of each group, continued from what is known of it."""
    if empty.is_mergeable:
        fresh = empty.by_group(values, groups)
        return [part if fold is None else fold.merge(part) for fold, part in zip(known, fresh, strict=True)]
    # Its own fold only: records go on from the state, one by one.
    parts = groups.split(values)
    return [(fold or empty).take(part) for fold, part in zip(known, parts, strict=True)]

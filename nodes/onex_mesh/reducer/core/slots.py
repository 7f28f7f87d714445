"""Where a grouped aggregation keeps the aggregates of a key and a window, and how sessions grow together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from onex_mesh.reducer.core.aggregates.fold import Fold, Groups
from onex_mesh.reducer.core.keys import Key
from onex_mesh.reducer.core.windows import Window, sessions


class Slot(NamedTuple):
    """A window and a key; they are in order of the window, then of the key.

    Attributes:
        start: Where the window begins, in microseconds since 1970; 0 without windows.
        end: Where it ends.
        key: Values of the fields that records are grouped by.
    """

    start: int
    end: int
    key: Key

    @classmethod
    def of(cls, key: Key) -> Slot:
        """The slot of a key without windows."""
        return cls(0, 0, key)


def slots_of(
    window: Window, codes: Sequence[int], starts: Sequence[int], keys: Sequence[Key]
) -> tuple[Groups, list[Slot]]:
    """The slots that records belong to.

    Args:
        window: How time is cut.
        codes: Number of the key of each record.
        starts: Where its window begins; for sessions its time.
        keys: The keys.

    Returns:
        The number of the slot of each record, and the slots.
    """
    if not isinstance(starts, list):
        from onex_mesh.reducer.core.slot_columns import slots_of_columns

        return slots_of_columns(window, codes, starts, keys)
    if window.is_session:
        numbers, found = sessions(codes, starts, window.size)
        return Groups(numbers, len(found)), [Slot(start, end, keys[code]) for code, start, end in found]
    known: dict[tuple[int, int], int] = {}
    numbers = [known.setdefault(pair, len(known)) for pair in zip(codes, starts, strict=True)]
    return Groups(numbers, len(known)), [Slot(start, start + window.size, keys[code]) for code, start in known]


def joined_sessions(
    known: Mapping[Slot, tuple[Fold, ...]], fresh: Mapping[Slot, tuple[Fold, ...]]
) -> Mapping[Slot, tuple[Fold, ...]]:
    """Sessions with those of more records: of one key, those that overlap become one."""
    touched = {slot.key for slot in fresh}
    made = {slot: folds for slot, folds in known.items() if slot.key not in touched}
    by_key: dict[Key, list[tuple[Slot, tuple[Fold, ...]]]] = {key: [] for key in touched}
    for slot, folds in (*known.items(), *fresh.items()):
        if slot.key in touched:
            by_key[slot.key].append((slot, folds))
    for entries in by_key.values():
        # Stable, so that of two with one beginning the known one comes first.
        entries.sort(key=lambda entry: entry[0].start)
        slot, folds = entries[0]
        for other, more in entries[1:]:
            if other.start < slot.end:
                slot = slot._replace(end=max(slot.end, other.end))
                folds = tuple(fold.merge(part) for fold, part in zip(folds, more, strict=True))
            else:
                made[slot] = folds
                slot, folds = other, more
        made[slot] = folds
    return made

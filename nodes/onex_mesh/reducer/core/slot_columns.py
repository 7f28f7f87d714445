"""Slots of many records at once; does what `onex_mesh.reducer.core.slots.slots_of` does one by one.

Imported only where a table came: it needs the extra `arrow`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from onex_mesh.reducer.core.aggregates.fold import Groups
from onex_mesh.reducer.core.key_columns import numbers_of
from onex_mesh.reducer.core.keys import Key
from onex_mesh.reducer.core.slots import Slot
from onex_mesh.reducer.core.window_columns import sessions_of_columns
from onex_mesh.reducer.core.windows import Window


def slots_of_columns(
    window: Window, codes: Sequence[int], starts: Sequence[int], keys: Sequence[Key]
) -> tuple[Groups, list[Slot]]:
    """See the module."""
    own, begins = np.asarray(codes), np.asarray(starts)
    if window.is_session:
        sessions, found = sessions_of_columns(own, begins, window.size)
        slots = [Slot(start, end, keys[code]) for code, start, end in found]
        return Groups(cast("Sequence[int]", sessions), len(slots)), slots
    windows, known = numbers_of(begins)
    numbers, pairs = numbers_of(windows * len(keys) + own, len(known) * len(keys))
    slots = [
        Slot(known[pair // len(keys)], known[pair // len(keys)] + window.size, keys[pair % len(keys)]) for pair in pairs
    ]
    return Groups(cast("Sequence[int]", numbers), len(slots)), slots

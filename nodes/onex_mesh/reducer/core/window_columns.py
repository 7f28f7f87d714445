"""Windows and sessions of many records at once; does what `onex_mesh.reducer.core.windows` does one by one.

Imported only where a table came: it needs NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from onex_mesh.reducer.core.windows import Placed, Window

Array = npt.NDArray[Any]

_NEVER = np.iinfo(np.int64).min


def place_column(window: Window, times: Sequence[int], watermark: int | None) -> Placed:
    """See `onex_mesh.reducer.core.windows.place`."""
    whole = np.asarray(times)
    if not len(whole):
        return Placed([], [], [], None)
    before = _watermarks(whole, window.lateness, _NEVER if watermark is None else watermark)
    numbers = np.arange(len(whole))
    if window.is_session:
        is_open = whole >= before
        if is_open.all():
            return _all_placed(whole, whole)
        rows, starts = numbers[is_open], whole[is_open]
    else:
        last = (whole - window.offset) // window.slide * window.slide + window.offset
        all_rows, all_starts = [], []
        for step in range(window.most_of_a_record):
            start = last - step * window.slide
            is_open = (start + window.size > whole) & (start + window.size > before)
            if window.most_of_a_record == 1 and is_open.all():
                return _all_placed(start, whole)
            all_rows.append(numbers[is_open])
            all_starts.append(start[is_open])
        rows, starts = np.concatenate(all_rows), np.concatenate(all_starts)
    reached = np.zeros(len(whole), dtype=bool)
    reached[rows] = True
    late = np.flatnonzero(~reached).tolist()
    return Placed(cast("Sequence[int]", rows), cast("Sequence[int]", starts), late, int(whole.max()))


def _all_placed(starts: Array, times: Array) -> Placed:
    return Placed(range(len(times)), cast("Sequence[int]", starts), [], int(times.max()))


def sessions_of_columns(codes: Array, times: Array, gap: int) -> tuple[Array, list[tuple[int, int, int]]]:
    """See `onex_mesh.reducer.core.windows.sessions`."""
    if not len(codes):
        return codes, []
    order = np.lexsort((times, codes))
    by_code, by_time = codes[order], times[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (by_code[1:] != by_code[:-1]) | (by_time[1:] - by_time[:-1] >= gap)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(order)) - 1
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(begins) - 1
    found = zip(by_code[first].tolist(), by_time[first].tolist(), (by_time[last] + gap).tolist(), strict=True)
    return numbers, list(found)


def _watermarks(times: Array, lateness: int, watermark: int) -> Array:
    """The watermark that each record met."""
    made = np.maximum.accumulate(times) - lateness
    return np.maximum(np.concatenate(([watermark], made[:-1])), watermark)

"""Windows of event time, and which of them a record still reaches.

The watermark is the time of the newest record less the allowed lateness, or later where the caller says so. Whether a
record is late is decided by the records before it, one by one, so cutting a stream into other chunks changes nothing:
a window is closed for a record if its end is not after the watermark that the records before it made. A session has no
end of its own before it is over; there a record is late if it is itself before that watermark, which sees to it that no
record reaches a session that was closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class WindowKind(Enum):
    """How event time is cut; see `onex.v1.WindowKind`."""

    TUMBLING = "tumbling"
    SLIDING = "sliding"
    SESSION = "session"


class LateData(Enum):
    """What becomes of late records; see `onex.v1.LateData`."""

    DROP = "drop"
    REFUSE = "refuse"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Window:
    """How event time is cut. All times are in microseconds.

    Attributes:
        kind: How.
        time_field: Field with the time of a record.
        size: Length of a window, or how long a session may be without a record.
        slide: How far the next one begins after the one before; 0 for sessions.
        offset: Where windows begin, after 1970.
        lateness: How far a record may be behind the newest one.
        late: What becomes of records that are further behind.
    """

    kind: WindowKind
    time_field: str
    size: int
    slide: int
    offset: int
    lateness: int
    late: LateData

    @property
    def is_session(self) -> bool:
        """Whether windows grow with their records."""
        return self.kind is WindowKind.SESSION

    @property
    def most_of_a_record(self) -> int:
        """In how many windows a record may be."""
        return 1 if self.is_session else -(-self.size // self.slide)

    def describe(self) -> str:
        """What makes two states comparable: the windows, not how late a record may be."""
        cut = f"{self.kind.value} {self.time_field} {self.size} us"
        if self.is_session:
            return cut
        return f"{cut} every {self.slide} us from {self.offset % self.slide} us"

    def starts_of(self, time: int) -> list[int]:
        """Where the windows begin that a time is in, the last one first."""
        last = (time - self.offset) // self.slide * self.slide + self.offset
        return list(range(last, time - self.size, -self.slide))


@dataclass(frozen=True, slots=True)
class Placed:
    """The records of a batch in their windows.

    Attributes:
        rows: Places of records in the batch, as often as they are in windows that are open; a range where each is once.
        starts: Where that window begins; for sessions, the time of the record.
        late: Places of records that are in no window that is open.
        newest: Time of the newest record; None of no records.
    """

    rows: Sequence[int]
    starts: Sequence[int]
    late: Sequence[int]
    newest: int | None


def place(window: Window, times: Sequence[int], watermark: int | None) -> Placed:
    """Puts records into windows, each as the watermark was when it came.

    Args:
        window: How time is cut.
        times: Time of each record, in the order in which they came; a list, or an array of NumPy.
        watermark: The watermark before them; None before the first record.
    """
    if not isinstance(times, list):
        from onex_mesh.reducer.core.window_columns import place_column

        return place_column(window, times, watermark)
    rows: list[int] = []
    starts: list[int] = []
    late: list[int] = []
    newest: int | None = None
    for index, time in enumerate(times):
        if window.is_session:
            reached = [time] if watermark is None or time >= watermark else []
        else:
            found = window.starts_of(time)
            reached = [start for start in found if watermark is None or start + window.size > watermark]
        rows.extend([index] * len(reached))
        starts.extend(reached)
        if not reached:
            late.append(index)
        newest = time if newest is None else max(newest, time)
        watermark = later(watermark, newest - window.lateness)
    return Placed(rows, starts, late, newest)


def later(watermark: int | None, other: int | None) -> int | None:
    """The later of two watermarks; a watermark never goes back."""
    if watermark is None or other is None:
        return other if watermark is None else watermark
    return max(watermark, other)


def sessions(codes: Sequence[int], times: Sequence[int], gap: int) -> tuple[list[int], list[tuple[int, int, int]]]:
    """The sessions that records make by themselves.

    Args:
        codes: Number of the key of each record.
        times: Its time.
        gap: How long a session may be without a record.

    Returns:
        The number of the session of each record; and of each session the number of its key, its beginning and its end.
    """
    numbers = [0] * len(codes)
    found: list[tuple[int, int, int]] = []
    for at in sorted(range(len(codes)), key=lambda at: (codes[at], times[at])):
        code, time = codes[at], times[at]
        if found and found[-1][0] == code and time < found[-1][2]:
            found[-1] = (code, found[-1][1], time + gap)
        else:
            found.append((code, time, time + gap))
        numbers[at] = len(found) - 1
    return numbers, found

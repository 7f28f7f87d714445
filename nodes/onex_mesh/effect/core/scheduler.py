"""Who is let in next: by priority, ties in order of arrival, waiting ones age (R84, F28)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from onex_mesh.effect.core.request import Priority

T = TypeVar("T")


class PriorityQueue(Generic[T]):
    """A queue in which each level of priority is worth `aging_s` seconds of waiting.

    An item that came at t with level n goes before every item whose t' + aging_s·n' is larger. So CRITICAL overtakes
    BACKGROUND, but none that has waited 4·aging_s already; nothing starves. Because all items age at the same rate,
    their order never changes while they wait, and a heap suffices.
    """

    def __init__(self, *, aging_s: float, clock: Callable[[], float]) -> None:
        self._aging_s = aging_s
        self._clock = clock
        self._heap: list[tuple[float, int, T]] = []
        self._arrivals = 0

    def push(self, item: T, priority: Priority) -> None:
        """Adds an item that came now."""
        self._arrivals += 1
        heapq.heappush(self._heap, (self._clock() + self._aging_s * priority, self._arrivals, item))

    def pop(self) -> T:
        """Takes out the item whose turn it is. IndexError where there is none."""
        return heapq.heappop(self._heap)[2]

    def first(self) -> T:
        """The item whose turn it is; it stays. IndexError where there is none."""
        return self._heap[0][2]

    def ahead_of(self, priority: Priority) -> Iterator[T]:
        """The items that go before one that came now, in no order."""
        rank = self._clock() + self._aging_s * priority
        return (item for at, _, item in self._heap if at <= rank)

    def discard(self, is_unwanted: Callable[[T], bool]) -> None:
        """Takes out items, wherever they stand."""
        self._heap = [row for row in self._heap if not is_unwanted(row[2])]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

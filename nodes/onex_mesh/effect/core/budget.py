"""The retry budget of a target: however many callers retry, an outage is not answered by a multiple of the load.

Retries of the last ten seconds may be at most a share of the calls of the same time, plus a few that are always
allowed, so that a target with little to do can still be tried again. The idea is that of the "retry budget" of Google's
"Site Reliability Engineering" (2016), chapter 21.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 10.0


@dataclass(slots=True)
class _Second:
    at: int
    calls: int = 0
    retries: int = 0


class RetryBudget:
    """Counts of one target, over the last ten seconds.

    Args:
        share: Retries allowed for each call.
        per_s: Retries a second that are always allowed.
        clock: Monotonic, in seconds.
    """

    __slots__ = ("_clock", "_per_s", "_seconds", "_share")

    def __init__(self, share: float, per_s: float, clock: Callable[[], float]) -> None:
        self._share = share
        self._per_s = per_s
        self._clock = clock
        self._seconds: deque[_Second] = deque()

    def called(self) -> None:
        """A call was made for the first time."""
        self._now().calls += 1

    def take(self) -> bool:
        """Asks to make a call once more; False where the budget is spent."""
        second = self._now()
        calls = sum(row.calls for row in self._seconds)
        retries = sum(row.retries for row in self._seconds)
        if retries + 1 > self._share * calls + self._per_s * WINDOW_S:
            return False
        second.retries += 1
        return True

    def _now(self) -> _Second:
        now = int(self._clock())
        while self._seconds and self._seconds[0].at <= now - WINDOW_S:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1].at != now:
            self._seconds.append(_Second(now))
        return self._seconds[-1]

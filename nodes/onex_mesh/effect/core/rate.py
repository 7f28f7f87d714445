"""How often a target may be called: a token bucket (R154).

The bucket holds up to `burst` tokens and gains `rate_per_s` of them a second; a call takes one. So over any time t at
most burst + rate·t calls are made.
"""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """The tokens of one target; pure but for the clock handed in."""

    __slots__ = ("_at", "_burst", "_clock", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()

    def take(self) -> bool:
        """Takes a token; False where there is none yet."""
        self._gain()
        # What the sum of many small gains lacks of a whole token is below any clock's precision.
        if self._tokens < 1.0 - 1e-9:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        """Returns a token that was taken for a call that was not made."""
        self._tokens = min(self._tokens + 1.0, self._burst)

    def wait_s(self, tokens: int = 1) -> float:
        """Seconds until so many tokens, one after the other, could have been taken."""
        self._gain()
        return max(tokens - self._tokens, 0.0) / self._rate_per_s

    def _gain(self) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._at) * self._rate_per_s, self._burst)
        self._at = now

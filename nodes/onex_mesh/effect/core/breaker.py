"""The circuit breaker of a target (R8, F17): after failures calls are refused at once, then a few probe.

States and transitions are those of M. Nygard, "Release It!" (2007), chapter 5: closed → open after
`failure_threshold` failures in a row, or once a share of the last calls failed; open → half-open once `recovery_s` is
over; half-open → closed after `probes` successes, half-open → open after one failure.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from onex_mesh.runtime.errors import CircuitOpenError


class BreakerState(enum.Enum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens and closes."""

    failure_threshold: int = 5
    """Failures in a row that open it."""
    recovery_s: float = 10.0
    """How long it stays open before it lets a probe through."""
    probes: int = 1
    """Successful probes that close it; as many may be under way at once."""
    failure_rate: float = 1.0
    """Share of failures among the last `window_calls` calls that opens it, too."""
    window_calls: int = 100
    """How many calls the share is taken of; with fewer it says nothing."""
    slow_s: float | None = None
    """An answer that took longer counts as a failure; None: none is too slow."""


class Breaker:
    """The state machine; pure but for the clock handed in. Not for several threads."""

    __slots__ = (
        "_clock",
        "_failures",
        "_generation",
        "_opened_at",
        "_probing",
        "_recent",
        "_recent_failures",
        "_rules",
        "_state",
        "_successes",
    )

    def __init__(self, rules: BreakerRules, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._successes = 0
        self._probing = 0
        self._opened_at = 0.0
        self._generation = 0
        self._recent: deque[bool] = deque()
        self._recent_failures = 0

    @property
    def state(self) -> BreakerState:
        """How it stands now: an open breaker whose time is over counts as half-open."""
        if self._state is BreakerState.OPEN and self._open_for_s() >= self._rules.recovery_s:
            return BreakerState.HALF_OPEN
        return self._state

    def require_passable(self, target: str) -> None:
        """Refuses what `enter` would refuse at this moment; for those who would otherwise wait for their turn first.

        Raises:
            CircuitOpenError: See `enter`.
        """
        if self._state is BreakerState.OPEN:
            remaining_s = self._rules.recovery_s - self._open_for_s()
            if remaining_s > 0:
                raise self._refusal(target, remaining_s)
        elif self._state is BreakerState.HALF_OPEN and self._probing >= self._rules.probes:
            raise self._refusal(target, 0.0)

    def enter(self, target: str) -> int:
        """Asks to make a call. The permit goes to exactly one of `succeeded`, `failed` and `left`.

        Raises:
            CircuitOpenError: It is open, or half-open with all probes under way. `retry_after_s` is in its context.
        """
        self.require_passable(target)
        if self._state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN)
        if self._state is BreakerState.HALF_OPEN:
            self._probing += 1
        return self._generation

    def is_slow(self, took_s: float) -> bool:
        """Whether an answer that took so long counts as a failure."""
        return self._rules.slow_s is not None and took_s > self._rules.slow_s

    def succeeded(self, permit: int) -> None:
        """The call came back with an answer, be it a refusal: the target works."""
        if permit != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._probing -= 1
            self._successes += 1
            if self._successes >= self._rules.probes:
                self._become(BreakerState.CLOSED)
        else:
            self._failures = 0
            self._remember(is_failure=False)

    def failed(self, permit: int) -> None:
        """The target did not answer, or too slowly, or answered that it cannot now."""
        if permit != self._generation:
            return
        if self._state is BreakerState.HALF_OPEN:
            self._open()
            return
        self._failures += 1
        self._remember(is_failure=True)
        if self._failures >= self._rules.failure_threshold or self._fails_too_often():
            self._open()

    def left(self, permit: int) -> None:
        """The call was cancelled: it says nothing about the target."""
        if permit == self._generation and self._state is BreakerState.HALF_OPEN:
            self._probing -= 1

    def _remember(self, *, is_failure: bool) -> None:
        self._recent.append(is_failure)
        self._recent_failures += is_failure
        if len(self._recent) > self._rules.window_calls:
            self._recent_failures -= self._recent.popleft()

    def _fails_too_often(self) -> bool:
        window = self._rules.window_calls
        return len(self._recent) >= window and self._recent_failures >= self._rules.failure_rate * window

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        # Answers to calls of an earlier state arrive late; their permits do not count any more.
        self._generation += 1
        self._state = state
        self._failures = self._successes = self._probing = self._recent_failures = 0
        self._recent.clear()

    def _open_for_s(self) -> float:
        return self._clock() - self._opened_at

    def _refusal(self, target: str, retry_after_s: float) -> CircuitOpenError:
        return CircuitOpenError(
            f"the breaker of target {target!r} is open",
            error_context={"target": target, "retry_after_s": round(retry_after_s, 3)},
        )

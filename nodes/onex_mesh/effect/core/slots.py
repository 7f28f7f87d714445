"""The bulkhead of a target: so many calls at once, so many a second, the next one by priority (R154)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onex_mesh.effect.core.rate import TokenBucket
from onex_mesh.effect.core.request import Priority
from onex_mesh.effect.core.scheduler import PriorityQueue
from onex_mesh.runtime.errors import OverloadedError

_AGING_S = 5.0
_CANCELLED_KEPT = 64


class Slots:
    """A semaphore whose waiters are let in by priority and bounded in number. For one event loop.

    Args:
        target: Name of the target, for errors.
        size: Calls at once.
        waiting_max: Calls that may wait.
        clock: Monotonic, in seconds.
        bucket: How often calls are let in; None: as often as there is a slot.
    """

    def __init__(
        self,
        target: str,
        size: int,
        *,
        waiting_max: int,
        clock: Callable[[], float],
        bucket: TokenBucket | None = None,
    ) -> None:
        self._target = target
        self._free = size
        self._size = size
        self._waiting_max = waiting_max
        self._clock = clock
        self._bucket = bucket
        self._queue: PriorityQueue[asyncio.Future[None]] = PriorityQueue(aging_s=_AGING_S, clock=clock)
        self._cancelled = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_use(self) -> int:
        """Calls under way."""
        return self._size - self._free

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return len(self._queue) - self._cancelled

    async def enter(self, priority: Priority, deadline: float | None = None) -> None:
        """Waits for a slot, and for its turn where the rate is limited.

        Args:
            priority: Who goes first.
            deadline: When the caller stops waiting, on the clock; None without one.

        Raises:
            OverloadedError: Too many wait already, or its turn does not come before the deadline; where the rate is
                the reason, error_context["retry_after_s"] says when it would.
        """
        if self._free > 0 and not self.waiting and (self._bucket is None or self._bucket.take()):
            self._free -= 1
            return
        if self.waiting >= self._waiting_max:
            raise OverloadedError(
                f"{self.waiting} calls wait for target {self._target!r} already",
                error_context={"target": self._target, "waiting_max": self._waiting_max},
            )
        if self._bucket is not None and deadline is not None:
            self._require_time(self._bucket, priority, deadline)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.push(turn, priority)
        self._let_in()
        try:
            async with asyncio.timeout(None if deadline is None else max(deadline - self._clock(), 0.0)):
                await self._granted(turn)
        except TimeoutError as error:
            raise self._too_late({}) from error

    def leave(self, *, used: bool = True) -> None:
        """Gives a slot back, to the one whose turn it is.

        Args:
            used: False if the target was not called: that does not count for the rate.
        """
        self._free += 1
        if not used and self._bucket is not None:
            self._bucket.give_back()
        self._let_in()

    def _let_in(self) -> None:
        """Lets in those whose turn it is, as far as slots and rate allow."""
        while self._free > 0 and len(self._queue):
            if self._queue.first().cancelled():
                self._queue.pop()
                self._cancelled -= 1
            elif self._bucket is None or self._bucket.take():
                self._free -= 1
                self._queue.pop().set_result(None)
            else:
                self._let_in_later(self._bucket.wait_s())
                return

    def _let_in_later(self, wait_s: float) -> None:
        if self._timer is None:
            # A little more than the time itself: a timer that is early would find no token and begin anew.
            self._timer = asyncio.get_running_loop().call_later(wait_s + 0.001, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._let_in()

    async def _granted(self, turn: asyncio.Future[None]) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(used=False)
            else:
                self._cancelled += 1
                self._forget_cancelled()
            raise

    def _forget_cancelled(self) -> None:
        """Keeps those who gave up from piling up behind calls that hang."""
        if self._cancelled > _CANCELLED_KEPT and self._cancelled * 2 > len(self._queue):
            self._queue.discard(lambda turn: turn.cancelled())
            self._cancelled = 0

    def _require_time(self, bucket: TokenBucket, priority: Priority, deadline: float) -> None:
        ahead = sum(not turn.cancelled() for turn in self._queue.ahead_of(priority))
        wait_s = bucket.wait_s(ahead + 1)
        if wait_s > deadline - self._clock():
            raise self._too_late({"retry_after_s": round(wait_s, 3)})

    def _too_late(self, facts: dict[str, object]) -> OverloadedError:
        return OverloadedError(
            f"target {self._target!r} is busy: the turn does not come before the deadline",
            error_context={"target": self._target, **facts},
        )

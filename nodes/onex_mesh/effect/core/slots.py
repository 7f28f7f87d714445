"""The bulkhead of a target: so many calls at once, the next one by priority (R154)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onex_mesh.effect.core.request import Priority
from onex_mesh.effect.core.scheduler import PriorityQueue
from onex_mesh.runtime.errors import OverloadedError

_AGING_S = 5.0


class Slots:
    """A semaphore whose waiters are let in by priority and bounded in number. For one event loop."""

    def __init__(self, target: str, size: int, *, waiting_max: int, clock: Callable[[], float]) -> None:
        self._target = target
        self._free = size
        self._size = size
        self._waiting_max = waiting_max
        self._queue: PriorityQueue[asyncio.Future[None]] = PriorityQueue(aging_s=_AGING_S, clock=clock)
        self._cancelled = 0

    @property
    def in_use(self) -> int:
        """Calls under way."""
        return self._size - self._free

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return len(self._queue) - self._cancelled

    async def enter(self, priority: Priority) -> None:
        """Waits for a slot.

        Raises:
            OverloadedError: Too many wait already.
        """
        if self._free > 0:
            self._free -= 1
            return
        if self.waiting >= self._waiting_max:
            raise OverloadedError(
                f"{self.waiting} calls wait for target {self._target!r} already",
                error_context={"target": self._target, "waiting_max": self._waiting_max},
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.push(turn, priority)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            else:
                self._cancelled += 1
            raise

    def leave(self) -> None:
        """Gives a slot back, to the one whose turn it is."""
        while len(self._queue):
            turn = self._queue.pop()
            if turn.cancelled():
                self._cancelled -= 1
            else:
                turn.set_result(None)
                return
        self._free += 1

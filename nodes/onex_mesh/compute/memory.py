"""The memory of computations in this process: what is let in together, and what is ended when it was too much.

A worker process has a memory of its own and can be ended. Threads share that of the node, so there is no telling which
of them took what. Hence two bounds (ADR 9): computations wait until there is room for what they are expected to need,
and when the node needs more than it may nevertheless, the largest of them is ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from onex_mesh.compute.core.budget import Budget
from onex_mesh.compute.core.context import Cancellation, ComputeContext
from onex_mesh.compute.core.needs import Appetite, Needs
from onex_mesh.compute.ports import Workers
from onex_mesh.runtime.errors import ActionExpiredError, ComputeFailedError, OverloadedError

WATCH_S = 0.05
"""How often the memory of the node is looked at while it computes."""

_ENDING_S = 1.0
"""How long what was told to end may take before another one is told."""


@dataclass(eq=False, slots=True)
class _Held:
    """A computation that was let in.

    Attributes:
        appetite: What was known beforehand.
        need_bytes: What it is expected to need.
        cancellation: How it is told to end; None where it does not run in threads.
        waiter: Who waits for it.
        most_bytes: Most that came on top of what the node holds when it is idle.
        is_alone: Whether nothing else was computed meanwhile, so that what the node needed was for it.
        reason: Makes the error that it was ended with; None if it was not.
    """

    appetite: Appetite
    need_bytes: int
    cancellation: Cancellation | None
    waiter: asyncio.Task[object]
    most_bytes: int = 0
    is_alone: bool = True
    reason: Callable[[], ComputeFailedError] | None = None


class NodeMemory:
    """See the module.

    Args:
        workers: Whose memory it is; each of them may have what a task may.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._needs = Needs()
        self._budget = Budget(workers.memory_bytes_max * workers.count)
        self._held: list[_Held] = []
        self._watching: asyncio.Task[None] | None = None
        self._idle_bytes = 0
        self._too_much = False
        self._patient_until = 0.0

    @asynccontextmanager
    async def held(self, appetite: Appetite, context: ComputeContext, *, in_threads: bool) -> AsyncIterator[None]:
        """Lets a computation in as soon as there is room for what it is expected to need.

        Args:
            appetite: What is known of it.
            context: By which it is told to end.
            in_threads: Whether it runs in threads, where it may be chosen to be ended.

        Raises:
            OverloadedError: The node needs more memory than it may.
            ActionExpiredError: There was no room before its deadline.
            ComputeFailedError: It was ended, for the node needed too much memory with it.
        """
        if self._too_much and self._came_bytes() > self._bytes_max():
            raise OverloadedError("the node needs more memory for computations under way than it may")
        # More than one task may have is never granted: it is ended instead.
        need_bytes = min(self._needs.expected_bytes(appetite), self._workers.memory_bytes_max)
        await self._room(need_bytes, context)
        waiter = asyncio.current_task()
        assert waiter is not None
        entry = _Held(appetite, need_bytes, context.cancellation if in_threads else None, waiter)
        try:
            with self._watched(entry):
                yield
        except asyncio.CancelledError:
            if entry.reason is None or waiter.uncancel() > 0:
                raise
            raise entry.reason() from None
        finally:
            self._budget.give_back(need_bytes)

    async def _room(self, need_bytes: int, context: ComputeContext) -> None:
        seconds_left = None if context.deadline is None else context.deadline - time.monotonic()
        try:
            async with asyncio.timeout(seconds_left):
                await self._budget.take(need_bytes)
        except TimeoutError as error:
            raise ActionExpiredError("the computation did not begin before its deadline") from error

    @contextmanager
    def _watched(self, entry: _Held) -> Iterator[None]:
        if not self._held and not self._workers.busy_threads:
            self._idle_bytes, self._too_much = self._workers.held_bytes(), False
        self._held.append(entry)
        if len(self._held) > 1:
            for other in self._held:
                other.is_alone = False
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._held.remove(entry)
            if entry.most_bytes and entry.reason is None:
                self._needs.was(entry.appetite, entry.most_bytes)

    async def _watch(self) -> None:
        """Looks at the memory as long as anything is computed, also if nobody waits for it any more."""
        while self._held or self._workers.busy_threads:
            await asyncio.sleep(WATCH_S)
            self._look()
        self._too_much = False

    def _look(self) -> None:
        came_bytes, bytes_max = self._came_bytes(), self._bytes_max()
        if len(self._held) == 1 and self._held[0].is_alone:
            self._held[0].most_bytes = max(self._held[0].most_bytes, came_bytes)
        self._too_much = came_bytes > bytes_max
        now = asyncio.get_running_loop().time()
        if self._too_much and now >= self._patient_until:
            self._end_largest(bytes_max)
            self._patient_until = now + _ENDING_S

    def _came_bytes(self) -> int:
        """What the node needs on top of what it holds when it is idle."""
        return self._workers.held_bytes() - self._idle_bytes

    def _bytes_max(self) -> int:
        """What it may need: as much as the tasks under way together."""
        computing = max(1, len(self._held), self._workers.busy_threads)
        return self._workers.memory_bytes_max * min(computing, self._workers.count)

    def _end_largest(self, bytes_max: int) -> None:
        """Ends the one that is expected to need most; of equals, the one that began last."""
        endable = [entry for entry in self._held if entry.cancellation is not None and entry.reason is None]
        if not endable:
            return
        entry = max(reversed(endable), key=lambda found: found.need_bytes)
        assert entry.cancellation is not None
        entry.reason = partial(_ended, entry.appetite.algorithm, bytes_max)
        entry.cancellation.request(entry.reason)
        entry.waiter.cancel()


def _ended(algorithm: str, bytes_max: int) -> ComputeFailedError:
    return ComputeFailedError(
        f"the algorithm {algorithm!r} was ended: the node needed more than {bytes_max} bytes of memory with it",
        error_context={"algorithm_type": algorithm, "memory_bytes_max": str(bytes_max)},
    )

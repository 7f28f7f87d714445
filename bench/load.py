"""A closed loop of calls: so many workflows in flight, each followed by the next, measured over a window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

# A level that is slower than the warm-up still gets every caller through one workflow, unless it is hopeless.
_WARM_UP_FACTOR_MAX = 5.0

RunWorkflow = Callable[[], Awaitable[int]]
"""Runs one workflow to its end, checks its result and returns how many commits it made; raises where it failed."""


class WorkflowFailedError(Exception):
    """A workflow did not end as it must."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How hard and how long.

    Attributes:
        in_flight: Workflows under way at any moment, ≥ 1.
        window_s: Length of the window, in seconds.
        warm_up_s: How long it runs before the window opens, in seconds.
        workflows: End the window early once so many workflows ended in it; 0: by time only.
    """

    in_flight: int
    window_s: float
    warm_up_s: float
    workflows: int = 0


@dataclass(slots=True)
class LoadResult:
    """What the window saw. Only workflows that ended within it count, wherever they began.

    Attributes:
        window_s: Its true length, in seconds.
        latencies_s: One for each workflow that ended well, in seconds.
        commits: Commits of all those workflows together.
        failures: Workflows that failed, in the window or outside.
        first_failure: What the first of them said.
    """

    window_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    commits: int = 0
    failures: int = 0
    first_failure: str = ""


class Load:
    """Keeps `in_flight` workflows under way and measures the window in the middle.

    Args:
        run_workflow: One workflow, from request to checked result.
        options: How hard and how long.
        opened: Called when the window opens.
        closed: Called when it closes, while the load still runs.
    """

    def __init__(
        self,
        run_workflow: RunWorkflow,
        options: LoadOptions,
        *,
        opened: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self._run_workflow = run_workflow
        self._options = options
        self._opened = opened
        self._closed = closed
        self._result = LoadResult()
        self._is_open = False
        self._is_over = False
        self._ended = 0
        self._enough = asyncio.Event()

    async def run(self) -> LoadResult:
        """Warms up, measures, and returns once every workflow that was begun has ended."""
        callers = [asyncio.create_task(self._keep_calling()) for _ in range(self._options.in_flight)]
        await self._warm_up()
        self._opened()
        start = time.perf_counter()
        self._is_open = True
        await self._window()
        self._is_open = False
        self._result.window_s = time.perf_counter() - start
        self._closed()
        self._is_over = True
        await asyncio.gather(*callers)
        return self._result

    async def _warm_up(self) -> None:
        options = self._options
        start = time.perf_counter()
        while (elapsed_s := time.perf_counter() - start) < options.warm_up_s * _WARM_UP_FACTOR_MAX:
            if elapsed_s >= options.warm_up_s and self._ended >= options.in_flight:
                return
            await asyncio.sleep(min(0.05, options.warm_up_s))

    async def _window(self) -> None:
        try:
            await asyncio.wait_for(self._enough.wait(), self._options.window_s)
        except TimeoutError:
            return  # the usual end: the time is over

    async def _keep_calling(self) -> None:
        while not self._is_over:
            start = time.perf_counter()
            try:
                commits = await self._run_workflow()
            except WorkflowFailedError as error:
                self._result.failures += 1
                self._result.first_failure = self._result.first_failure or str(error)
                await asyncio.sleep(0.1)  # a system that refuses everything is not hammered
                continue
            self._ended += 1
            if self._is_open:
                self._count(time.perf_counter() - start, commits)

    def _count(self, latency_s: float, commits: int) -> None:
        self._result.latencies_s.append(latency_s)
        self._result.commits += commits
        if len(self._result.latencies_s) == self._options.workflows:
            self._enough.set()

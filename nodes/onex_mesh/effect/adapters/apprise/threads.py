"""Blocking calls in threads of their own, so that a service that hangs holds up neither the loop nor the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from onex_mesh.runtime.errors import TargetUnavailableError

T = TypeVar("T")


class Threads:
    """At most so many at once. A thread that nobody waits for any more counts until it ends."""

    def __init__(self, target: str, limit: int) -> None:
        self._target = target
        self._limit = limit
        self._running = 0
        self._lock = threading.Lock()

    @property
    def are_used_up(self) -> bool:
        """Whether all of them hang."""
        return self._running >= self._limit

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Begins; the future ends with what the call returns or raises.

        Raises:
            TargetUnavailableError: Too many calls hang.
        """
        with self._lock:
            if self.are_used_up:
                raise TargetUnavailableError(
                    f"{self._running} calls of target {self._target!r} hang", error_context={"target": self._target}
                )
            self._running += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            end: Callable[[], None]
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  # handed on to whoever waits
                problem = error
                end = lambda: None if future.done() else future.set_exception(problem)  # noqa: E731
            else:
                end = lambda: None if future.done() else future.set_result(result)  # noqa: E731
            with self._lock:
                self._running -= 1
            # The loop may be closed: then nobody waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(end)

        # Daemons: a service that answers a byte a minute must not keep the process from ending.
        threading.Thread(target=run, name=f"apprise-{self._target}", daemon=True).start()
        return future

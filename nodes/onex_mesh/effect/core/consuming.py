"""One subscription at work: fetches no more than it can work on, and stops in good order."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from onex_mesh.effect.core.settling import Settler, SubscriptionParts, Tally
from onex_mesh.runtime.errors import InternalError, OnexError

log = structlog.get_logger(__name__)

_PAUSE_MIN_S = 0.1
_PAUSE_MAX_S = 5.0


class Consumer:
    """Consumes one subscription."""

    def __init__(self, parts: SubscriptionParts) -> None:
        self._parts = parts
        self._settler = Settler(parts)
        self._under_way: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._pause_s = _PAUSE_MIN_S
        self._fetch_trouble = "not connected yet"

    def start(self) -> None:
        """Begins to fetch."""
        self._loop = asyncio.create_task(self._consume(), name=f"subscription-{self._parts.name}")

    async def drain(self) -> None:
        """Fetches no more, and returns when what was fetched is settled."""
        self._stopping.set()
        if self._loop is not None:
            await asyncio.wait((self._loop,))
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def stop(self) -> None:
        """Ends at once. Messages under way are delivered again; those that were committed are recognized then."""
        self._stopping.set()
        tasks = [*self._under_way, *([self._loop] if self._loop is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._parts.source.close()

    @property
    def tally(self) -> Tally:
        """What became of the messages so far."""
        return self._settler.tally

    @property
    def trouble(self) -> str:
        """Why it does not get on; empty if it does."""
        return self._fetch_trouble or self._settler.broker_trouble or self._settler.mesh_trouble

    @property
    def in_flight(self) -> int:
        """Messages under way."""
        return len(self._under_way)

    async def _consume(self) -> None:
        while not self._stopping.is_set():
            free = self._parts.config.concurrency - len(self._under_way)
            if self._settler.mesh_trouble:
                # One message at a time finds out whether it is over; the broker keeps the others.
                free = 1 - len(self._under_way)
            if free <= 0:
                self._settled.clear()
                await self._either(self._settled)
                continue
            if self._settler.mesh_trouble:
                await self._pause()
            if not await self._fetch(free):
                await self._pause()
            elif not self._settler.mesh_trouble:
                self._pause_s = _PAUSE_MIN_S

    async def _fetch(self, count: int) -> bool:
        """Fetches and begins to settle; False if the broker is not well."""
        try:
            fetched = await self._parts.source.fetch(count)
        except OnexError as error:
            self._broken(error)
            return False
        except Exception as error:
            # A library's surprise must not end the subscription in silence.
            log.error("a subscription failed unexpectedly", subscription=self._parts.name, exc_info=error)
            self._broken(InternalError(f"fetching failed: {type(error).__name__}; the node's log has the cause"))
            return False
        if self._fetch_trouble:
            log.info("a subscription gets on", subscription=self._parts.name, target=self._parts.config.target)
            self._fetch_trouble = ""
        for delivery in fetched:
            task = asyncio.create_task(self._settler.settle(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._settled.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a message failed unexpectedly", subscription=self._parts.name, exc_info=error)

    def _broken(self, error: OnexError) -> None:
        if self._fetch_trouble != error.message:
            log.warning("a subscription does not get on", subscription=self._parts.name, why=error.message)
        self._fetch_trouble = error.message

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._stopping.wait()
        self._pause_s = min(self._pause_s * 2, _PAUSE_MAX_S)

    async def _either(self, event: asyncio.Event) -> None:
        """Waits for an event, or for the end."""
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

"""Transactions of one target: how they begin and end, when they are made again, and that none outlives its effect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from onex_mesh.effect.adapters.database.connection import POOL_SHARE, WRITES, open_engine
from onex_mesh.effect.adapters.database.faults import DATABASE_ERRORS, Fault, fault_of, translate
from onex_mesh.effect.core.credentials import Secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.runtime.errors import OverloadedError

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

_AGAIN_MAX = 5
_PAUSE_S = 0.01
_UNWIND_S = 2.0
_CLOSE_S = 5.0


@dataclass(slots=True)
class _Progress:
    """How far a transaction got."""

    committing: bool = False


class Transactions:
    """Runs work in transactions; the errors of the database come out as those of the mesh."""

    def __init__(self, name: str, target: DatabaseTarget, password: Secret | None) -> None:
        self._name = name
        engine = open_engine(target, password)
        self.dialect = engine.dialect
        self._engine = engine
        self._writer: AsyncEngine = engine.execution_options(**{WRITES: True})
        self._reader = engine if target.is_sqlite else engine.execution_options(postgresql_readonly=True)
        # SQLite has one writer at a time; taking turns here is cheaper than polling its lock.
        self._turn = asyncio.Semaphore(1) if target.is_sqlite else None
        self._wait_s = target.limits.timeout_s * POOL_SHARE

    async def write(self, work: Work[T], *, has_key: bool) -> T:
        """Runs work in a transaction that is committed at its end, and rolled back on any exception.

        What the database rolled back because of another transaction is made again at once, a few times; so is what
        lost its connection, once. Neither has had an effect, or the key tells.

        Args:
            work: What to do; it may be called several times.
            has_key: Whether the work would find its own commit under its key.

        Raises:
            OnexError: The transaction failed. `retryable` is false where it may have been committed and no key tells.
        """
        return await to_its_end(self._again(lambda progress: self._write_once(work, progress), has_key=has_key))

    async def read(self, work: Work[T]) -> T:
        """Runs work in a transaction in which nothing can be written.

        Raises:
            OnexError: It failed.
        """
        return await to_its_end(self._again(lambda _: self._read_once(work), has_key=True, reads=True))

    async def close(self) -> None:
        """Closes the pool; a server that does not answer is not waited for."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._engine.dispose()
        except TimeoutError:
            log.warning("a database did not let go of its connections in time", target=self._name)

    async def _again(self, once: Callable[[_Progress], Awaitable[T]], *, has_key: bool, reads: bool = False) -> T:
        tries = 0
        lost = False
        while True:
            tries += 1
            progress = _Progress()
            try:
                return await once(progress)
            except DATABASE_ERRORS as error:
                fault = fault_of(error, reads=reads)
                is_safe = has_key or not progress.committing
                if fault is Fault.LOST and is_safe and not lost:
                    # A connection that died while it waited in the pool must not cost an effect: intents without a
                    # policy are not tried again (R87).
                    lost = True
                elif fault not in (Fault.CONFLICT, Fault.STALE) or tries >= _AGAIN_MAX:
                    raise translate(
                        error, fault, self._name, committing=progress.committing, has_key=has_key
                    ) from error
            await asyncio.sleep(random.random() * _PAUSE_S * 2**tries)  # noqa: S311  # spreads load, keeps no secret

    async def _write_once(self, work: Work[T], progress: _Progress) -> T:
        async with self._my_turn(), self._connected(self._writer) as connection:
            await connection.begin()
            value = await work(connection)
            progress.committing = True
            await connection.commit()
            return value

    async def _read_once(self, work: Work[T]) -> T:
        async with self._connected(self._reader) as connection:
            return await work(connection)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection of the pool; given back without what was not committed."""
        connection = await engine.connect()
        try:
            yield connection
        except DATABASE_ERRORS as error:
            if fault_of(error) in (Fault.LOST, Fault.STALE) and not connection.invalidated:
                # Such as one to a standby: it is there and refuses, and the next connection may find the primary.
                await connection.invalidate()
            raise
        finally:
            await connection.close()

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if self._turn is None:
            yield
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise OverloadedError(
                f"database {self._name!r}: others wrote for {self._wait_s:.3g} s",
                error_context={"target": self._name},
            ) from error
        try:
            yield
        finally:
            self._turn.release()


async def to_its_end(work: Coroutine[object, object, T]) -> T:
    """Awaits work with a connection. When this is cancelled the work is, too, and has ended when this returns.

    Cancelling stops the statement that runs and gives the connection back, which takes a word with the server. One that
    does not answer is cancelled a second time, which drops the connection without a word.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        for _ in range(2):
            task.cancel()
            await asyncio.wait({task}, timeout=_UNWIND_S)
            if task.done():
                break
        task.add_done_callback(_look_away)
        raise


def _look_away(task: asyncio.Task[T]) -> None:
    """Takes the exception of work that was cancelled: how it ended matters no more."""
    if not task.cancelled():
        task.exception()

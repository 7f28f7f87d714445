"""Keeps the node's own tables from growing for ever: keys that nobody asks for any more go, and fences of long ago."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from onex_mesh.effect.adapters.database.records import EFFECTS, FENCES, stamp
from onex_mesh.effect.adapters.database.transactions import Transactions
from onex_mesh.runtime.errors import OnexError

log = structlog.get_logger(__name__)

_BATCH = 500
_SWEEPS_PER_LIFE = 24
_PAUSE_MAX_S = 3_600.0
_STOP_S = 2.0


class Expiry:
    """Removes what is older than `kept_s`, from now on and every hour or so, a few hundred rows at a time."""

    def __init__(self, transactions: Transactions, target: str, kept_s: float) -> None:
        self._transactions = transactions
        self._target = target
        self._kept = timedelta(seconds=kept_s)
        self._pause_s = min(kept_s / _SWEEPS_PER_LIFE, _PAUSE_MAX_S)
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it after the transaction under way; one that takes long is cancelled."""
        self._stopping.set()
        await asyncio.wait({self._task}, timeout=_STOP_S)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        """Sweeps until it is stopped. A sweep that fails is told in the log, and the next one goes on."""
        while not self._stopping.is_set():
            try:
                removed = await self.sweep()
                if removed:
                    log.info("old idempotency keys were removed", target=self._target, rows=removed)
            except OnexError as error:
                log.warning("old idempotency keys could not be removed", target=self._target, why=error.message)
            # Nodes that started together do not go on sweeping together.
            pause_s = self._pause_s * (0.5 + random.random())  # noqa: S311  # spreads load, keeps no secret
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def sweep(self) -> int:
        """Removes all that is too old; returns how many rows that were.

        Raises:
            OnexError: The database did not let it.
        """
        before = stamp(datetime.now(UTC) - self._kept)
        keys = sa.and_(EFFECTS.c.target == self._target, EFFECTS.c.recorded_at < before)
        removed = 0
        for table, is_old in ((EFFECTS, keys), (FENCES, FENCES.c.raised_at < before)):
            deletion = _Deletion(table, is_old)
            while not self._stopping.is_set() and (count := await self._transactions.write(deletion, has_key=True)):
                removed += count
        return removed


class _Deletion:
    """Removes one batch of old rows. Rows that another node removes at the same time are left to it."""

    def __init__(self, table: sa.Table, is_old: sa.ColumnElement[bool]) -> None:
        names = list(table.primary_key.columns)
        batch = sa.select(*names).where(is_old).limit(_BATCH).with_for_update(skip_locked=True)
        self._delete = sa.delete(table).where(sa.tuple_(*names).in_(batch), is_old)

    async def __call__(self, connection: AsyncConnection) -> int:
        return (await connection.execute(self._delete)).rowcount

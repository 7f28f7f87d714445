"""Opening a database: its pool, and what each new connection and each transaction is told."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.effect.core.credentials import Secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.runtime.payload import Json

WRITES = "onex_writes"
"""Execution option of connections that are going to write."""

CHECKS = 1
"""Connections beyond the bound on calls: a busy target must not look unwell because its check found none free."""

POOL_SHARE = 0.8
"""Share of an attempt's time that may go by until a connection is free. Less than all of it, so that what is told is
that none was free and not that the database did not answer."""

_POOL_RECYCLE_S = 1_800
_ORPHAN_S = 5.0
"""So much longer than an attempt may last does the server keep a transaction whose node has vanished."""


class _Cursor(Protocol):
    def execute(self, statement: str) -> object: ...

    def close(self) -> None: ...


class _Interruptible(Protocol):
    def interrupt(self) -> Awaitable[None]: ...


class _DriverConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _Cursor: ...

    def commit(self) -> None: ...

    def run_async(self, call: Callable[[_Interruptible], Awaitable[None]]) -> object: ...


def open_engine(target: DatabaseTarget, password: Secret | None) -> AsyncEngine:
    """The pool of connections to a target; connects when it is first used."""
    url = make_url(target.dsn)
    if target.is_sqlite:
        return _open_sqlite(url, target)
    url = url.set(drivername="postgresql+asyncpg")
    if password is not None:
        url = url.set(password=password.value)
    engine = create_async_engine(
        url,
        pool_size=target.limits.concurrency + CHECKS,
        max_overflow=0,
        pool_timeout=target.limits.timeout_s * POOL_SHARE,
        pool_recycle=_POOL_RECYCLE_S,
        hide_parameters=True,
        json_deserializer=_exact,
        connect_args={
            "timeout": target.limits.timeout_s,
            "server_settings": {"application_name": "onex-mesh"},
        },
        **({} if target.isolation is None else {"isolation_level": target.isolation.replace("_", " ").upper()}),
    )
    longest_ms = math.ceil((target.limits.timeout_s + _ORPHAN_S) * 1_000)

    def on_connect(connection: _DriverConnection, _: object) -> None:
        # Of a node that vanishes without a word the server would keep the locks for hours.
        cursor = connection.cursor()
        for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET {setting} = {longest_ms}")
        cursor.close()
        connection.commit()

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    return engine


def _open_sqlite(url: URL, target: DatabaseTarget) -> AsyncEngine:
    assert url.database is not None
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        pool_size=target.limits.concurrency + CHECKS,
        max_overflow=0,
        pool_timeout=target.limits.timeout_s * POOL_SHARE,
        hide_parameters=True,
        json_deserializer=_exact,
        connect_args={"timeout": target.busy_timeout_s},
    )

    def on_connect(connection: _DriverConnection, _: object) -> None:
        # The driver would begin transactions by itself, too late and of the wrong kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        writes = bool(connection.get_execution_options().get(WRITES))
        if connection.info.get(WRITES) is not writes:
            connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
            connection.info[WRITES] = writes
        # A transaction that reads first and writes later cannot wait for the lock; so writers take it at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def on_invalidate(connection: _DriverConnection, _: object, __: BaseException | None) -> None:
        # A cancelled effect leaves its statement to a thread; without this the connection would close when that ends.
        connection.run_async(lambda driver: driver.interrupt())

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    sa.event.listen(engine.sync_engine, "begin", on_begin)
    sa.event.listen(engine.sync_engine, "invalidate", on_invalidate)
    return engine


def _exact(text: str) -> Json:
    return exact_json(text.encode())

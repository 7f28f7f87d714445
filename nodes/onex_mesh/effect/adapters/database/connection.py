"""Opening a database, and what its errors mean (R19)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from onex_mesh.effect.core.credentials import Secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.runtime.errors import (
    DatabaseConnectionError,
    EffectFailedError,
    OnexError,
    TemporaryDatabaseError,
)

WRITES = "onex_writes"
"""Execution option of connections that are going to write."""

CHECKS = 1
"""Connections beyond the bound on calls: a busy target must not look unwell because its check found none free."""

_POOL_RECYCLE_S = 1_800
_MESSAGE_CHARS_MAX = 300

# SQLSTATE classes and codes (PostgreSQL documentation, appendix A).
_TEMPORARY_STATES = ("40001", "40P01", "55P03", "53", "57014")
_CONNECTION_STATES = ("08", "57P", "28", "3D000")
_REFUSING_STATES = ("28", "3D000")
_TEMPORARY_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_INTERRUPT")
_CONNECTION_SQLITE = ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CORRUPT")


class _Cursor(Protocol):
    def execute(self, statement: str) -> object: ...

    def close(self) -> None: ...


class _DriverConnection(Protocol):
    isolation_level: str | None

    def cursor(self) -> _Cursor: ...


def open_engine(target: DatabaseTarget, password: Secret | None) -> AsyncEngine:
    """The pool of connections to a target; connects when it is first used."""
    url = make_url(target.dsn)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, target)
    url = url.set(drivername="postgresql+asyncpg")
    if password is not None:
        url = url.set(password=password.value)
    return create_async_engine(
        url,
        pool_size=target.limits.concurrency + CHECKS,
        max_overflow=0,
        pool_timeout=target.limits.timeout_s,
        pool_recycle=_POOL_RECYCLE_S,
        # Intents without a policy are not tried again (R87): a connection that died while it waited must not cost one.
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "timeout": target.limits.timeout_s,
            "server_settings": {"application_name": "onex-mesh"},
        },
    )


def _open_sqlite(url: URL, target: DatabaseTarget) -> AsyncEngine:
    assert url.database is not None
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        pool_size=target.limits.concurrency + CHECKS,
        max_overflow=0,
        pool_timeout=target.limits.timeout_s,
        hide_parameters=True,
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
        # A transaction that reads first and writes later cannot wait for the lock; so writers take it at once.
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine.sync_engine, "connect", on_connect)
    sa.event.listen(engine.sync_engine, "begin", on_begin)
    return engine


def translate(error: Exception, target: str, *, may_repeat: bool = True) -> OnexError:
    """The error of the mesh for one of the database or its driver.

    Args:
        error: What was raised.
        target: Name of the target.
        may_repeat: Whether the same may be tried again; False where a commit without a key may have happened.
    """
    context: dict[str, object] = {"target": target}
    if isinstance(error, PoolTimeoutError):
        return TemporaryDatabaseError(f"no connection to target {target!r} was free", error_context=context)
    if not isinstance(error, DBAPIError):
        known = error if isinstance(error, OSError | asyncio.TimeoutError) else None
        text = "cannot be reached" if known is not None else f"failed: {type(error).__name__}"
        return _unavailable(DatabaseConnectionError(f"database {target!r} {text}", error_context=context), may_repeat)
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    sqlite = getattr(error.orig, "sqlite_errorname", None)
    message = " ".join(str(error.orig).split())[:_MESSAGE_CHARS_MAX]
    if isinstance(state, str):
        context["sqlstate"] = state
    if isinstance(sqlite, str):
        context["sqlite_error"] = sqlite
    if _begins(state, _TEMPORARY_STATES) or _begins(sqlite, _TEMPORARY_SQLITE):
        return TemporaryDatabaseError(f"database {target!r} refused for now: {message}", error_context=context)
    if error.connection_invalidated or _begins(state, _CONNECTION_STATES) or _begins(sqlite, _CONNECTION_SQLITE):
        lost = DatabaseConnectionError(f"database {target!r} cannot be reached: {message}", error_context=context)
        return _unavailable(lost, may_repeat and not _begins(state, _REFUSING_STATES))
    if isinstance(error, IntegrityError):
        return EffectFailedError(f"database {target!r}: a constraint forbids it: {message}", error_context=context)
    return EffectFailedError(f"database {target!r} refused: {message}", error_context=context)


def _unavailable(error: DatabaseConnectionError, may_repeat: bool) -> DatabaseConnectionError:
    error.retryable = may_repeat
    return error


def _begins(code: object, prefixes: tuple[str, ...]) -> bool:
    return isinstance(code, str) and code.startswith(prefixes)

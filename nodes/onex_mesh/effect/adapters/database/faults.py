"""What the errors of databases and their drivers mean (R19)."""

from __future__ import annotations

import enum
import importlib
import re

from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from onex_mesh.runtime.errors import (
    DatabaseConnectionError,
    EffectFailedError,
    OnexError,
    OverloadedError,
    TemporaryDatabaseError,
)


def _driver_errors() -> tuple[type[Exception], ...]:
    """Errors of asyncpg itself: SQLAlchemy lets those through that come while rows are fetched."""
    try:
        exceptions = importlib.import_module("asyncpg.exceptions")
    except ModuleNotFoundError:
        # Without the extra `postgres` there is no PostgreSQL to fail.
        return ()
    return (exceptions.PostgresError, exceptions.InterfaceError)


DATABASE_ERRORS: tuple[type[Exception], ...] = (
    StatementError,
    PoolTimeoutError,
    OSError,
    TimeoutError,
    *_driver_errors(),
)
"""What is translated here. Anything else is a fault of this node, and is reported as one."""

_MESSAGE_CHARS_MAX = 300


class Fault(enum.Enum):
    """What went wrong, seen from what to do about it."""

    CONFLICT = "conflict"
    """The database rolled the transaction back because of another one: the same again may do."""
    STALE = "stale"
    """The tables have changed since the connection prepared its statements: the same again will do."""
    LOST = "lost"
    """The connection is gone. Before COMMIT was sent nothing has happened; after it that is not known."""
    UNREACHABLE = "unreachable"
    """There is no connection to be had."""
    REFUSED = "refused"
    """There is a server, and it lets nobody in under this name, or the file is no database."""
    BUSY = "busy"
    """Locks, limits and timeouts of the database."""
    FULL = "full"
    """All connections of the target are in use."""
    CONSTRAINT = "constraint"
    FORBIDDEN = "forbidden"
    UNBOUND = "unbound"
    """A value could not be handed to the driver."""
    WRONG = "wrong"
    """The database will not do it, now or later."""


# SQLSTATE classes and codes (PostgreSQL documentation, appendix A), and names of SQLite's result codes.
_BY_CODE: tuple[tuple[Fault, tuple[str, ...]], ...] = (
    (Fault.CONFLICT, ("40001", "40P01")),
    (Fault.BUSY, ("55P03", "53", "57014", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_INTERRUPT")),
    # 25006 in a transaction that writes: a server that another one has replaced as the primary.
    (Fault.LOST, ("08", "57P", "25P03", "25006", "SQLITE_IOERR")),
    (Fault.REFUSED, ("28", "3D000", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_READONLY")),
    (Fault.UNREACHABLE, ("SQLITE_CANTOPEN",)),
    (Fault.CONSTRAINT, ("23", "SQLITE_CONSTRAINT")),
    (Fault.FORBIDDEN, ("42501", "SQLITE_AUTH", "SQLITE_PERM")),
)
_WRITES_IN_READ = ("25006", "SQLITE_READONLY")

_CLASS_PREFIX = re.compile(r"^<class '[^']*'>: ")
_DETAIL = re.compile(r"\s+(?:DETAIL|HINT):.*$", re.DOTALL)
_CLIENT_SIDE = re.compile(r"^invalid input for query argument \$\d+")


def fault_of(error: Exception, *, reads: bool = False) -> Fault:
    """What an error of database or driver means.

    Args:
        error: What was raised; one of DATABASE_ERRORS.
        reads: Whether the transaction was opened for reading only.
    """
    if isinstance(error, PoolTimeoutError):
        return Fault.FULL
    if isinstance(error, OSError | TimeoutError):
        return Fault.UNREACHABLE
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return Fault.UNBOUND
    code = _code(error)
    if reads and code.startswith(_WRITES_IN_READ):
        return Fault.WRONG
    for fault, codes in _BY_CODE:
        if code.startswith(codes):
            return fault
    if type(_cause(error)).__name__ == "InvalidCachedStatementError":
        return Fault.STALE
    if _CLIENT_SIDE.match(_text(error)):
        return Fault.UNBOUND
    is_closed = error.connection_invalidated if isinstance(error, DBAPIError) else "closed" in str(error)
    return Fault.LOST if is_closed else Fault.WRONG


def translate(
    error: Exception, fault: Fault, target: str, *, committing: bool = False, has_key: bool = True
) -> OnexError:
    """The error of the mesh for one of the database or its driver. Values and credentials are not in it.

    Args:
        error: What was raised.
        fault: What it means.
        target: Name of the target.
        committing: Whether COMMIT had been sent.
        has_key: Whether a repeat would find out what became of the commit.
    """
    context: dict[str, object] = {"target": target}
    code = _code(error)
    if code:
        context["sqlite_error" if code.startswith("SQLITE") else "sqlstate"] = code
    text = _text(error)
    of = f"database {target!r}"
    match fault:
        case Fault.FULL:
            return OverloadedError(f"{of}: no connection was free in time", error_context=context)
        case Fault.CONFLICT | Fault.STALE | Fault.BUSY:
            return TemporaryDatabaseError(f"{of} refused for now: {text}", error_context=context)
        case Fault.LOST | Fault.UNREACHABLE | Fault.REFUSED:
            is_unknown = committing and fault is not Fault.REFUSED
            problem = "was lost while it committed, and may have done so" if is_unknown else "cannot be reached"
            unavailable = DatabaseConnectionError(f"{of} {problem}: {text}", error_context=context)
            unavailable.retryable = has_key if is_unknown else fault is not Fault.REFUSED
            return unavailable
        case Fault.CONSTRAINT:
            return EffectFailedError(f"{of}: a constraint forbids it: {text}", error_context=context)
        case Fault.FORBIDDEN:
            return EffectFailedError(f"{of}: its user may not do that: {text}", error_context=context)
        case Fault.UNBOUND:
            return EffectFailedError(f"{of}: a value does not fit its column or parameter", error_context=context)
        case Fault.WRONG:
            return EffectFailedError(f"{of} refused: {text}", error_context=context)


def _cause(error: Exception) -> BaseException:
    """The error of the driver."""
    driver = error.orig if isinstance(error, DBAPIError) else None
    return error if driver is None else driver


def _code(error: Exception) -> str:
    """SQLSTATE, or the name of SQLite's result code; empty without one."""
    driver = _cause(error)
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    return code if isinstance(code, str) else ""


def _text(error: Exception) -> str:
    """What the database said, without DETAIL and HINT: these quote rows, also columns that nobody may see."""
    if isinstance(error, StatementError | OSError | TimeoutError) and not isinstance(error, DBAPIError):
        return type(error).__name__
    said = _DETAIL.sub("", _CLASS_PREFIX.sub("", str(_cause(error))))
    return " ".join(said.split())[:_MESSAGE_CHARS_MAX]

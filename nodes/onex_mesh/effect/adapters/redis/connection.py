"""Connections to a Redis server: a pool, and what its answers mean."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis.exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from onex_mesh.effect.adapters.http.tls import ssl_context
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.redis import RedisServer
from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

_CONNECT_S = 2.0
_ANSWER_CHARS_MAX = 300
# Refusals that pass, and the server did nothing: by class where the library has one, else by their first word.
_PASSING_CLASSES = (
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
)
_PASSING_WORDS = ("BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED")


def open_redis(name: str, server: RedisServer, environment: Mapping[str, str], *, connections_max: int) -> Redis:
    """A client with a pool of its own; it connects when it is used. Answers are bytes.

    Args:
        name: Name of the target.
        server: Where it is and how to log in.
        environment: The variables that hold credentials.
        connections_max: How many connections at most; more are refused, so as many as there are calls at once.

    Raises:
        ValidationError: A credential is missing, or a file cannot be used.
    """
    password = read_secret(name, server.password_env, server.password_file, environment)
    pool: ConnectionPool = ConnectionPool(
        connection_class=Connection if server.tls is None else SSLConnection,
        max_connections=connections_max,
        host=server.host,
        port=server.port,
        db=server.db,
        username=server.username,
        password=None if password is None else password.value,
        client_name="onex-mesh",
        protocol=2,
        socket_connect_timeout=_CONNECT_S,
        # The engine ends what takes too long; a blocking read may take as long as it says.
        socket_timeout=None,
        socket_keepalive=True,
        # Whether something may be done again is not the library's to decide.
        retry=Retry(NoBackoff(), 0),
        **({} if server.tls is None else _tls(name, server.tls)),
    )
    return Redis.from_pool(pool)


def open_cluster(
    name: str, server: RedisServer, environment: Mapping[str, str], *, connections_max: int
) -> RedisCluster:
    """As `open_redis`, for a server that belongs to a cluster. The connections are counted for each of its nodes."""
    password = read_secret(name, server.password_env, server.password_file, environment)
    return RedisCluster(
        host=server.host,
        port=server.port,
        max_connections=connections_max,
        username=server.username,
        password=None if password is None else password.value,
        client_name="onex-mesh",
        protocol=2,
        socket_connect_timeout=_CONNECT_S,
        socket_timeout=None,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        **({} if server.tls is None else {"ssl": True, **_tls(name, server.tls)}),
    )


@contextmanager
def translated(target: str, *, may_repeat: bool) -> Iterator[None]:
    """Errors of the library as those of the mesh.

    Args:
        target: Name of the target.
        may_repeat: Whether something whose outcome is unknown may be done again.
    """
    try:
        yield
    except (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError, TimeoutError) as error:
        raise _meaning(error, target, may_repeat) from error


def _meaning(error: Exception, target: str, may_repeat: bool) -> OnexError:
    context: dict[str, object] = {"target": target}
    text = _said(error)
    word = text.partition(" ")[0]
    match error:
        case redis.exceptions.AuthenticationError() | redis.exceptions.AuthorizationError():
            return EffectFailedError(f"{target!r} refused the credentials", error_context=context)
        case redis.exceptions.NoPermissionError():
            return EffectFailedError(f"{target!r} does not permit this", error_context=context)
        case redis.exceptions.MaxConnectionsError():
            return TargetUnavailableError(f"{target!r}: all connections are in use", error_context=context)
        case _ if isinstance(error, _PASSING_CLASSES):
            return TargetUnavailableError(f"{target!r} cannot now: {type(error).__name__}", error_context=context)
        case redis.exceptions.MovedError() | redis.exceptions.AskError():
            return EffectFailedError(f"{target!r} is a cluster, and the key is on another node", error_context=context)
        case redis.exceptions.ResponseError():
            if word in ("NOAUTH", "WRONGPASS", "NOPERM"):
                return EffectFailedError(f"{target!r} refused the credentials: {word}", error_context=context)
            kind = TargetUnavailableError if word in _PASSING_WORDS else EffectFailedError
            return kind(f"{target!r} answered {text}"[:_ANSWER_CHARS_MAX], error_context=context)
    if (distrust := _distrust(error)) is not None:
        text = f"the certificate of {target!r} is not trusted: {distrust.verify_message}"
        return EffectFailedError(text, error_context=context)
    unavailable = TargetUnavailableError(
        f"{target!r} cannot be reached or broke off: {type(error).__name__}", error_context=context
    )
    unavailable.retryable = may_repeat
    return unavailable


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What the library made a failed connection of."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _said(error: Exception) -> str:
    """What the server said. For a command of a transaction the library puts the command before it, data and all."""
    return str(error).rpartition("of pipeline caused error: ")[2].strip("()',\"")


def _tls(name: str, tls: Tls) -> dict[str, Any]:  # the pool takes settings of all types and hands them on
    ssl_context(name, tls)  # says at the start what is wrong with the files
    return {
        "ssl_ca_certs": None if tls.ca_file is None else str(tls.ca_file),
        "ssl_certfile": None if tls.certificate_file is None else str(tls.certificate_file),
        "ssl_keyfile": None if tls.key_file is None else str(tls.key_file),
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
    }

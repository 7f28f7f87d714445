"""Connections to NATS servers: made when needed, made anew after they broke; whoever waits on one learns at once."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from onex_mesh.effect.adapters.http.tls import ssl_context
from onex_mesh.effect.adapters.nats.failures import ConnectionLostError, translated
from onex_mesh.effect.adapters.nats.login import Login, read_login
from onex_mesh.effect.core.kinds.nats import NatsServers
from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.runtime.errors import TargetUnavailableError

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CONNECT_S = 2
_PING_S = 5
_PINGS_MISSED_MAX = 2
_CLOSE_S = 2.0


class NatsLink:
    """One connection that stands. It ends for good when it breaks; `NatsConnection.link` makes the next."""

    def __init__(self, name: str, client: Client, domain: str | None, timeout_s: float) -> None:
        self._name = name
        self.client = client
        self.jetstream: JetStreamContext = client.jetstream(domain=domain, timeout=timeout_s)
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[str, set[asyncio.Future[Exception]]] = {}

    @property
    def is_up(self) -> bool:
        """Whether it can be used."""
        return self.client.is_connected and not self._lost.done()

    async def answered(self, asking: Coroutine[Any, Any, T], *, subject: str = "") -> T:
        """The answer to a request; cancelling this takes the request back.

        Args:
            asking: The request, a call of `client` or `jetstream`.
            subject: Where it goes; the server's refusal of that subject ends the wait.

        Raises:
            ConnectionLostError: The connection broke before the answer was there.
            nats.errors.Error: The server refused, or the library did.
        """
        refusal: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(subject.lower(), set())
        waiting.add(refusal)
        task = asyncio.ensure_future(asking)
        ends: set[asyncio.Future[Any]] = {task, self._lost, refusal}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise refusal.result() if refusal.done() else ConnectionLostError("the connection broke")
        finally:
            waiting.discard(refusal)
            if not waiting:
                self._waiting.pop(subject.lower(), None)
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def closed(self) -> None:
        """Called by the library when the connection is over."""
        if not self._lost.done():
            self._lost.set_result(None)

    async def complained(self, error: Exception) -> None:
        """Called by the library for what the server says out of turn, such as that a permission is missing."""
        log.info("a NATS connection reports an error", target=self._name, error=type(error).__name__)
        text = str(error).lower()
        if "permissions violation" in text:
            for subject, waiting in self._waiting.items():
                if subject and f'"{subject}"' in text:
                    for refusal in waiting:
                        if not refusal.done():
                            refusal.set_result(error)


class _SafeClient(Client):
    """The library's client, which would send credentials in plain text where a server does not offer TLS."""

    def _connect_command(self) -> bytes:
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


class NatsConnection:
    """A connection to the servers of one target, shared by all that goes on there."""

    def __init__(
        self,
        name: str,
        servers: NatsServers,
        environment: Mapping[str, str],
        *,
        domain: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """A connection; nothing is opened yet.

        Args:
            name: Name of the target.
            servers: Where they are and how to log in.
            environment: The variables that hold credentials.
            domain: The JetStream domain.
            timeout_s: How long an answer of JetStream is awaited.

        Raises:
            ValidationError: A credential is missing, or a file cannot be used.
            ModuleNotFoundError: The package that signs with nkeys is missing.
        """
        self._name = name
        self._servers = servers
        self._domain = domain
        self._timeout_s = timeout_s
        self._login: Login = read_login(name, servers, environment)
        wants_tls = servers.tls is not None or any(server.startswith("tls:") for server in servers.servers)
        self._tls: ssl.SSLContext | None = ssl_context(name, servers.tls or Tls()) if wants_tls else None
        self._link: NatsLink | None = None
        self._connecting = asyncio.Lock()
        self._is_closed = False

    async def link(self) -> NatsLink:
        """The connection, made where there is none.

        Raises:
            TargetUnavailableError: No server can be reached, or the connection was closed here.
            EffectFailedError: The servers refuse the credentials, or cannot be trusted.
        """
        if self._link is not None and self._link.is_up:
            return self._link
        async with self._connecting:
            if self._is_closed:
                raise TargetUnavailableError(f"{self._name!r} was closed", error_context={"target": self._name})
            if self._link is None or not self._link.is_up:
                await self._drop()
                self._link = await self._connect()
            return self._link

    async def close(self) -> None:
        """Closes the connection for good."""
        self._is_closed = True
        async with self._connecting:
            await self._drop()

    async def _connect(self) -> NatsLink:
        client = _SafeClient()
        link = NatsLink(self._name, client, self._domain, self._timeout_s)
        try:
            with translated(self._name, may_repeat=True):
                await client.connect(
                    servers=list(self._servers.servers),
                    name=f"onex-mesh {self._name}",
                    # The library's own reconnecting would keep messages for a server that may never come back, and
                    # send them long after their effect was reported as failed.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_CONNECT_S,
                    ping_interval=_PING_S,
                    max_outstanding_pings=_PINGS_MISSED_MAX,
                    error_cb=link.complained,
                    closed_cb=link.closed,
                    disconnected_cb=link.closed,
                    tls=self._tls,
                    user=self._login.user,
                    password=self._login.password,
                    token=self._login.token,
                    nkeys_seed_str=self._login.nkey_seed,
                    user_credentials=self._login.creds,
                )
                if not client.is_connected:
                    raise ConnectionLostError("the server hung up")
        except BaseException:
            await _closed(client)
            raise
        return link

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await _closed(link.client)


async def _closed(client: Client) -> None:
    """Closes a client, whatever state it is in."""
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
        # What is broken already cannot be closed in good order; its socket ends in any case.
        async with asyncio.timeout(_CLOSE_S):
            await client.close()

"""Connections of one target: over a checked network, with HTTP/1.1 or HTTP/2 as the operator says."""

from __future__ import annotations

import asyncio
import ssl

import httpcore
import httpx
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from onex_mesh.effect.core.kinds.http import HttpTarget

_RESET_TIMEOUT_S = 1.0
_KEEPALIVE_S = 30.0
_ALPN = {"http1": ["http/1.1"], "http2": ["h2"], "negotiate": ["h2", "http/1.1"]}


class CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over the pool below."""

    def __init__(
        self, target: HttpTarget, backend: httpcore.AsyncNetworkBackend, ssl_context: ssl.SSLContext | None
    ) -> None:
        super().__init__(verify=ssl_context or False, trust_env=False)
        # httpx has no parameter for a network of one's own; the tests for addresses would notice if this had no effect.
        self._pool = _Pool(target, backend, ssl_context)


class _Pool(httpcore.AsyncConnectionPool):
    """A pool whose connections are those below."""

    def __init__(
        self, target: HttpTarget, backend: httpcore.AsyncNetworkBackend, ssl_context: ssl.SSLContext | None
    ) -> None:
        concurrency = target.limits.concurrency
        super().__init__(
            # One more than there are calls: a busy target must not look unwell because its check found none free.
            max_connections=concurrency + 1,
            max_keepalive_connections=concurrency,
            keepalive_expiry=_KEEPALIVE_S,
        )
        self._target = target
        self._backend = backend
        self._context = ssl_context
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(_ALPN[target.protocol])

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """A connection that is made when its first request comes."""
        return _Connection(origin, self._target, self._backend, self._context)


class _Connection(httpcore.AsyncConnectionInterface):
    """A connection to one origin; what it speaks is known once it stands."""

    def __init__(
        self,
        origin: httpcore.Origin,
        target: HttpTarget,
        backend: httpcore.AsyncNetworkBackend,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._origin = origin
        self._target = target
        self._backend = backend
        self._context = ssl_context
        self._connecting = asyncio.Lock()
        self._failed = False
        self._speaking: httpcore.AsyncConnectionInterface | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends a request; connects before the first one."""
        async with self._connecting:
            if self._failed:
                raise httpcore.ConnectionNotAvailable
            if self._speaking is None:
                try:
                    self._speaking = await self._connect()
                except BaseException:
                    self._failed = True
                    raise
        return await self._speaking.handle_async_request(request)

    async def _connect(self) -> httpcore.AsyncConnectionInterface:
        try:
            async with asyncio.timeout(self._target.connect_timeout_s):
                stream = await self._stream()
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        tls = stream.get_extra_info("ssl_object")
        protocol = self._target.protocol
        is_http2 = protocol == "http2" if tls is None else tls.selected_alpn_protocol() == "h2"
        if protocol == "http2" and not is_http2:
            await stream.aclose()
            raise httpcore.ConnectError("the server does not offer HTTP/2")
        if is_http2:
            return _Http2Connection(self._origin, stream, _KEEPALIVE_S)
        return httpcore.AsyncHTTP11Connection(self._origin, stream, _KEEPALIVE_S)

    async def _stream(self) -> httpcore.AsyncNetworkStream:
        host = self._origin.host.decode("ascii")
        stream = await self._backend.connect_tcp(host, self._origin.port, self._target.connect_timeout_s)
        if self._context is None:
            return stream
        try:
            # The name, not the address: it is what the certificate is for.
            return await stream.start_tls(self._context, server_hostname=host)
        except BaseException:
            await stream.aclose()
            raise

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        """Whether it goes there."""
        return origin == self._origin

    def is_available(self) -> bool:
        """Whether it takes another request now."""
        if self._speaking is None:
            # It may become HTTP/2, which many share. If not, the pool assigns those who waited anew.
            return self._may_be_http2() and not self._failed
        return self._speaking.is_available()

    def has_expired(self) -> bool:
        """Whether it was idle for too long or was closed by the server."""
        return self._failed if self._speaking is None else self._speaking.has_expired()

    def is_idle(self) -> bool:
        """Whether no request uses it."""
        return self._failed if self._speaking is None else self._speaking.is_idle()

    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._failed if self._speaking is None else self._speaking.is_closed()

    def info(self) -> str:
        """For people."""
        return "connecting" if self._speaking is None else self._speaking.info()

    async def aclose(self) -> None:
        """Closes it."""
        if self._speaking is not None:
            await self._speaking.aclose()

    def _may_be_http2(self) -> bool:
        return self._target.protocol != "http1" and (self._context is not None or self._target.protocol == "http2")


class _Http2Connection(httpcore.AsyncHTTP2Connection):
    """HTTP/2 in which a request that is given up is told to the server.

    httpcore only forgets such a stream: the server would go on sending, and what it sends would never be acknowledged
    and fill the window that all streams of the connection share. A connection on which a request got no answer at all
    takes no further ones, as the server may be gone without a word; what is under way on it goes on.
    """

    async def _response_closed(self, stream_id: int) -> None:
        stream = self._h2_state.streams.get(stream_id)
        if stream is not None and stream.open and not self._connection_error:
            try:
                self._h2_state.reset_stream(stream_id, ErrorCodes.CANCEL)
                async with asyncio.timeout(_RESET_TIMEOUT_S), self._write_lock:
                    await self._network_stream.write(self._h2_state.data_to_send())
            except (httpcore.WriteError, ProtocolError, TimeoutError):
                # The connection is gone, and with it all its streams; nobody gets it any more.
                self._connection_error = True
            if not stream.state_machine.headers_received:
                self._used_all_stream_ids = True
        await super()._response_closed(stream_id)

"""A real HTTP/2 server that does what a test tells it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from tests.http_server import Request


@dataclass(slots=True)
class Stream:
    """One request and the stream that it came on."""

    request: Request
    stream_id: int
    _state: H2Connection
    _writer: asyncio.StreamWriter

    async def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answers; header names with '_' for '-'."""
        await self.begin(status, **headers)
        await self.send(body, end=True)

    async def begin(self, status: int, **headers: str) -> None:
        """Sends the headers."""
        rows = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in headers.items())]
        self._state.send_headers(self.stream_id, rows)
        await self._flush()

    async def send(self, data: bytes, *, end: bool = False) -> None:
        """Sends some of the body, as far as the client's window allows."""
        self._state.send_data(self.stream_id, data, end_stream=end)
        await self._flush()

    @property
    def window_bytes(self) -> int:
        """How much the client takes now."""
        return min(self._state.local_flow_control_window(self.stream_id), self._state.max_outbound_frame_size)

    async def reset(self, code: ErrorCodes) -> None:
        """Ends the stream without an answer."""
        self._state.reset_stream(self.stream_id, code)
        await self._flush()

    async def go_away(self, last_stream_id: int) -> None:
        """Ends the connection; says up to which stream requests were looked at."""
        self._state.close_connection(last_stream_id=last_stream_id)
        await self._flush()
        self._writer.close()

    async def nonsense(self) -> None:
        """Sends headers that are none."""
        self._writer.write(b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff")
        await self._writer.drain()

    async def _flush(self) -> None:
        self._writer.write(self._state.data_to_send())
        await self._writer.drain()


Http2Script = Callable[[Stream], Awaitable[None]]


@dataclass(slots=True)
class Http2Server:
    """A server; each request is answered by the script, those of one connection side by side."""

    script: Http2Script
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    resets: list[tuple[int, int]] = field(default_factory=list)
    """Streams that clients gave up, with the code."""
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Http2Server:
        if self.tls is not None:
            self.tls.set_alpn_protocols(["h2"])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        state = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        writer.write(state.data_to_send())
        streams: dict[int, Stream] = {}
        try:
            while data := await reader.read(65_536):
                for event in state.receive_data(data):
                    self._take(event, state, writer, streams)
                writer.write(state.data_to_send())
                await writer.drain()
        except (ConnectionError, ProtocolError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _take(
        self, event: Event, state: H2Connection, writer: asyncio.StreamWriter, streams: dict[int, Stream]
    ) -> None:
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers or []}
            request = Request(headers.pop(":method"), headers.pop(":path"), headers, b"")
            streams[event.stream_id or 0] = Stream(request, event.stream_id or 0, state, writer)
        elif isinstance(event, DataReceived):
            stream = streams[event.stream_id or 0]
            old = stream.request
            stream.request = Request(old.method, old.target, old.headers, old.body + (event.data or b""))
            state.acknowledge_received_data(event.flow_controlled_length or 0, stream.stream_id)
        elif isinstance(event, StreamReset):
            self.resets.append((event.stream_id or 0, int(event.error_code or 0)))
        elif isinstance(event, StreamEnded):
            stream = streams[event.stream_id or 0]
            self.requests.append(stream.request)
            task = asyncio.create_task(self._run(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, stream: Stream) -> None:
        try:
            await self.script(stream)
        except (ConnectionError, ProtocolError, asyncio.CancelledError):
            return

"""A real HTTP server that does what a test tells it, also what no server should."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came over the wire."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Exchange:
    """What a script works with: the request, and the writer of the connection."""

    request: Request
    writer: asyncio.StreamWriter

    async def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answers; header names with '_' for '-'."""
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    def reset(self) -> None:
        """Breaks the connection without an answer."""
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class HttpServer:
    """A server; each request is answered by the script."""

    script: Script
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    connections: int = 0
    """How many were made so far."""
    closed: int = 0
    """How many of them are over."""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> HttpServer:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Its base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            while request := await _read(reader):
                self.requests.append(request)
                await self.script(Exchange(request, writer))
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()
            self.closed += 1


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")[:-2]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ", 2)
    return Request(method, target, headers, body)


def in_turn(*scripts: Script) -> Script:
    """One script after the other; the last one again and again."""
    remaining = list(scripts)

    async def run(exchange: Exchange) -> None:
        script = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        await script(exchange)

    return run


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """A script that answers."""

    async def run(exchange: Exchange) -> None:
        await exchange.reply(status, body, **headers)

    return run

"""A TCP proxy that loses connections when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class TcpProxy:
    """Forwards connections to an endpoint, until told to swallow or cut.

    Attributes:
        reached: Set once the bytes that were waited for have come by.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._marker: bytes | None = None
        self._deliver_marker = True
        self._mute = False
        self._refuse = False
        self.reached = asyncio.Event()

    @property
    def endpoint(self) -> str:
        """Where it listens, "host:port"."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> TcpProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose_reply_to(self, marker: bytes) -> None:
        """Forwards the next request that contains `marker`, but no answer after it; sets `reached`. Then `cut`."""
        self._marker, self._deliver_marker = marker, True
        self.reached.clear()

    def lose_request(self, marker: bytes) -> None:
        """Swallows the next request that contains `marker` and cuts every connection; sets `reached`."""
        self._marker, self._deliver_marker = marker, False
        self.reached.clear()

    def cut(self) -> None:
        """Cuts every connection. New ones are forwarded as ever."""
        self._mute = False
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool) -> None:
        """Cuts every connection, and every new one while `refusing`."""
        self._refuse = refusing
        if refusing:
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for pump in (self._requests(reader, far_writer), self._answers(far_reader, writer)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if self._marker is not None and self._marker in data:
                    self._marker = None
                    self.reached.set()
                    if not self._deliver_marker:
                        self.cut()
                        break
                    self._mute = True
                writer.write(data)
                await writer.drain()
        self._close(writer)

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if not self._mute:
                    writer.write(data)
                    await writer.drain()
        self._close(writer)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()

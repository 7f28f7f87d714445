"""A TCP proxy that holds a request on its way to the server, or the server's answer on its way back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

_READ_BYTES = 1 << 20


class HoldingProxy:
    """Forwards connections to a server on loopback.

    Attributes:
        held: Set once what was asked for is held.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._marker: bytes | None = None
        self._holds_answer = False
        self._holds_every = False
        self._refusing = False
        self._go = asyncio.Event()
        self.held = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> HoldingProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold_request(self, marker: bytes) -> None:
        """Holds the next request with a marker, and what follows it, before it reaches the server."""
        self._arm(marker, holds_answer=False)

    def hold_every_request(self, marker: bytes) -> None:
        """Holds all requests with a marker, on whatever connection."""
        self._arm(marker, holds_answer=False)
        self._holds_every = True

    def hold_answer(self, marker: bytes) -> None:
        """Lets the next request with a marker pass and holds what the server answers to it."""
        self._arm(marker, holds_answer=True)

    def release(self) -> None:
        """Lets go what is held; nothing more is held."""
        self._marker = None
        self._go.set()

    def refuse(self, refusing: bool) -> None:
        """Cuts every connection, and every new one while `refusing`: as if the server were down."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def cut(self) -> None:
        """Cuts every connection; what is held is dropped, and nothing more is held."""
        self._marker = None
        for writer in list(self._writers):
            writer.transport.abort()

    def _arm(self, marker: bytes, *, holds_answer: bool) -> None:
        self._marker, self._holds_answer, self._holds_every = marker, holds_answer, False
        self.held.clear()
        self._go = asyncio.Event()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        pair = _Pair()
        requests = _Pump(reader, far_writer, lambda data: self._see_request(pair, data))
        answers = _Pump(far_reader, writer, lambda data: self._see_answer(pair))
        for work in (requests, answers):
            task = asyncio.create_task(work.run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _, w=work.writer: self._writers.discard(w))

    def _see_request(self, pair: _Pair, data: bytes) -> asyncio.Event | None:
        """What the data has to wait for."""
        pair.seen = (pair.seen + data)[-(len(data) + 4_096) :]
        if self._marker is None or self._marker not in pair.seen:
            return None
        pair.seen = b""
        if not self._holds_every:
            self._marker = None
        if self._holds_answer:
            pair.answer_waits_for = self._go
            return None
        self.held.set()
        return self._go

    def _see_answer(self, pair: _Pair) -> asyncio.Event | None:
        if pair.answer_waits_for is not None:
            self.held.set()
        return pair.answer_waits_for


class _Pair:
    """One connection, both ways."""

    def __init__(self) -> None:
        self.seen = b""
        """The end of what was requested: a marker may come in two pieces."""
        self.answer_waits_for: asyncio.Event | None = None


class _Pump:
    """One direction of a connection. While data waits the next is read, so that an end of the connection is seen."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        see: Callable[[bytes], asyncio.Event | None],
    ) -> None:
        self._reader = reader
        self.writer = writer
        self._see = see
        self._waits_for: asyncio.Event | None = None
        self._waiting: list[bytes] = []

    async def run(self) -> None:
        """Until either side ends."""
        with contextlib.suppress(ConnectionError):
            reading = asyncio.ensure_future(self._reader.read(_READ_BYTES))
            try:
                while True:
                    await self._readable(reading)
                    await self._flush()
                    if not reading.done():
                        continue
                    data = reading.result()
                    if not data:
                        break
                    self._waits_for = self._see(data) or self._waits_for
                    self._waiting.append(data)
                    await self._flush()
                    reading = asyncio.ensure_future(self._reader.read(_READ_BYTES))
            finally:
                reading.cancel()
        self.writer.close()

    async def _readable(self, reading: asyncio.Future[bytes]) -> None:
        """Returns when there is data, or what waits may go."""
        if self._waits_for is None:
            await asyncio.wait({reading})
            return
        going = asyncio.ensure_future(self._waits_for.wait())
        await asyncio.wait({reading, going}, return_when=asyncio.FIRST_COMPLETED)
        going.cancel()

    async def _flush(self) -> None:
        if self._waits_for is not None and not self._waits_for.is_set():
            return
        self._waits_for = None
        while self._waiting:
            self.writer.write(self._waiting.pop(0))
        await self.writer.drain()

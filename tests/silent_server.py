"""A real HTTP server that takes requests and never answers them; it notices when its clients hang up."""

from __future__ import annotations

import asyncio


class SilentServer:
    """See the module; an async context manager."""

    def __init__(self) -> None:
        self.requests = 0
        """Requests that came."""
        self.hung_up = 0
        """Clients that closed their connection without an answer."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> SilentServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # A health check connects and says nothing.
            if not (await reader.read(65_536)):
                return
            self.requests += 1
            while await reader.read(65_536):
                continue
            self.hung_up += 1
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up += 1
        finally:
            self._tasks.discard(task)
            writer.close()

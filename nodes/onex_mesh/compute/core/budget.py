"""A number of bytes that is shared out, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """See the module.

    Args:
        total_bytes: What there is.
    """

    def __init__(self, total_bytes: int) -> None:
        self._free_bytes = total_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> None:
        """Takes a share, which is no larger than the whole, as soon as there is room; none passes another one by."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size_bytes, granted))
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():
                self.give_back(size_bytes)
            self._grant()
            raise

    def give_back(self, size_bytes: int) -> None:
        """Gives a share back."""
        self._free_bytes += size_bytes
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size_bytes, granted = self._waiting[0]
            if not granted.cancelled():
                if size_bytes > self._free_bytes:
                    return
                self._free_bytes -= size_bytes
                granted.set_result(None)
            self._waiting.popleft()

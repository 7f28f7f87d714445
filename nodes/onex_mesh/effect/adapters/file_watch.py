"""Tells when files may have changed: by the kernel's word where watchfiles is installed, and by the clock."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

log = structlog.get_logger(__name__)

POLL_S = 2.0
"""How often to look where nothing else tells."""
_WATCHED_POLL_S = 10.0
"""How often to look although the kernel tells: it says nothing of changes on network file systems."""


class FileWatch:
    """Wakes whoever waits when one of some files may have changed. It may wake for nothing; whoever is woken looks."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._folders: frozenset[Path] = frozenset()
        self._watching: asyncio.Task[None] | None = None
        self._is_installed = importlib.util.find_spec("watchfiles") is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end()

    def wake(self) -> None:
        """Wakes whoever waits."""
        self._wake.set()

    async def changed(self, paths: Collection[Path]) -> None:
        """Returns when one of the paths may have changed, and at once where it has only begun to watch them."""
        folders = frozenset(path if path.is_dir() else path.parent for path in paths)
        if self._is_installed and folders != self._folders:
            await self._begin(folders)
            return
        # Where watching broke off, perhaps because a folder went away, the clock has to do.
        is_told = self._watching is not None and not self._watching.done()
        try:
            async with asyncio.timeout(_WATCHED_POLL_S if is_told else POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()

    async def _begin(self, folders: frozenset[Path]) -> None:
        await self._end()
        self._folders = folders
        self._watching = asyncio.create_task(_wake_on_change(folders, self._wake.set), name="target-file-watch")
        # Its first step asks the kernel; whoever looks after this misses nothing.
        await asyncio.sleep(0)

    async def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None


async def _wake_on_change(folders: frozenset[Path], wake: Callable[[], None]) -> None:
    from watchfiles import awatch

    try:
        async for _ in awatch(*folders, watch_filter=None, debounce=400, recursive=False):
            wake()
    except (OSError, RuntimeError) as error:
        log.warning("the folders of the targets file cannot be watched; they are looked at instead", why=str(error))
        wake()

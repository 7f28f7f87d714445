"""The file of targets while the node runs: looked at again when it may have changed, taken over where it is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from onex_mesh.effect.adapters.file_watch import FileWatch
from onex_mesh.effect.core.fingerprint import look
from onex_mesh.effect.core.health import Finding
from onex_mesh.effect.core.roster import Changes
from onex_mesh.effect.core.target_file import TargetFile
from onex_mesh.effect.core.targets import AuditSettings
from onex_mesh.runtime.errors import OnexError

log = structlog.get_logger(__name__)

_SETTLE_S = 0.1
"""A file that still changes within this time is being written."""
_APPLY_S = 120.0
_PROBLEM_CHARS_MAX = 500


class Reloading:
    """Keeps the open targets at what the file says.

    A file that is wrong changes nothing: the targets stay as they were, the log says why with file and line, and the
    node is degraded until the file is right.

    Args:
        path: The file.
        current: What it declared when the node started.
        read: Reads it.
        require_audit: Finds out whether audit records could be written as a file says.
        apply: Has the targets of a file open, and no others.
        applied: Called after each file that took effect.
    """

    def __init__(
        self,
        path: Path,
        current: TargetFile,
        read: Callable[[], TargetFile],
        require_audit: Callable[[AuditSettings], Awaitable[None]],
        apply: Callable[[TargetFile], Awaitable[Changes]],
        applied: Callable[[TargetFile, Changes], Awaitable[None]],
    ) -> None:
        self._path = path
        self._current = current
        self._attempted = current
        self._read = read
        self._require_audit = require_audit
        self._apply = apply
        self._applied = applied
        self._watch = FileWatch()
        # Nothing yet: the file may have changed since it was read, so it is read once more when the watch has begun.
        self._seen: dict[Path, bytes] = {}
        self._is_asked = False
        self.problem = ""
        """Why the file that is there is not in force; empty where it is."""

    def ask(self) -> None:
        """Has the file read again at once, whether it changed or not. Returns without waiting."""
        self._is_asked = True
        self._watch.wake()

    def finding(self) -> Finding | None:
        """What the node's health says of the file; None if all is well."""
        return Finding("targets file", False, self.problem) if self.problem else None

    async def run(self) -> None:
        """Looks for changes until it is cancelled."""
        async with self._watch:
            while True:
                await self._watch.changed(self._paths())
                try:
                    await self._follow()
                except Exception as error:  # whatever went wrong must not end the watch
                    log.error("the file of targets could not be reloaded", exc_info=error)
                    self.problem = f"{self._path}: reloading failed: {type(error).__name__}"

    async def _follow(self) -> None:
        """Reads the file if it changed or somebody asked."""
        seen = await self._look()
        if seen == self._seen and not self._is_asked:
            return
        before: dict[Path, bytes] = {}
        while seen != before:
            before = seen
            await asyncio.sleep(_SETTLE_S)
            seen = await self._look()
        self._is_asked = False
        # What changes from here on is another change: it is compared with what was there before the file was read.
        self._seen = seen
        await self._reload()

    async def _reload(self) -> None:
        try:
            file = await asyncio.to_thread(self._read)
            self._attempted = file
            self._seen = {**await self._look(), **self._seen}
            async with asyncio.timeout(_APPLY_S):
                await self._require_audit(file.audit)
                changes = await self._apply(file)
        except OnexError as error:
            self._refuse(error.message)
        except TimeoutError:
            self._refuse(f"{self._path}: the targets did not open within {_APPLY_S:g} s")
        else:
            self._current = file
            if self.problem:
                log.info("the file of targets is right again", path=str(self._path))
            self.problem = ""
            if changes:
                log.info(
                    "the targets were reloaded",
                    path=str(self._path),
                    added=list(changes.added),
                    changed=list(changes.changed),
                    removed=list(changes.removed),
                )
            await self._applied(file, changes)

    def _refuse(self, why: str) -> None:
        log.error("the new file of targets is not taken over; the targets stay as they were", why=why)
        self.problem = why if len(why) <= _PROBLEM_CHARS_MAX else f"{why[: _PROBLEM_CHARS_MAX - 1]}…"

    def _paths(self) -> frozenset[Path]:
        files = (self._current, self._attempted)
        by_targets = {path for file in files for row in file.targets.values() for path in row.refers_to()}
        by_subscriptions = {path for file in files for row in file.subscriptions.values() for path in row.refers_to()}
        return frozenset({self._path, *by_targets, *by_subscriptions})

    async def _look(self) -> dict[Path, bytes]:
        paths = self._paths()
        return await asyncio.to_thread(lambda: {path: look(path) for path in paths})

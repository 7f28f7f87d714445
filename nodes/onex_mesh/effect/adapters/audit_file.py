"""Audit records as JSON lines in a file and in the log (R11), written behind the effects, in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog

from onex_mesh.effect.adapters.audit_lines import LineFile, facts, line
from onex_mesh.effect.core.targets import AuditSettings
from onex_mesh.effect.ports import AuditRecord
from onex_mesh.runtime.errors import OverloadedError, TargetUnavailableError, ValidationError

log = structlog.get_logger("onex_mesh.audit")

_RECORDS_WAITING_MAX = 20_000
_BATCH_MAX = 500
_Result = TypeVar("_Result")


class AuditFile:
    """Takes records and writes them every `flush_interval_s`, and when it stops.

    A crash of the process loses at most the records of that time. If the file cannot be written, records wait; once
    too many do, effects are refused: nothing happens that leaves no trace.
    """

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._file = _file_of(settings)
        self._waiting: deque[AuditRecord] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._stopping = False
        self._problem = ""
        # Its own: formatting and a slow disk must not hold up effects, nor must slow effects hold up the records.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    async def start(self) -> None:
        """Begins to write.

        Raises:
            ValidationError: The file cannot be opened.
        """
        await self.require_writable(self._settings)
        self._writer = asyncio.create_task(self._write_forever(), name="audit-writer")

    async def require_writable(self, settings: AuditSettings) -> None:
        """Opens the file that the settings name, and makes it where it is missing.

        Raises:
            ValidationError: That cannot be done.
        """
        problem = await self._in_thread(lambda: _problem_of(settings))
        if problem:
            text = f"the audit file cannot be opened: {settings.path}: {problem}"
            raise ValidationError(text, violations=(("audit.path", text),))

    async def use(self, settings: AuditSettings) -> None:
        """Writes elsewhere, or in another way, from the next batch on."""
        if settings == self._settings:
            return
        await self.flush()
        async with self._writing:
            self._settings = settings
            self._file = _file_of(settings)

    def require_room(self) -> None:
        """See `onex_mesh.effect.ports.AuditLog`."""
        if len(self._waiting) >= _RECORDS_WAITING_MAX:
            raise OverloadedError(
                f"{len(self._waiting)} audit records cannot be written: {self._problem}",
                error_context={"records_waiting": len(self._waiting)},
            )

    def add(self, record: AuditRecord) -> None:
        """See `onex_mesh.effect.ports.AuditLog`."""
        self._waiting.append(record)
        if len(self._waiting) == 1:
            self._wake.set()

    async def flush(self) -> None:
        """Writes what waits; what cannot be written goes on waiting."""
        async with self._writing:
            while self._waiting:
                batch = list(islice(self._waiting, _BATCH_MAX))
                written, problem = await self._in_thread(partial(self._write, batch))
                for _ in range(written):
                    self._waiting.popleft()
                if problem and not self._problem:
                    log.error("the audit file cannot be written", path=str(self._settings.path), why=problem)
                self._problem = problem
                if problem:
                    return

    async def check(self) -> None:
        """Whether records can be written.

        Raises:
            TargetUnavailableError: They cannot.
        """
        if self._problem:
            raise TargetUnavailableError(f"the audit file cannot be written: {self._problem}")

    async def stop(self) -> None:
        """Writes the rest."""
        self._stopping = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self.flush()
        if self._file is not None:
            await self._in_thread(self._file.sync)
        self._thread.shutdown(wait=False)

    async def _write_forever(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            if not self._stopping:
                await asyncio.sleep(self._settings.flush_interval_s)
            await self.flush()
            if self._waiting:
                self._wake.set()

    def _write(self, batch: list[AuditRecord]) -> tuple[int, str]:
        """Writes records; returns how many were written, and why the others were not."""
        rows = [facts(record) for record in batch]
        written, problem = len(batch), ""
        if self._file is not None:
            written, problem = self._file.append([line(record, row) for record, row in zip(batch, rows, strict=True)])
        if self._settings.log:
            for row in rows[:written]:
                write = log.warning if row["outcome"] == "failed" else log.info
                write("effect", **row)
        return written, problem

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _file_of(settings: AuditSettings) -> LineFile | None:
    return None if settings.path is None else LineFile(settings.path)


def _problem_of(settings: AuditSettings) -> str:
    """Why the file cannot be opened for writing; empty if it can."""
    if settings.path is None:
        return ""
    try:
        settings.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or type(error).__name__
    return LineFile(settings.path).append([])[1]

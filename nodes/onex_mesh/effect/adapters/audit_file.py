"""Audit records as JSON lines in a file and in the log (R11), written behind the effects, in batches."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from datetime import UTC, datetime
from itertools import islice

import structlog

from onex_mesh.effect.core.targets import AuditSettings
from onex_mesh.effect.ports import AuditRecord
from onex_mesh.runtime.errors import OverloadedError, TargetUnavailableError

log = structlog.get_logger("onex_mesh.audit")

_RECORDS_WAITING_MAX = 20_000
_BATCH_MAX = 500


class AuditFile:
    """Takes records and writes them every `flush_interval_s`, and when it stops.

    A crash of the process loses at most the records of that time. If the file cannot be written, records wait; once
    too many do, effects are refused: nothing happens that leaves no trace.
    """

    def __init__(self, settings: AuditSettings) -> None:
        self._settings = settings
        self._waiting: deque[AuditRecord] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._stopping = False
        self._problem = ""

    async def start(self) -> None:
        """Begins to write.

        Raises:
            OSError: The file cannot be opened.
        """
        if self._settings.path is not None:
            self._settings.path.parent.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(self._append, b"")
        self._writer = asyncio.create_task(self._write_forever())

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
                try:
                    # In a thread: formatting and a slow disk or console must not hold up effects.
                    await asyncio.to_thread(self._write, batch)
                except OSError as error:
                    if not self._problem:
                        log.error("the audit file cannot be written", path=str(self._settings.path), why=str(error))
                    self._problem = error.strerror or type(error).__name__
                    return
                self._problem = ""
                for _ in batch:
                    self._waiting.popleft()

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
        if self._settings.path is not None:
            await asyncio.to_thread(self._sync)

    async def _write_forever(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            if not self._stopping:
                await asyncio.sleep(self._settings.flush_interval_s)
            await self.flush()
            if self._waiting:
                self._wake.set()

    def _write(self, batch: list[AuditRecord]) -> None:
        facts = [_facts(record) for record in batch]
        if self._settings.path is not None:
            self._append(b"".join(map(_line, batch, facts)))
        if self._settings.log:
            for row in facts:
                write = log.warning if row["outcome"] == "failed" else log.info
                write("effect", **row)

    def _append(self, lines: bytes) -> None:
        assert self._settings.path is not None
        descriptor = os.open(self._settings.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            view = memoryview(lines)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        assert self._settings.path is not None
        try:
            descriptor = os.open(self._settings.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # Nothing was ever written, or the operator took the file away.
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _facts(record: AuditRecord) -> dict[str, str | int | float]:
    """The record without its empty fields."""
    facts: dict[str, str | int | float] = {
        "target": record.target,
        "effect_type": record.effect_type,
        "operation": record.operation,
        "outcome": record.outcome,
        "attempts": record.attempts,
        "duration_s": round(record.duration_s, 6),
        "correlation_id": record.correlation_id,
        "workflow_id": record.workflow_id,
        "step_id": record.step_id,
        "idempotency_key": record.idempotency_key,
        "fencing_token": record.fencing_token,
        "reason": record.reason,
        "message": record.message,
        "node": record.node,
    }
    return {name: value for name, value in facts.items() if value != ""}


def _line(record: AuditRecord, facts: dict[str, str | int | float]) -> bytes:
    moment = datetime.fromtimestamp(record.started_at_s, UTC).isoformat()
    return json.dumps({"at": moment, **facts}, ensure_ascii=False).encode(errors="replace") + b"\n"

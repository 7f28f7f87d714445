"""Audit records as lines, and lines at the end of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from onex_mesh.effect.ports import AuditRecord

Facts = dict[str, str | int | float]


def facts(record: AuditRecord) -> Facts:
    """The record without its empty fields."""
    named: Facts = {
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
    return {name: value for name, value in named.items() if value != ""}


def line(record: AuditRecord, named: Facts) -> bytes:
    """The record as one line of JSON; control characters are escaped, so it stays one line."""
    moment = datetime.fromtimestamp(record.started_at_s, UTC).isoformat()
    return json.dumps({"at": moment, **named}, ensure_ascii=False).encode(errors="replace") + b"\n"


class LineFile:
    """Appends lines to a file by its name, each time anew: an operator may rename or truncate it at any moment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_torn = False

    def append(self, lines: Sequence[bytes]) -> tuple[int, str]:
        """Appends lines, and makes the file where it is missing.

        Returns:
            How many are in the file as a whole, and why the others are not; empty if all are.
        """
        # What a full disk cut off stays as it is; the next line must not be glued to it.
        start = b"\n" if self._is_torn else b""
        size, problem = _append(self.path, start + b"".join(lines))
        if size < len(start):
            return 0, problem
        ends = list(accumulate(map(len, lines), initial=len(start)))
        self._is_torn = size not in ends
        return sum(end <= size for end in ends) - 1, problem

    def sync(self) -> None:
        """Has the file on disk. One that is not there any more was taken away by its operator."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _append(path: Path, data: bytes) -> tuple[int, str]:
    written = 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
        finally:
            os.close(descriptor)
    except OSError as error:
        return written, error.strerror or type(error).__name__
    return written, ""

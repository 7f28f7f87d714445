"""Dead letters in a file of JSON lines, shared by the nodes of a machine."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from onex_mesh.effect.core.message_ports import Burial
from onex_mesh.runtime.errors import TargetUnavailableError


class DeadLetterFile:
    """Appends dead letters; each is on disk before its message is acknowledged.

    After a crash between the two a message may stand there twice, with the same `place`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, burial: Burial, *, place: str, headers: Mapping[str, str], body: bytes) -> None:
        """Appends a message and why it is there.

        Raises:
            TargetUnavailableError: The file cannot be written.
        """
        row = {
            "at": datetime.now(UTC).isoformat(),
            "subscription": burial.subscription,
            "place": place,
            "deliveries": burial.deliveries,
            "reason": burial.reason,
            "message": burial.message,
            "headers": dict(headers),
            **_shown(body),
        }
        line = json.dumps(row, ensure_ascii=False).encode(errors="replace") + b"\n"
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            raise TargetUnavailableError(f"dead letters: {self._path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                # A crash cut the last line off; this one is not to be part of it.
                line = b"\n" + line
            view = memoryview(line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _shown(body: bytes) -> Mapping[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}

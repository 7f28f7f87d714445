"""The folder of a mesh on this machine: one mesh at a time, and out of version control's way."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from types import TracebackType
from typing import TextIO

from onex_mesh.runtime.errors import ValidationError

_KEPT = ("etcd", "logs", "payloads", "run")


class DataDir:
    """Locks the folder while it is used; a context manager.

    Args:
        path: The folder; it is made where it is not there.
        fresh: Delete what earlier meshes left in it.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self._path = path
        self._fresh = fresh
        self._lock: TextIO | None = None

    def __enter__(self) -> Path:
        """Locks the folder.

        Raises:
            ValidationError: It cannot be made, or another mesh uses it.
        """
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            ignore = self._path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
            self._lock = (self._path / "lock").open("a+", encoding="utf-8")
        except OSError as error:
            raise ValidationError(f"{self._path}: cannot be used: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise ValidationError(
                f"{self._path} is used by another mesh that runs; stop it, or give another --data-dir"
            ) from error
        if self._fresh:
            for name in _KEPT:
                shutil.rmtree(self._path / name, ignore_errors=True)
        return self._path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

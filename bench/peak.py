"""The most memory that a process and its children need while something runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

import psutil


class Peak:
    """What comes on top of what there is now, in bytes; looked at each ms while it is entered.

    Args:
        shared: Whether shared memory of the machine counts too; some of it is in no process's own.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._processes = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
        self._before = self._held()
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.001):
            self.bytes = max(self.bytes, self._held() - self._before)

    def _held(self) -> int:
        held = sum(_bytes(Path(f"/proc/{process}/status"), "RssAnon") for process in self._processes)
        return held + _bytes(Path("/proc/meminfo"), "Shmem") if self._shared else held


def _bytes(table: Path, field: str) -> int:
    for line in table.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"{table} tells no {field}")

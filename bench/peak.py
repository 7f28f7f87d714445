"""The most memory that a process and its children need while something runs."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

import psutil


class Peak:
    """What comes on top of what there is now, in bytes, while it is entered.

    It is looked at every ms by a process of its own: a thread would not be let in while a large copy holds the
    interpreter, which is just when memory is needed.

    Args:
        shared: Whether shared memory of the machine counts too; some of it is in no process's own.
    """

    def __init__(self, *, shared: bool) -> None:
        self._shared = shared
        self._processes = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
        self._before = _held(self._processes, shared)
        self.bytes = 0

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._watcher = context.Process(target=_watch, args=(self._processes, self._shared, other))
        self._watcher.start()
        # It says when it has begun.
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self.bytes = self._pipe.recv() - self._before
        self._watcher.join()


def _watch(processes: list[int], shared: bool, pipe: Connection) -> None:
    most = 0
    pipe.send(None)
    while not pipe.poll(0.001):
        most = max(most, _held(processes, shared))
    pipe.send(most)


def _held(processes: list[int], shared: bool) -> int:
    held = sum(_bytes(Path(f"/proc/{process}/status"), "RssAnon") for process in processes)
    return held + _bytes(Path("/proc/meminfo"), "Shmem") if shared else held


def _bytes(table: Path, field: str) -> int:
    for line in table.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"{table} tells no {field}")

"""Threads and processes of one node, and a Dask cluster where it is configured with one."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.dask_cluster import DaskCluster
from onex_mesh.compute.adapters.processes import ProcessWorkers
from onex_mesh.compute.adapters.resident import held_bytes
from onex_mesh.compute.adapters.spool import spilled
from onex_mesh.compute.core.computation import Task, run
from onex_mesh.compute.core.tables import Table
from onex_mesh.compute.ports import Done
from onex_mesh.runtime.errors import ValidationError

T = TypeVar("T")

THREADS = compute_pb2.EXECUTOR_KIND_THREADS
PROCESSES = compute_pb2.EXECUTOR_KIND_PROCESSES
DASK = compute_pb2.EXECUTOR_KIND_DASK


class LocalWorkers:
    """Workers that start with their first use and stay warm; see `onex_mesh.compute.ports.Workers`.

    Args:
        count: Threads, and processes. Default: one for each core that the node may use.
        memory_bytes_max: Most memory of a task. Default: half of the machine's, shared by the workers.
        dask_scheduler: Address of a Dask scheduler. Default: none.
    """

    def __init__(self, count: int = 0, memory_bytes_max: int = 0, dask_scheduler: str = "") -> None:
        self._count = count or _cores()
        self._memory_bytes_max = memory_bytes_max or psutil.virtual_memory().total // 2 // self._count
        self._threads: ThreadPoolExecutor | None = None
        self._busy_threads = 0
        self._counting = threading.Lock()
        self._processes = ProcessWorkers(self._count, self._memory_bytes_max)
        self._dask = DaskCluster(dask_scheduler) if dask_scheduler else None

    @property
    def count(self) -> int:
        """How many of each kind work at the same time."""
        return self._count

    @property
    def memory_bytes_max(self) -> int:
        """Most memory of a task."""
        return self._memory_bytes_max

    @property
    def busy_threads(self) -> int:
        """See `Workers`."""
        return self._busy_threads

    def held_bytes(self) -> int:
        """See `Workers`."""
        return held_bytes()

    async def in_thread(self, function: Callable[[], T]) -> T:
        """See `Workers`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._count, "compute")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._counted, function)

    async def run(self, kind: compute_pb2.ExecutorKind, task: Task) -> Done:
        """See `Workers`."""
        if kind == THREADS:
            return Done(await self.in_thread(lambda: run(task)))
        if kind == PROCESSES:
            return await self._processes.run(task)
        if kind == DASK and self._dask is not None:
            return await self._dask.run(task)
        what = "a Dask cluster" if kind == DASK else f"workers of the kind {int(kind)}"
        text = f"this node is not configured with {what}"
        raise ValidationError(f"parallel_config.executor: {text}", violations=(("parallel_config.executor", text),))

    async def spilled(self, table: Table) -> Table:
        """See `Workers`."""
        return await asyncio.to_thread(spilled, table, Path(tempfile.gettempdir()))

    def close(self) -> None:
        """Ends the workers; what they are at is given up."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        self._processes.close()
        if self._dask is not None:
            self._dask.close()

    def _counted(self, function: Callable[[], T]) -> T:
        with self._counting:
            self._busy_threads += 1
        try:
            return function()
        finally:
            with self._counting:
                self._busy_threads -= 1


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Threads and processes of one node."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TypeVar

from onex.v1 import compute_pb2
from onex_mesh.compute.ports import WorkerDiedError
from onex_mesh.runtime.errors import ValidationError

T = TypeVar("T")
R = TypeVar("R")

THREADS = compute_pb2.EXECUTOR_KIND_THREADS
PROCESSES = compute_pb2.EXECUTOR_KIND_PROCESSES


class LocalWorkers:
    """Pools that start with their first use and stay warm; see `onex_mesh.compute.ports.Workers`.

    Processes are spawned, for a node with threads must not fork, and end with the node even if it is killed. When a
    worker dies, Python gives up its whole pool: every task that was in it is suspect. The suspects that may be repeated
    are run again one by one in a process of their own, so that only the one that kills its worker fails.

    Args:
        count: Workers of each kind. Default: one for each core that the node may use.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count or _cores()
        self._pools: dict[compute_pb2.ExecutorKind, Executor] = {}
        self._alone: Executor | None = None
        self._one_suspect = asyncio.Lock()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many of each kind work at the same time."""
        return self._count

    async def run(
        self, kind: compute_pb2.ExecutorKind, function: Callable[[T], R], argument: T, *, repeatable: bool
    ) -> R:
        """See `Workers`."""
        loop = asyncio.get_running_loop()
        pool = self._pool(kind)
        try:
            return await loop.run_in_executor(pool, function, argument)
        except BrokenExecutor as error:
            self._drop(kind, pool)
            if not repeatable or self._is_closed:
                raise WorkerDiedError from error
        async with self._one_suspect:
            if self._alone is None:
                self._alone = _processes(1)
            try:
                return await loop.run_in_executor(self._alone, function, argument)
            except BrokenExecutor as error:
                self._alone.shutdown(wait=False, cancel_futures=True)
                self._alone = None
                raise WorkerDiedError from error

    def close(self) -> None:
        """Ends the workers; what they are at is given up."""
        self._is_closed = True
        for pool in (*self._pools.values(), self._alone):
            if pool is not None:
                _end(pool)
        self._pools.clear()
        self._alone = None

    def _pool(self, kind: compute_pb2.ExecutorKind) -> Executor:
        if kind not in (THREADS, PROCESSES):
            what = "a Dask cluster" if kind == compute_pb2.EXECUTOR_KIND_DASK else f"workers of the kind {int(kind)}"
            text = f"this node is not configured with {what}"
            raise ValidationError(f"parallel_config.executor: {text}", violations=(("parallel_config.executor", text),))
        pool = self._pools.get(kind)
        if pool is None:
            pool = ThreadPoolExecutor(self._count, "compute") if kind == THREADS else _processes(self._count)
            self._pools[kind] = pool
        return pool

    def _drop(self, kind: compute_pb2.ExecutorKind, pool: Executor) -> None:
        """Gives a broken pool up, once; the next use begins another."""
        if self._pools.get(kind) is pool:
            del self._pools[kind]
            pool.shutdown(wait=False, cancel_futures=True)


def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end(pool: Executor) -> None:
    """Ends a pool without waiting for what its workers are at."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _end_with_parent() -> None:
    """In a worker: ends it when the node is gone, which it would not notice while it waits for work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_wait_and_exit, args=(parent,), daemon=True, name="end-with-parent").start()


def _wait_and_exit(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

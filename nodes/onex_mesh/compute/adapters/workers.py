"""Threads and processes of one node."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from onex.v1 import compute_pb2
from onex_mesh.runtime.errors import ValidationError


class LocalWorkers:
    """Pools that start with their first use and stay warm. Processes are spawned: a node with threads must not fork."""

    def __init__(self, count: int = 0) -> None:
        """Pools.

        Args:
            count: Workers of each. Default: one per core.
        """
        self.count = count or os.cpu_count() or 1
        self._pools: dict[int, Executor] = {}

    def pool(self, kind: compute_pb2.ExecutorKind) -> Executor:
        """The pool of a kind; see `onex_mesh.compute.ports.Workers`."""
        if kind == compute_pb2.EXECUTOR_KIND_DASK:
            text = "this node is not configured with a Dask cluster"
            raise ValidationError(f"parallel_config.executor: {text}", violations=(("parallel_config.executor", text),))
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = self._new(kind)
        return pool

    def _new(self, kind: compute_pb2.ExecutorKind) -> Executor:
        if kind == compute_pb2.EXECUTOR_KIND_PROCESSES:
            return ProcessPoolExecutor(self.count, mp_context=multiprocessing.get_context("spawn"))
        return ThreadPoolExecutor(self.count, thread_name_prefix="compute")

    def broken(self, kind: compute_pb2.ExecutorKind) -> None:
        """Drops a pool whose worker died."""
        pool = self._pools.pop(kind, None)
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Ends the workers; what they are at is given up."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools.clear()

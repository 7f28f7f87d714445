"""Worker processes of one node: each is at one task at a time, so what ends a worker ends that task and no other."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from onex_mesh.compute.adapters.resident import with_peak
from onex_mesh.compute.adapters.shared_memory import SharedMemory, SharedTable, read_from, write_into
from onex_mesh.compute.core.computation import Task, run
from onex_mesh.compute.core.tables import is_table
from onex_mesh.compute.core.travel import opened, sealed
from onex_mesh.compute.ports import Done, WorkerDiedError, WorkerMemoryError

WATCH_S = 0.05
"""How often the memory of a worker at work is looked at."""


class ProcessWorkers:
    """Processes that start when they are needed and stay warm.

    They are spawned, for a node with threads must not fork, and end with the node even if it is killed. A worker whose
    task is cancelled is killed, for its code may never ask whether anybody waits; so is one that needs too much memory.

    Args:
        count: Most workers.
        memory_bytes_max: Most resident memory of a worker. One that has more than half of it left over from a task is
            replaced, so that the next task is not blamed.
    """

    def __init__(self, count: int, memory_bytes_max: int) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._turns = asyncio.Semaphore(count)
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: set[ProcessPoolExecutor] = set()
        self._is_closed = False

    async def run(self, task: Task) -> Done:
        """Runs a task on a worker; see `onex_mesh.compute.ports.Workers`.

        The data and the result cross in shared memory where they are tables, further inputs and the tables of partial
        results as Arrow IPC; anything else is pickled.
        """
        async with self._turns:
            if self._is_closed:
                raise WorkerDiedError
            worker = self._idle.pop() if self._idle else _process()
            self._busy.add(worker)
            # Kept until a worker that is ended has no more use for them.
            given, returned = SharedMemory(), SharedMemory()
            may_stay = True
            try:
                return await self._sent(worker, task, given, returned)
            except BrokenExecutor as error:
                may_stay = False
                raise WorkerDiedError from error
            except (asyncio.CancelledError, WorkerMemoryError):
                may_stay = False
                raise
            finally:
                self._busy.discard(worker)
                if may_stay and not self._is_closed and _resident_bytes(worker) <= self._memory_bytes_max // 2:
                    self._idle.append(worker)
                else:
                    _end(worker)

    def close(self) -> None:
        """Ends the workers; what they are at is given up."""
        self._is_closed = True
        for worker in (*self._idle, *self._busy):
            _end(worker)
        self._idle.clear()

    async def _sent(self, worker: ProcessPoolExecutor, task: Task, given: SharedMemory, returned: SharedMemory) -> Done:
        if any(is_table(value) for value in task.inputs.values()):
            task = replace(task, inputs=await asyncio.to_thread(_sealed_inputs, task))
        if is_table(task.data):
            task = replace(task, data=await asyncio.to_thread(given.write, task.data))
        done = await self._watched(worker, task, returned)
        return replace(done, result=returned.read() if isinstance(done.result, SharedTable) else opened(done.result))

    async def _watched(self, worker: ProcessPoolExecutor, task: Task, returned: SharedMemory) -> Done:
        future = asyncio.get_running_loop().run_in_executor(worker, _run_here, task, returned.path)
        # A worker that is killed leaves an error that nobody waits for any more.
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while True:
            done, _ = await asyncio.wait({future}, timeout=WATCH_S)
            if done:
                try:
                    return future.result()
                finally:
                    # Else an error leads to this frame and this frame to the error: both are kept, and the data too.
                    del future, done
            if _resident_bytes(worker) + returned.size_bytes > self._memory_bytes_max:
                raise WorkerMemoryError(self._memory_bytes_max)


def _sealed_inputs(task: Task) -> dict[str, object]:
    return {name: sealed(value) for name, value in task.inputs.items()}


def _run_here(task: Task, returned: Path) -> Done:
    """In a worker: runs a task."""

    def whole() -> object:
        given = task.data
        data = read_from(given.path) if isinstance(given, SharedTable) else given
        result = run(replace(task, data=data, inputs={name: opened(value) for name, value in task.inputs.items()}))
        if not is_table(result):
            return sealed(result)
        write_into(returned, result)
        return SharedTable(returned)

    result, peak_bytes = with_peak(whole)
    # What was written into shared memory counts for the worker that wrote it, though it is not mapped there.
    return Done(result, peak_bytes + returned.stat().st_size if peak_bytes else 0)


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _children(worker: ProcessPoolExecutor) -> list[multiprocessing.process.BaseProcess]:
    return list((getattr(worker, "_processes", None) or {}).values())


def _resident_bytes(worker: ProcessPoolExecutor) -> int:
    total = 0
    for process in _children(worker):
        try:
            total += psutil.Process(process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _end(worker: ProcessPoolExecutor) -> None:
    processes = _children(worker)
    worker.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()


def _end_with_parent() -> None:
    """In a worker: ends it when the node is gone, which it would not notice while it waits for work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_wait_and_exit, args=(parent,), daemon=True, name="end-with-parent").start()


def _wait_and_exit(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)

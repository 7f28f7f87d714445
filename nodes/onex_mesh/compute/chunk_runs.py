"""The chunks of one computation on workers, and what they return until it is merged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from onex.v1 import compute_pb2
from onex_mesh.compute.core.computation import Task
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.output import size_of
from onex_mesh.compute.core.tables import is_table
from onex_mesh.compute.ports import Done, Progress, Step, WorkerDiedError, WorkerMemoryError, Workers
from onex_mesh.runtime.errors import ActionExpiredError, ComputeFailedError, OnexError, OverloadedError

_DEADLINE_GRACE_S = 0.25
"""An algorithm that asks its context ends itself within this time after its deadline; then its worker is ended."""


class ChunkRuns:
    """See the module.

    Args:
        workers: Where they run.
        kind: On which of them.

    Attributes:
        peak_bytes: Most memory of a worker process at one of the chunks.
        spilled_bytes: Of their results, what was written to disk: tables that would together need more than half of
            the memory of a task. The other half is the input's.
    """

    def __init__(self, workers: Workers, kind: compute_pb2.ExecutorKind) -> None:
        self._workers = workers
        self._kind = kind
        self._held_bytes = 0
        self.peak_bytes = 0
        self.spilled_bytes = 0

    async def results(self, tasks: Sequence[Task], progress: Progress) -> list[object]:
        """The results of tasks, in their order; the first failure ends the wait for the others.

        Raises:
            OnexError: One of them failed.
        """
        sizes = [size_of(task.data) for task in tasks]
        done = rows_done = 0
        progress(Step(0, len(tasks), 0, sum(sizes)))

        async def one(task: Task, size: int) -> object:
            nonlocal done, rows_done
            result = await self._kept(await self._run(task))
            done, rows_done = done + 1, rows_done + size
            progress(Step(done, len(tasks), rows_done, sum(sizes)))
            return result

        running = [asyncio.ensure_future(one(task, size)) for task, size in zip(tasks, sizes, strict=True)]
        try:
            return list(await asyncio.gather(*running))
        finally:
            # None is kept here: an error that leads to this frame, and this frame to it, would keep all the data.
            while running:
                running.pop().cancel()

    async def _kept(self, done: Done) -> object:
        """A result, in memory or on disk."""
        self.peak_bytes = max(self.peak_bytes, done.peak_bytes)
        table = done.result
        if not is_table(table):
            return table
        if self._held_bytes + table.nbytes <= self._workers.memory_bytes_max // 2:
            self._held_bytes += table.nbytes
            return table
        self.spilled_bytes += table.nbytes
        try:
            return await self._workers.spilled(table)
        except OSError as error:
            raise OverloadedError(
                f"the results of chunks need more memory than there is and cannot be written to disk: {error}"
            ) from error

    async def _run(self, task: Task) -> Done:
        name = task.algorithm.name
        try:
            async with asyncio.timeout(_seconds_left(task.context)):
                return await self._workers.run(self._kind, task)
        except TimeoutError as error:
            raise ActionExpiredError("the computation did not end before its deadline") from error
        except OnexError:
            raise
        except WorkerDiedError as error:
            raise ComputeFailedError(
                f"a worker died while it ran the algorithm {name!r}", error_context={"algorithm_type": name}
            ) from error
        except WorkerMemoryError as error:
            raise ComputeFailedError(
                f"the algorithm {name!r} was ended: its worker needed more than {error.bytes_max} bytes of memory",
                error_context={"algorithm_type": name, "memory_bytes_max": str(error.bytes_max)},
            ) from error
        except Exception as error:
            # `run` turns what the algorithm raises into an error of the mesh: this is the way there or back.
            raise ComputeFailedError(
                f"the algorithm {name!r}, its data or its result cannot be sent to another process: {error}",
                error_context={"algorithm_type": name, "error_type": type(error).__name__},
            ) from error


def _seconds_left(context: ComputeContext) -> float | None:
    """How long a worker may take; None for any time."""
    if context.deadline is None:
        return None
    return context.deadline - time.monotonic() + _DEADLINE_GRACE_S

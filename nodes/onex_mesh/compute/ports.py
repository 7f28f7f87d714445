"""What the engine needs of the world: algorithms, workers to run chunks on, and how long runs usually take (R42)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from onex.v1 import compute_pb2
from onex_mesh.compute.core.algorithm import Algorithm
from onex_mesh.compute.core.computation import Task
from onex_mesh.compute.core.tables import Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """How far a computation is.

    Attributes:
        done: Chunks done.
        total: Chunks in all.
        rows_done: Items of the chunks that are done.
        rows_total: Items in all; 0 until the input is read.
    """

    done: int
    total: int
    rows_done: int = 0
    rows_total: int = 0


Progress = Callable[[Step], None]
"""Is told how far a computation is."""


class WorkerDiedError(Exception):
    """A worker process ended while it was at a task."""


class WorkerMemoryError(Exception):
    """A worker was ended for it needed more memory than a task may.

    Args:
        bytes_max: What a task may.
    """

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self.bytes_max = bytes_max


class Algorithms(Protocol):
    """The algorithms of a node; implemented by `AlgorithmRegistry`."""

    def get(self, name: str, version: str = "") -> Algorithm:
        """The algorithm of that name and version.

        Raises:
            AlgorithmNotFoundError: There is none.
        """

    def names(self) -> list[str]:
        """All names, sorted."""

    def __iter__(self) -> Iterator[Algorithm]:
        """All algorithms, by name and then by version."""


class PerformanceMonitor(Protocol):
    """Knows how long runs take; implemented by `RunTimes`."""

    def is_quick(self, algorithm: str, version: str, size_bytes: int) -> bool:
        """Whether a run on input of that size may hold the event loop."""

    def ran(self, algorithm: str, version: str, size_bytes: int, seconds: float) -> None:
        """Takes note of a run."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task that was run.

    Attributes:
        result: What the algorithm returned.
        peak_bytes: Most memory of the worker process meanwhile; 0 where no process of its own ran it.
    """

    result: object
    peak_bytes: int = 0


class Workers(Protocol):
    """Threads, processes and perhaps a cluster; implemented by `LocalWorkers`."""

    @property
    def count(self) -> int:
        """How many of each kind work at the same time."""

    @property
    def memory_bytes_max(self) -> int:
        """Most memory of a task."""

    @property
    def busy_threads(self) -> int:
        """How many threads are at something, also if nobody waits for it any more."""

    def held_bytes(self) -> int:
        """Memory of the node."""

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Calls a function in a thread of the node."""

    async def run(self, kind: compute_pb2.ExecutorKind, task: Task) -> Done:
        """Runs a task on a worker. Cancelling it ends a worker process, takes back what waits in a cluster, and is seen
        by what runs there if it asks its context.

        Args:
            kind: What kind of worker.
            task: The task; for processes and a cluster, its function is importable by its name.

        Raises:
            OnexError: See `onex_mesh.compute.core.computation.run`.
            ValidationError: The node has no such workers, or they must not have this task.
            WorkerDiedError: The worker died while it was at it.
            WorkerMemoryError: It was ended, for it needed too much memory.
            DependencyResolutionError: The cluster is not there, or was lost.
        """

    async def spilled(self, table: Table) -> Table:
        """The same table on disk, as far as memory is needed for other things.

        Raises:
            OSError: It cannot be written.
        """

    def close(self) -> None:
        """Ends the workers."""

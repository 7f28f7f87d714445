"""What the engine needs of the world: algorithms, workers to run chunks on, and how long runs usually take (R42)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from onex.v1 import compute_pb2
from onex_mesh.compute.core.algorithm import Algorithm

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Is told how many chunks are done, and of how many."""


class WorkerDiedError(Exception):
    """A worker process ended while it was at a task."""


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


class Workers(Protocol):
    """Threads and processes; implemented by `LocalWorkers`."""

    @property
    def count(self) -> int:
        """How many of each kind work at the same time."""

    async def run(
        self, kind: compute_pb2.ExecutorKind, function: Callable[[T], R], argument: T, *, repeatable: bool
    ) -> R:
        """Calls a function on a worker.

        Args:
            kind: What kind of worker.
            function: What to call; for processes, importable by its name.
            argument: What with; for processes, something that pickle takes.
            repeatable: Whether it may be called again if the worker died, for another task's sake perhaps.

        Raises:
            ValidationError: The node has no such workers.
            WorkerDiedError: The worker died of this task, or of another one and it must not be repeated.
        """

    def close(self) -> None:
        """Ends the workers."""

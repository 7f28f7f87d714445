"""What the engine needs of the world: workers to run chunks on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from onex.v1 import compute_pb2

Progress = Callable[[int, int], None]
"""Is told how many chunks are done, and of how many."""


class Workers(Protocol):
    """Pools of threads and processes."""

    @property
    def count(self) -> int:
        """Most workers that one computation may use."""

    def pool(self, kind: compute_pb2.ExecutorKind) -> Executor:
        """The pool of a kind.

        Raises:
            ValidationError: The node has none.
        """

    def broken(self, kind: compute_pb2.ExecutorKind) -> None:
        """A worker died: the pool is replaced by another with the next use."""

    def close(self) -> None:
        """Ends the workers."""

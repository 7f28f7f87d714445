"""What the reductions need of the world: the reducers that there are, and the time of a direct call (R68).

State is no port here: it comes with the contract and leaves with the output, and whoever commits it keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Protocol

from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.fsm import Fsm


class Reducers(Protocol):
    """The reducers of a node; implemented by `ReducerRegistry`."""

    def get(self, name: str, version: str = "") -> Fsm | Aggregator:
        """The reducer of that name and version.

        Raises:
            ReducerNotFoundError: There is none.
        """

    def names(self) -> list[str]:
        """All names, sorted."""

    def __iter__(self) -> Iterator[Fsm | Aggregator]:
        """All reducers, by name and then by version."""


class Clock(Protocol):
    """Tells the time to the shell around the reducers; they themselves only know that of the action."""

    def __call__(self) -> datetime:
        """Now, in UTC."""

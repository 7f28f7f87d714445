"""What the reductions need of the world: the reducers that there are, the time, and the states of direct calls (R68).

The reduction itself has no state: it comes with the contract and leaves with the output. Inside of a workflow the
orchestrator commits it; `States` is for direct calls that ask for a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.runtime.errors import StateConflictError


class TransactionError(StateConflictError):
    """The state was changed by another call between load and commit; nothing was written (R67)."""


@dataclass(frozen=True, slots=True)
class StateName:
    """Which state it is (R60).

    Attributes:
        owner: Correlation id of the direct call.
        state_key: Its name there.
    """

    owner: str
    state_key: str


@dataclass(frozen=True, slots=True)
class KeptState:
    """A state as it is kept.

    Attributes:
        epoch: How often it was committed; 0 if it is not there.
        record: The state, who made it, when, and with what.
    """

    epoch: int
    record: reducer_pb2.BackupRecord


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


class States(Protocol):
    """Keeps the states of direct calls; implemented by `EtcdStates`."""

    async def load(self, name: StateName) -> KeptState:
        """The state as it is now.

        Raises:
            EtcdUnavailableError: It cannot be read.
        """

    async def commit(self, name: StateName, epoch: int, record: reducer_pb2.BackupRecord) -> int:
        """Writes the state if its epoch is still `epoch`, and returns the new one.

        Raises:
            TransactionError: Another call was faster; nothing was written.
            PayloadTooLargeError: The state is larger than 1 MiB.
            OutcomeUnknownError: No answer; it may have been written.
        """

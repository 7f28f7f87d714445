"""What the reductions need of the world: the reducers that there are, the time, and the states of direct calls (R68).

The reduction itself has no state: it comes with the contract and leaves with the output. Inside of a workflow the
orchestrator commits it; `States` is for direct calls that ask for a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.runtime.errors import StateConflictError


class TransactionError(StateConflictError):
    """The state was changed by another call between load and commit; nothing was written (R67)."""


@dataclass(frozen=True, slots=True, order=True)
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
        revision: Of its last commit; no other commit of any state has it. 0 if it is not there.
    """

    epoch: int
    record: reducer_pb2.BackupRecord
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One state in a commit.

    Attributes:
        name: Which one.
        before: As it was loaded; the commit compares it.
        record: What it becomes; None leaves it as it is.
    """

    name: StateName
    before: KeptState
    record: reducer_pb2.BackupRecord | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned, for the same call made again.

    Attributes:
        name: The state of the contract's own reduction.
        action_id: What the caller named the call.
        contract_digest: SHA-256 of its contract.
        output: What it returned; payloads that were too large are there and empty.
    """

    name: StateName
    action_id: str
    contract_digest: bytes
    output: reducer_pb2.ReducerOutput


@dataclass(frozen=True, slots=True)
class LastCopy:
    """The newest copy of a state that is known.

    Attributes:
        record: The copy without its state; its metadata tell its URI and size, the epoch and the copy before.
        revision: Of this note; 0 if there is none.
    """

    record: reducer_pb2.BackupRecord
    revision: int = 0


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

    async def answer(self, name: StateName, action_id: str) -> Answer | None:
        """What the call of that action id returned; None if none was committed, or 64 others were since.

        Raises:
            EtcdUnavailableError: It cannot be read.
        """

    async def commit(self, changes: Sequence[Change], answer: Answer | None = None) -> None:
        """Writes all states and the answer if no state changed since it was loaded; each epoch rises by one.

        Raises:
            TransactionError: Another call was faster; nothing was written.
            PayloadTooLargeError: A state is larger than 1 MiB, or all together than etcd takes; nothing was written.
            OutcomeUnknownError: No answer; it may have been written.
        """

    async def last_copy(self, name: StateName) -> LastCopy:
        """The newest copy that is known.

        Raises:
            EtcdUnavailableError: It cannot be read.
        """

    async def note_copy(self, name: StateName, before: LastCopy, record: reducer_pb2.BackupRecord) -> bool:
        """Notes a copy as the newest one; False if another was noted since `before` was read.

        Raises:
            OutcomeUnknownError: No answer; it may have been noted.
        """

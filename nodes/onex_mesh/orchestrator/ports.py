"""What the orchestrator needs of the world. Adapters are handed in by `node.py`; tests may hand in others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from onex.v1 import action_pb2, common_pb2, node_pb2, orchestrator_pb2, workflow_pb2
from onex_lease import Ownership, Session

OnResult = Callable[[action_pb2.ActionResult], None]


class ActionDispatcher(Protocol):
    """Hands actions to nodes."""

    def submit(self, action: action_pb2.Action, service_name: str, on_result: OnResult) -> None:
        """Sends an action to a node of its kind; calls back once, with its result or why there is none.

        An action whose node goes away is sent to another one until it expires: pure actions have no effect, and effects
        are repeated under the same idempotency key.
        """

    def cancel(self, action_id: str) -> None:
        """Gives an action up: its node is told to end it, its callback is not called any more."""

    def forget(self, action_id: str) -> None:
        """Lets go of an action: its callback is not called any more, its node goes on with it."""


class WorkflowJournal(Protocol):
    """Commits states under a lease. See `onex_lease.Journal`."""

    async def start(
        self,
        session: Session,
        record: workflow_pb2.Commit,
        *,
        address: str = "",
        final: bool = False,
        external: bool = False,
    ) -> Ownership:
        """Acquires the workflow and makes epoch 1, in one transaction."""

    async def commit(
        self, ownership: Ownership, record: workflow_pb2.Commit, *, release: bool = False, final: bool = False
    ) -> int:
        """Makes the next epoch."""

    async def check(self, workflow_id: str, lease_id: str, fencing_token: int, epoch: int) -> None:
        """Checks against etcd that a lease holds."""

    async def release(self, ownership: Ownership) -> bool:
        """Gives the workflow up."""


class ActionPreviews(Protocol):
    """Tells what an action would do."""

    async def preview(
        self, workflow_id: str, command: action_pb2.Command, correlation_id: str
    ) -> orchestrator_pb2.PreviewActionResponse:
        """State and intents of a reduction, from the workflow's state; nothing is executed."""


class ServiceRegistry(Protocol):
    """Which nodes are there (R114)."""

    def nodes(self, kind: common_pb2.NodeKind | None = None) -> list[node_pb2.NodeInfo]:
        """The nodes whose session is alive."""


class HealthMonitor(Protocol):
    """How well services are (R114)."""

    async def is_healthy(self, node: node_pb2.NodeInfo) -> bool:
        """Whether the node says that it serves."""

"""What a node executes, and what it is told about where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from onex.v1 import action_pb2


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Where a command came from.

    Attributes:
        correlation_id: The request.
        workflow_id: The workflow; empty for a direct call.
        step_id: Its step; empty for a direct call.
        action_id: The action; ids and randomness of pure code derive from it.
        lease_id: The lease that the action was issued under; empty for a direct call.
        epoch: Epoch of the workflow when it was issued.
        fencing_token: Proof of the lease; 0 for a direct call.
        issued_at: When it was issued, in UTC: the time that pure code sees.
        deadline: When nobody waits for the result any more, on the monotonic clock; None for no deadline.
    """

    correlation_id: str
    workflow_id: str
    step_id: str
    action_id: str
    lease_id: str
    epoch: int
    fencing_token: int
    issued_at: datetime
    deadline: float | None


class CommandExecutor(Protocol):
    """The part of a node that executes commands of actions."""

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Executes one command, never a chain; step_id and execution_time are filled in by the caller.

        Raises:
            OnexError: It failed.
        """

"""The errors of the mesh beyond those of the lease kernel."""

from __future__ import annotations

from collections.abc import Mapping

from onex.v1 import common_pb2
from onex_lease.errors import OnexError


class AlgorithmNotFoundError(OnexError):
    """No algorithm of that name and version is registered (R41)."""

    reason = "ALGORITHM_NOT_FOUND"


class TargetNotFoundError(OnexError):
    """The operator configured no target of that name."""

    reason = "TARGET_NOT_FOUND"


class ReducerNotFoundError(OnexError):
    """No reducer of that name and version is registered."""

    reason = "REDUCER_NOT_FOUND"


class UnknownActionError(OnexError):
    """The FSM knows no such action (R66)."""

    reason = "UNKNOWN_ACTION"


class TransitionRefusedError(OnexError):
    """The FSM knows the action but does not take it in this state, or a guard refused it."""

    reason = "TRANSITION_REFUSED"


class PurityViolationError(OnexError):
    """Code that must be pure did something that is not."""

    reason = "PURITY_VIOLATION"


class StateConsistencyError(OnexError):
    """A stored or given state does not fit its reducer (R67)."""

    reason = "VALIDATION_FAILED"


class DependencyResolutionError(OnexError):
    """A required service is missing or unhealthy (R100)."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retryable = True


class VersionIncompatibleError(OnexError):
    """A required service is there in another version (R101)."""

    reason = "VERSION_INCOMPATIBLE"


class TargetUnavailableError(OnexError):
    """The target did not answer or answered that it cannot now; trying again may help (R19)."""

    reason = "TARGET_UNAVAILABLE"
    retryable = True


class DatabaseConnectionError(TargetUnavailableError):
    """The database cannot be reached (R19)."""


class TemporaryDatabaseError(TargetUnavailableError):
    """The database refused for a passing reason: a lock, a serialization failure (R19)."""


class TemporarilyRefusedError(TargetUnavailableError):
    """The target works, and refuses this for now: a mailbox that is busy, one of several recipients. Breakers do not
    count it."""


class EffectFailedError(OnexError):
    """The target answered that it will not do this; trying again will not help."""

    reason = "EFFECT_FAILED"


class ComputeFailedError(OnexError):
    """An algorithm raised an exception, or returned what it did not declare."""

    reason = "COMPUTE_FAILED"


class ReductionFailedError(OnexError):
    """A transition or an aggregator raised an exception; the same input would do it again."""

    reason = "REDUCTION_FAILED"


class CircuitOpenError(OnexError):
    """The target's breaker is open (R8)."""

    reason = "CIRCUIT_OPEN"
    retryable = True


class ActionExpiredError(OnexError):
    """The action is past its expires_at, or ran into it (R138)."""

    reason = "ACTION_EXPIRED"


class OverloadedError(OnexError):
    """A bound on concurrent work is reached."""

    reason = "OVERLOADED"
    retryable = True


class StepFailedError(OnexError):
    """A step of a workflow failed for good."""

    reason = "STEP_FAILED"


class WorkflowExecutionError(OnexError):
    """A workflow was aborted (R104).

    Its status carries `pipeline`: the errors of all nodes that the workflow crossed.
    """

    reason = "WORKFLOW_ABORTED"

    def __init__(
        self,
        message: str,
        *,
        correlation_id: str = "",
        error_context: Mapping[str, object] | None = None,
        pipeline: common_pb2.PipelineErrorContext | None = None,
    ) -> None:
        super().__init__(message, correlation_id=correlation_id, error_context=error_context)
        self.pipeline = pipeline


class CancelledError(OnexError):
    """The work was cancelled before it ended."""

    reason = "CANCELLED"


class InternalError(OnexError):
    """Something unexpected; the cause is in the log under the correlation id, never in the message."""

    reason = "INTERNAL"


class NotBuiltError(OnexError):
    """The method is part of the contract but not built yet."""

    reason = "UNIMPLEMENTED"


class RemoteError(OnexError):
    """An error that came over the wire with a reason that this version knows no class for."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        retryable: bool,
        correlation_id: str = "",
        error_context: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, correlation_id=correlation_id, error_context=error_context)
        self.reason = reason
        self.retryable = retryable

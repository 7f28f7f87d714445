"""The error table of the mesh: reasons, their gRPC codes, and the ways errors travel.

An error is an `OnexError` in Python, an `onex.v1.OnexError` inside of results, and a `google.rpc.Status` with
`ErrorInfo(reason, domain "onex.v1")` when an RPC ends with it. The functions here translate between the three.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from onex.v1 import common_pb2
from onex_lease.errors import (
    EpochMismatchError,
    EtcdUnavailableError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseInvalidError,
    OnexError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    StateConflictError,
    ValidationError,
    WorkflowExistsError,
    WorkflowNotFoundError,
)
from onex_mesh.runtime.payload import fill_value, from_struct

__all__ = [
    "CODES",
    "DOMAIN",
    "ActionExpiredError",
    "AlgorithmNotFoundError",
    "CancelledError",
    "CircuitOpenError",
    "ComputeFailedError",
    "DatabaseConnectionError",
    "DependencyResolutionError",
    "EffectFailedError",
    "EpochMismatchError",
    "EtcdUnavailableError",
    "InternalError",
    "LeaseConflictError",
    "LeaseExpiredError",
    "LeaseInvalidError",
    "NotBuiltError",
    "OnexError",
    "OutcomeUnknownError",
    "OverloadedError",
    "PayloadTooLargeError",
    "PurityViolationError",
    "ReducerNotFoundError",
    "ReductionFailedError",
    "RemoteError",
    "StateConflictError",
    "StateConsistencyError",
    "StepFailedError",
    "TargetNotFoundError",
    "TargetUnavailableError",
    "TemporaryDatabaseError",
    "TransitionRefusedError",
    "UnknownActionError",
    "ValidationError",
    "VersionIncompatibleError",
    "WorkflowExecutionError",
    "WorkflowExistsError",
    "WorkflowNotFoundError",
    "code_of",
    "from_proto",
    "from_rpc_error",
    "pipeline_of",
    "to_proto",
    "to_status",
]

DOMAIN = "onex.v1"

STATUS_BYTES_MAX = 5_000
"""A status travels as trailing metadata, and what is beyond 8 KiB of that is refused by clients: they would see the
refusal instead of the error. Base64 and the message, which travels a second time, take the rest."""
_MESSAGE_CHARS_MAX = 500
_FACT_CHARS_MAX = 500
_VIOLATIONS_MAX = 50
_BRIEF_ERRORS = 10
_BRIEF_CHARS_MAX = 150

CODES: Mapping[str, grpc.StatusCode] = {
    "VALIDATION_FAILED": grpc.StatusCode.INVALID_ARGUMENT,
    "ALGORITHM_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "WORKFLOW_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "TARGET_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "REDUCER_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "WORKFLOW_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "UNKNOWN_ACTION": grpc.StatusCode.FAILED_PRECONDITION,
    "TRANSITION_REFUSED": grpc.StatusCode.FAILED_PRECONDITION,
    "PURITY_VIOLATION": grpc.StatusCode.FAILED_PRECONDITION,
    "VERSION_INCOMPATIBLE": grpc.StatusCode.FAILED_PRECONDITION,
    "DEPENDENCY_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "TARGET_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "CIRCUIT_OPEN": grpc.StatusCode.UNAVAILABLE,
    "LEASE_CONFLICT": grpc.StatusCode.ABORTED,
    "LEASE_EXPIRED": grpc.StatusCode.FAILED_PRECONDITION,
    "LEASE_INVALID": grpc.StatusCode.PERMISSION_DENIED,
    "EPOCH_MISMATCH": grpc.StatusCode.ABORTED,
    "STATE_CONFLICT": grpc.StatusCode.ABORTED,
    "ACTION_EXPIRED": grpc.StatusCode.DEADLINE_EXCEEDED,
    "PAYLOAD_TOO_LARGE": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "STEP_FAILED": grpc.StatusCode.ABORTED,
    "WORKFLOW_ABORTED": grpc.StatusCode.ABORTED,
    "CANCELLED": grpc.StatusCode.CANCELLED,
    "COMPUTE_FAILED": grpc.StatusCode.FAILED_PRECONDITION,
    "REDUCTION_FAILED": grpc.StatusCode.FAILED_PRECONDITION,
    "EFFECT_FAILED": grpc.StatusCode.FAILED_PRECONDITION,
    "UNIMPLEMENTED": grpc.StatusCode.UNIMPLEMENTED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}


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


_CLASSES: dict[str, type[OnexError]] = {
    cls.reason: cls
    for cls in (
        EtcdUnavailableError,
        AlgorithmNotFoundError,
        TargetNotFoundError,
        ReducerNotFoundError,
        UnknownActionError,
        TransitionRefusedError,
        PurityViolationError,
        VersionIncompatibleError,
        TargetUnavailableError,
        EffectFailedError,
        ComputeFailedError,
        ReductionFailedError,
        CircuitOpenError,
        ActionExpiredError,
        OverloadedError,
        StepFailedError,
        WorkflowExecutionError,
        CancelledError,
        InternalError,
        NotBuiltError,
        LeaseConflictError,
        LeaseExpiredError,
        LeaseInvalidError,
        EpochMismatchError,
        StateConflictError,
        WorkflowNotFoundError,
        WorkflowExistsError,
        PayloadTooLargeError,
        ValidationError,
    )
}


def code_of(error: OnexError) -> grpc.StatusCode:
    """The gRPC status code of an error; UNKNOWN for an application's own reason."""
    return CODES.get(error.reason, grpc.StatusCode.UNKNOWN)


def to_proto(error: OnexError, *, node_kind: common_pb2.NodeKind) -> common_pb2.OnexError:
    """The error as it travels inside of results, with its chain of causes."""
    message = common_pb2.OnexError(
        reason=error.reason,
        message=error.message,
        correlation_id=error.correlation_id,
        node_kind=node_kind,
        code=code_of(error).value[0],
        retryable=error.retryable,
    )
    if error.error_context:
        message.error_context.CopyFrom(_struct(error.error_context))
    if isinstance(error.__cause__, OnexError):
        message.cause.CopyFrom(to_proto(error.__cause__, node_kind=node_kind))
    return message


def from_proto(message: common_pb2.OnexError) -> OnexError:
    """The Python error of one that travelled inside of a result."""
    context = from_struct(message.error_context)
    error = _build(message.reason, message.message, message.retryable, message.correlation_id, context)
    if message.HasField("cause"):
        error.__cause__ = from_proto(message.cause)
    return error


def to_status(error: OnexError, *, node: str = "") -> status_pb2.Status:
    """The `google.rpc.Status` that an RPC ends with.

    Args:
        error: The error.
        node: Which node answers, for people.
    """
    metadata = {
        "correlation_id": _shortened(error.correlation_id, _FACT_CHARS_MAX),
        "retryable": str(error.retryable).lower(),
    }
    if node:
        metadata["node"] = node
    for key, value in error.error_context.items():
        if key != "violations":
            fact = value if isinstance(value, str) else json.dumps(value, default=str)
            metadata[key] = _shortened(fact, _FACT_CHARS_MAX)
    message = _shortened(error.message, _MESSAGE_CHARS_MAX)
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    _attach(status, error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    if isinstance(error, ValidationError) and error.violations:
        bad = error_details_pb2.BadRequest()
        for field, description in error.violations[:_VIOLATIONS_MAX]:
            bad.field_violations.add(field=field, description=description)
        _attach(status, bad)
    elif code_of(error) is grpc.StatusCode.FAILED_PRECONDITION:
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=error.reason, description=message)
        _attach(status, failure)
    if error.retryable:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(100)
        _attach(status, retry)
    if isinstance(error, WorkflowExecutionError) and error.pipeline is not None:
        is_small = error.pipeline.ByteSize() < STATUS_BYTES_MAX // 2
        _attach(status, error.pipeline if is_small else _brief(error.pipeline))
    _keep_within_metadata(status)
    return status


def from_rpc_error(error: grpc.RpcError) -> OnexError:
    """The Python error of an RPC that ended with a status; the reason INTERNAL where the status carries none."""
    status = _status_of(error)
    if status is None:
        code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
        details = error.details() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else str(error)
        return _of_plain_code(code, details or code.name)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            metadata = dict(info.metadata)
            correlation_id = metadata.pop("correlation_id", "")
            retryable = metadata.pop("retryable", "false") == "true"
            context: dict[str, object] = dict(metadata)
            violations = _violations(status)
            if violations:
                context["violations"] = violations
            rebuilt = _build(info.reason, status.message, retryable, correlation_id, context)
            if isinstance(rebuilt, WorkflowExecutionError):
                rebuilt.pipeline = pipeline_of(error)
            return rebuilt
    return _of_plain_code(_CODE_BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN), status.message)


def pipeline_of(error: grpc.RpcError) -> common_pb2.PipelineErrorContext | None:
    """The errors of all nodes that a failed workflow crossed, where the status carries them."""
    status = _status_of(error)
    for detail in status.details if status is not None else ():
        pipeline = common_pb2.PipelineErrorContext()
        if detail.Unpack(pipeline):
            return pipeline
    return None


_CODE_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}

_REASON_BY_PLAIN_CODE: dict[grpc.StatusCode, tuple[str, bool]] = {
    grpc.StatusCode.UNAVAILABLE: ("DEPENDENCY_UNAVAILABLE", True),
    grpc.StatusCode.DEADLINE_EXCEEDED: ("ACTION_EXPIRED", False),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("OVERLOADED", True),
    grpc.StatusCode.INVALID_ARGUMENT: ("VALIDATION_FAILED", False),
    grpc.StatusCode.UNIMPLEMENTED: ("UNIMPLEMENTED", False),
    grpc.StatusCode.CANCELLED: ("CANCELLED", False),
}


def _of_plain_code(code: grpc.StatusCode, message: str) -> OnexError:
    reason, retryable = _REASON_BY_PLAIN_CODE.get(code, ("INTERNAL", False))
    return _build(reason, message, retryable, "", {})


def _build(reason: str, message: str, retryable: bool, correlation_id: str, context: Mapping[str, object]) -> OnexError:
    cls = _CLASSES.get(reason)
    if cls is None:
        return RemoteError(
            message, reason=reason, retryable=retryable, correlation_id=correlation_id, error_context=context
        )
    error = cls(message, correlation_id=correlation_id, error_context=context)
    error.retryable = retryable
    return error


def _violations(status: status_pb2.Status) -> list[dict[str, str]]:
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            return [{"field": row.field, "description": row.description} for row in bad.field_violations]
    return []


def _status_of(error: grpc.RpcError) -> status_pb2.Status | None:
    if isinstance(error, grpc.aio.AioRpcError):
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                return status_pb2.Status.FromString(value if isinstance(value, bytes) else value.encode())
        return None
    if isinstance(error, grpc.Call):
        status = rpc_status.from_call(error)
        assert status is None or isinstance(status, status_pb2.Status)
        return status
    return None


def _brief(pipeline: common_pb2.PipelineErrorContext) -> common_pb2.PipelineErrorContext:
    """The errors without their facts and causes, and of many only the first; total_errors still counts all."""
    brief = common_pb2.PipelineErrorContext(
        correlation_id=pipeline.correlation_id,
        failed_nodes=pipeline.failed_nodes[:_BRIEF_ERRORS],
        total_errors=pipeline.total_errors,
    )
    for error in pipeline.error_chain[:_BRIEF_ERRORS]:
        brief.error_chain.add(
            reason=error.reason,
            message=_shortened(error.message, _BRIEF_CHARS_MAX),
            node_kind=error.node_kind,
            code=error.code,
            retryable=error.retryable,
        )
    return brief


def _keep_within_metadata(status: status_pb2.Status) -> None:
    """Drops details, the largest first, until the status is small enough to travel; ErrorInfo keeps the essentials."""
    while status.ByteSize() > STATUS_BYTES_MAX and len(status.details) > 1:
        sizes = [len(detail.value) for detail in status.details]
        del status.details[sizes.index(max(sizes[1:]), 1)]
    info = error_details_pb2.ErrorInfo()
    if status.ByteSize() > STATUS_BYTES_MAX and status.details[0].Unpack(info):
        for key in [key for key in info.metadata if key not in ("correlation_id", "retryable", "node")]:
            del info.metadata[key]
        status.details[0].Pack(info)


def _shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def _attach(status: status_pb2.Status, message: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(message)
    status.details.append(packed)


def _struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    """The facts as JSON; what cannot be JSON, such as an integer beyond ±2^53, is told as text."""
    struct = struct_pb2.Struct()
    for key, value in values.items():
        try:
            fill_value(struct.fields[key], value, key)
        except ValidationError:
            struct.fields[key].string_value = str(value)
    return struct

"""The error table: reasons, their gRPC codes and classes, and errors as they travel inside of results."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf import struct_pb2

from onex.v1 import common_pb2
from onex_lease.errors import (
    EpochMismatchError,
    EtcdUnavailableError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseInvalidError,
    OnexError,
    PayloadTooLargeError,
    StateConflictError,
    ValidationError,
    WorkflowExistsError,
    WorkflowNotFoundError,
)
from onex_mesh.runtime.error_classes import (
    ActionExpiredError,
    AlgorithmNotFoundError,
    CancelledError,
    CircuitOpenError,
    ComputeFailedError,
    EffectFailedError,
    InternalError,
    NotBuiltError,
    OverloadedError,
    PurityViolationError,
    ReducerNotFoundError,
    ReductionFailedError,
    RemoteError,
    StepFailedError,
    TargetNotFoundError,
    TargetUnavailableError,
    TransitionRefusedError,
    UnknownActionError,
    VersionIncompatibleError,
    WorkflowExecutionError,
)
from onex_mesh.runtime.payload import fill_value, from_struct

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
    error = build_error(message.reason, message.message, message.retryable, message.correlation_id, context)
    if message.HasField("cause"):
        error.__cause__ = from_proto(message.cause)
    return error


def build_error(
    reason: str, message: str, retryable: bool, correlation_id: str, context: Mapping[str, object]
) -> OnexError:
    """The error of a reason; a RemoteError where this version knows no class for it."""
    cls = _CLASSES.get(reason)
    if cls is None:
        return RemoteError(
            message, reason=reason, retryable=retryable, correlation_id=correlation_id, error_context=context
        )
    error = cls(message, correlation_id=correlation_id, error_context=context)
    error.retryable = retryable
    return error


def _struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    """The facts as JSON; what cannot be JSON, such as an integer beyond ±2^53, is told as text."""
    struct = struct_pb2.Struct()
    for key, value in values.items():
        try:
            fill_value(struct.fields[key], value, key)
        except ValidationError:
            struct.fields[key].string_value = str(value)
    return struct

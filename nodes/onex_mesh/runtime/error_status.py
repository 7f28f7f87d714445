"""Errors on the RPC level: `google.rpc.Status` with `ErrorInfo(reason, domain "onex.v1")`, and back."""

from __future__ import annotations

import json

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from onex.v1 import common_pb2
from onex_lease.errors import OnexError, ValidationError
from onex_mesh.runtime.error_classes import WorkflowExecutionError
from onex_mesh.runtime.error_table import build_error, code_of

DOMAIN = "onex.v1"

STATUS_BYTES_MAX = 5_000
"""A status travels as trailing metadata, and what is beyond 8 KiB of that is refused by clients: they would see the
refusal instead of the error. Base64 and the message, which travels a second time, take the rest."""
_RETRY_MS_MIN = 100
_MESSAGE_CHARS_MAX = 500
_FACT_CHARS_MAX = 500
_VIOLATIONS_MAX = 50
_BRIEF_ERRORS = 10
_BRIEF_CHARS_MAX = 150


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
        asked_s = error.error_context.get("retry_after_s")
        # What a target or its limits asked for; without it a moment, lest clients come back at once.
        told_s = asked_s if isinstance(asked_s, int | float) and not isinstance(asked_s, bool) else 0
        retry.retry_delay.FromMilliseconds(max(_RETRY_MS_MIN, int(told_s * 1000)))
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
            rebuilt = build_error(info.reason, status.message, retryable, correlation_id, context)
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
    return build_error(reason, message, retryable, "", {})


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

"""The error table, and the ways an error travels: inside of results and as google.rpc.Status."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from onex.v1 import common_pb2
from onex_mesh.runtime import errors

# The design's table, by hand: the code under test must agree with it, not with itself.
TABLE = {
    "VALIDATION_FAILED": "INVALID_ARGUMENT",
    "ALGORITHM_NOT_FOUND": "NOT_FOUND",
    "WORKFLOW_NOT_FOUND": "NOT_FOUND",
    "TARGET_NOT_FOUND": "NOT_FOUND",
    "REDUCER_NOT_FOUND": "NOT_FOUND",
    "WORKFLOW_EXISTS": "ALREADY_EXISTS",
    "UNKNOWN_ACTION": "FAILED_PRECONDITION",
    "TRANSITION_REFUSED": "FAILED_PRECONDITION",
    "PURITY_VIOLATION": "FAILED_PRECONDITION",
    "DEPENDENCY_UNAVAILABLE": "UNAVAILABLE",
    "TARGET_UNAVAILABLE": "UNAVAILABLE",
    "CIRCUIT_OPEN": "UNAVAILABLE",
    "VERSION_INCOMPATIBLE": "FAILED_PRECONDITION",
    "STEP_FAILED": "ABORTED",
    "WORKFLOW_ABORTED": "ABORTED",
    "LEASE_CONFLICT": "ABORTED",
    "LEASE_EXPIRED": "FAILED_PRECONDITION",
    "LEASE_INVALID": "PERMISSION_DENIED",
    "EPOCH_MISMATCH": "ABORTED",
    "STATE_CONFLICT": "ABORTED",
    "ACTION_EXPIRED": "DEADLINE_EXCEEDED",
    "PAYLOAD_TOO_LARGE": "RESOURCE_EXHAUSTED",
    "OVERLOADED": "RESOURCE_EXHAUSTED",
    "INTERNAL": "INTERNAL",
}
COMPUTE = common_pb2.NODE_KIND_COMPUTE


def error_classes() -> list[type[errors.OnexError]]:
    """Every error class of the mesh that needs nothing but a message."""
    exported = [getattr(errors, name) for name in errors.__all__]
    classes = [item for item in exported if isinstance(item, type) and issubclass(item, errors.OnexError)]
    return [cls for cls in classes if cls not in (errors.OnexError, errors.RemoteError)]


def rpc_error(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """What a client is given when a call ends with a status."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, status.message)


def detail(status: status_pb2.Status, kind: type[Message]) -> Message | None:
    """The first detail of a kind."""
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):  # type: ignore[arg-type]  # google.rpc ships no types
            return message
    return None


@pytest.mark.parametrize(("reason", "code"), TABLE.items())
def test_every_reason_has_the_code_of_the_table(reason: str, code: str) -> None:
    """R149–R152: a reason always ends a call with the same gRPC code."""
    error = errors.RemoteError("m", reason=reason, retryable=False)
    assert errors.code_of(error) is grpc.StatusCode[code]
    assert errors.to_status(error).code == grpc.StatusCode[code].value[0]


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_every_class_is_in_the_table_and_comes_back(cls: type[errors.OnexError]) -> None:
    """R149: no class has a reason outside of the table, and reason, message, retryable and id survive both ways."""
    error = cls("it is so", correlation_id="c-1")
    assert error.reason in errors.CODES
    for copy in (
        errors.from_proto(errors.to_proto(error, node_kind=COMPUTE)),
        errors.from_rpc_error(rpc_error(errors.to_status(error))),
    ):
        assert (copy.reason, copy.message, copy.retryable, copy.correlation_id) == (
            error.reason,
            "it is so",
            error.retryable,
            "c-1",
        )


def test_facts_keep_their_types_inside_of_results() -> None:
    """R149: error_context travels as JSON; whole numbers stay whole, and what JSON cannot hold is told as text."""
    context = {"epoch": 3, "rate": 0.5, "name": "x", "flag": True, "list": [1, {"a": None}], "big": 2**60, "odd": {1}}
    error = errors.EpochMismatchError("m", error_context=context)
    message = errors.to_proto(error, node_kind=COMPUTE)
    assert message.node_kind == COMPUTE
    assert message.code == grpc.StatusCode.ABORTED.value[0]
    copy = errors.from_proto(message)
    assert isinstance(copy, errors.EpochMismatchError)
    assert copy.error_context == {**context, "big": str(2**60), "odd": "{1}"}
    assert isinstance(copy.error_context["epoch"], int)


def test_not_a_number_among_the_facts_does_not_break_json() -> None:
    """R129: a result with an error in it can always be shown as JSON."""
    message = errors.to_proto(errors.InternalError("m", error_context={"n": float("nan")}), node_kind=COMPUTE)
    assert message.error_context.fields["n"].string_value == "nan"


def test_causes_travel_as_a_chain_but_foreign_ones_do_not() -> None:
    """R20, R149: the cause is kept where it is one of ours; nothing of any other exception leaves the node."""
    root = errors.TargetUnavailableError("the database is away")
    root.__cause__ = RuntimeError("password=hunter2")
    error = errors.StepFailedError("step a failed")
    error.__cause__ = root
    message = errors.to_proto(error, node_kind=COMPUTE)
    assert message.cause.reason == "TARGET_UNAVAILABLE"
    assert not message.cause.HasField("cause")
    assert "hunter2" not in str(message)
    assert "hunter2" not in str(errors.to_status(error))
    assert isinstance(errors.from_proto(message).__cause__, errors.TargetUnavailableError)


def test_violations_are_a_bad_request() -> None:
    """R36, R37: each violation names its field, and comes back to a Python client."""
    rows = (("input_data.a", "is missing"), ("input_data.b", "is string, not integer"))
    status = errors.to_status(errors.ValidationError("m", violations=rows))
    bad = detail(status, error_details_pb2.BadRequest)
    assert bad is not None
    assert [(row.field, row.description) for row in bad.field_violations] == list(rows)
    copy = errors.from_rpc_error(rpc_error(status))
    assert isinstance(copy, errors.ValidationError)
    assert copy.violations == rows


def test_refusals_for_the_state_of_things_are_a_precondition_failure() -> None:
    """R136: FAILED_PRECONDITION says which precondition."""
    status = errors.to_status(errors.LeaseExpiredError("over"))
    failure = detail(status, error_details_pb2.PreconditionFailure)
    assert failure is not None
    assert [(row.type, row.description) for row in failure.violations] == [("LEASE_EXPIRED", "over")]


@pytest.mark.parametrize(("cls", "has"), [(errors.CircuitOpenError, True), (errors.UnknownActionError, False)])
def test_only_what_may_be_tried_again_says_when(cls: type[errors.OnexError], has: bool) -> None:
    """R15: RetryInfo is on temporary errors and on no others."""
    retry = detail(errors.to_status(cls("m")), error_details_pb2.RetryInfo)
    assert (retry is not None) is has


@pytest.mark.parametrize(("asked", "seconds"), [(2.5, 2.5), (0.001, 0.1), ("soon", 0.1), (None, 0.1), (True, 0.1)])
def test_the_wait_that_was_asked_for_travels(asked: object, seconds: float) -> None:
    """R15: a limit that says when to come back is heard; never less than a moment."""
    error = errors.OverloadedError("m", error_context={} if asked is None else {"retry_after_s": asked})
    retry = detail(errors.to_status(error), error_details_pb2.RetryInfo)
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == int(seconds * 1000)


def test_a_failed_workflow_carries_the_errors_of_all_nodes() -> None:
    """R151, R152: correlation id, chain, failed nodes and their count reach the client, also as the Python error."""
    first = errors.to_proto(errors.TargetUnavailableError("away"), node_kind=common_pb2.NODE_KIND_EFFECT)
    pipeline = common_pb2.PipelineErrorContext(
        correlation_id="c-1", error_chain=[first], failed_nodes=["effect"], total_errors=1
    )
    error = errors.WorkflowExecutionError("aborted", correlation_id="c-1", pipeline=pipeline)
    received = rpc_error(errors.to_status(error))
    assert errors.pipeline_of(received) == pipeline
    copy = errors.from_rpc_error(received)
    assert isinstance(copy, errors.WorkflowExecutionError)
    assert copy.pipeline == pipeline


def test_the_reason_is_in_error_info_of_our_domain() -> None:
    """R149: any language reads reason, correlation id and facts from ErrorInfo."""
    error = errors.WorkflowExistsError("m", correlation_id="c-1", error_context={"epoch": 3})
    info = detail(errors.to_status(error, node="compute"), error_details_pb2.ErrorInfo)
    assert info is not None
    assert (info.reason, info.domain) == ("WORKFLOW_EXISTS", "onex.v1")
    assert dict(info.metadata) == {"correlation_id": "c-1", "retryable": "false", "node": "compute", "epoch": "3"}


def test_a_status_always_fits_into_metadata() -> None:
    """R152: a huge error arrives as itself; clients refuse more than 8 KiB of metadata and would see that instead."""
    chain = [
        errors.to_proto(errors.StepFailedError("x" * 900, error_context={"facts": "y" * 900}), node_kind=COMPUTE)
        for _ in range(40)
    ]
    pipeline = common_pb2.PipelineErrorContext(correlation_id="c", error_chain=chain, total_errors=40)
    context = {f"fact{index}": "z" * 2_000 for index in range(40)}
    huge = errors.WorkflowExecutionError("m" * 9_000, correlation_id="c", error_context=context, pipeline=pipeline)
    status = errors.to_status(huge)
    assert status.ByteSize() <= errors.STATUS_BYTES_MAX
    copy = errors.from_rpc_error(rpc_error(status))
    assert (copy.reason, copy.correlation_id) == ("WORKFLOW_ABORTED", "c")
    alone = errors.WorkflowExecutionError("m", correlation_id="c", pipeline=pipeline)
    brief = errors.pipeline_of(rpc_error(errors.to_status(alone)))
    assert brief is not None
    assert brief.total_errors == 40
    assert brief.error_chain[0].reason == "STEP_FAILED"
    rows = tuple((f"field{index}", "d" * 400) for index in range(200))
    assert errors.to_status(errors.ValidationError("m", violations=rows)).ByteSize() <= errors.STATUS_BYTES_MAX


@pytest.mark.parametrize(
    ("code", "reason", "retryable"),
    [
        ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", True),
        ("DEADLINE_EXCEEDED", "ACTION_EXPIRED", False),
        ("RESOURCE_EXHAUSTED", "OVERLOADED", True),
        ("CANCELLED", "CANCELLED", False),
        ("UNKNOWN", "INTERNAL", False),
    ],
)
def test_a_status_without_details_is_understood(code: str, reason: str, retryable: bool) -> None:
    """R149: what gRPC itself answers, without our details, becomes an error of the mesh too."""
    plain = grpc.aio.AioRpcError(grpc.StatusCode[code], grpc.aio.Metadata(), grpc.aio.Metadata(), "text")
    error = errors.from_rpc_error(plain)
    assert (error.reason, error.retryable, error.message) == (reason, retryable, "text")


def test_an_unknown_reason_stays_what_it_is() -> None:
    """R149: a reason of an application or a later version is kept, with its facts."""
    message = common_pb2.OnexError(reason="STOCK_EMPTY", message="none left", retryable=True)
    copy = errors.from_proto(message)
    assert (type(copy), copy.reason, copy.retryable) == (errors.RemoteError, "STOCK_EMPTY", True)
    assert errors.code_of(copy) is grpc.StatusCode.UNKNOWN

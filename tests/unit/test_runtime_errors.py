"""Errors across processes: pickled by worker pools, and back from the wire as the classes that code catches."""

from __future__ import annotations

import pickle

import pytest

from onex.v1 import common_pb2
from onex_mesh.runtime import errors
from onex_mesh.runtime.errors import OnexError, RemoteError, from_proto


def error_classes() -> list[type[OnexError]]:
    """Every error of the mesh, the exported and the others."""
    found: list[type[OnexError]] = []
    waiting = [OnexError]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls.__module__.startswith(("onex_lease", "onex_mesh.runtime")):
            found.append(cls)
    return sorted(set(found) - {OnexError, RemoteError}, key=lambda cls: cls.__name__)


def built(cls: type[OnexError]) -> OnexError:
    """An error of a class, as it is raised."""
    if cls.__name__ == "EtcdRejectedError":
        return cls("no", code="NOT_FOUND")  # type: ignore[call-arg]  # its own signature
    return cls("no", correlation_id="c-1", error_context={"field": "x", "limit": 3})


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_every_class_has_a_code(cls: type[OnexError]) -> None:
    """R149: no error would end a call as UNKNOWN, those that are not exported included."""
    assert cls.reason in errors.CODES


@pytest.mark.parametrize("reason", sorted(errors.CODES))
def test_every_reason_comes_back_as_a_class(reason: str) -> None:
    """R149: a client that catches classes can catch every reason that a node may send."""
    error = from_proto(common_pb2.OnexError(reason=reason, message="no"))
    assert error.reason == reason
    assert type(error) is not RemoteError


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_errors_survive_pickling(cls: type[OnexError]) -> None:
    """R20: an error raised in a worker process arrives whole."""
    error = built(cls)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(back) is cls
    assert (back.reason, back.message, back.retryable) == (error.reason, error.message, error.retryable)
    assert (back.correlation_id, back.error_context) == (error.correlation_id, error.error_context)


def test_an_unknown_reason_survives_pickling() -> None:
    """R163: an error of a later version keeps its reason and whether to retry, also between processes."""
    error = RemoteError("later", reason="QUOTA_EXCEEDED", retryable=True)
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert (back.reason, back.retryable) == ("QUOTA_EXCEEDED", True)


def test_an_error_that_came_from_the_wire_keeps_whether_to_retry() -> None:
    """R15: whether to retry is what the node said, not what this version's class says; pickling keeps that."""
    error = from_proto(common_pb2.OnexError(reason="EFFECT_FAILED", message="busy", retryable=True))
    assert error.retryable
    assert pickle.loads(pickle.dumps(error)).retryable  # noqa: S301  # our own bytes

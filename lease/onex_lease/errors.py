"""Errors of the mesh that the lease kernel can raise, and the base of all others.

Each class carries its stable reason, whether the same request may succeed later unchanged, and the facts about it.
How a reason maps to a gRPC status is the server's matter (`onex_mesh.runtime.errors`).
"""

from __future__ import annotations

from collections.abc import Mapping


class OnexError(Exception):
    """Base of every error of the mesh (R149).

    Args:
        message: For people; never holds a credential.
        correlation_id: The request that the error belongs to; filled in by the server where it is empty.
        error_context: Facts as plain JSON: field names, expected and found values.
    """

    reason: str = "INTERNAL"
    retryable: bool = False

    def __init__(
        self, message: str, *, correlation_id: str = "", error_context: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.correlation_id = correlation_id
        self.error_context: dict[str, object] = dict(error_context or {})

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling that process pools use.
        facts = (self.message, self.correlation_id, self.error_context, self.reason, self.retryable)
        return (_rebuild, (type(self), *facts))


def _rebuild(
    cls: type[OnexError],
    message: str,
    correlation_id: str,
    error_context: dict[str, object],
    reason: str,
    retryable: bool,
) -> OnexError:
    error = cls.__new__(cls)
    OnexError.__init__(error, message, correlation_id=correlation_id, error_context=error_context)
    error.reason = reason
    error.retryable = retryable
    return error


class LeaseConflictError(OnexError):
    """Another holder owns the workflow (R132)."""

    reason = "LEASE_CONFLICT"
    retryable = True


class LeaseExpiredError(OnexError):
    """The lease was held once and is over (R136)."""

    reason = "LEASE_EXPIRED"


class LeaseInvalidError(OnexError):
    """The lease was never held: forged, or another workflow's (R144, F10)."""

    reason = "LEASE_INVALID"


class EpochMismatchError(OnexError):
    """The workflow is at another epoch than the action says (R137, R141)."""

    reason = "EPOCH_MISMATCH"


class StateConflictError(OnexError):
    """A concurrent writer won the compare-and-swap (R143)."""

    reason = "STATE_CONFLICT"


class WorkflowNotFoundError(OnexError):
    """No workflow of that id is known."""

    reason = "WORKFLOW_NOT_FOUND"


class WorkflowExistsError(OnexError):
    """A workflow of that id exists already."""

    reason = "WORKFLOW_EXISTS"


class PayloadTooLargeError(OnexError):
    """A value is larger than what may be stored or sent."""

    reason = "PAYLOAD_TOO_LARGE"


class ValidationError(OnexError):
    """A request is malformed (R36, R37).

    Args:
        message: What is wrong, in a sentence.
        violations: (field path, what is wrong with it) for each violation found.
    """

    reason = "VALIDATION_FAILED"

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[tuple[str, str], ...] = (),
        correlation_id: str = "",
        error_context: Mapping[str, object] | None = None,
    ) -> None:
        context = dict(error_context or {})
        if violations:
            context["violations"] = [{"field": field, "description": text} for field, text in violations]
        super().__init__(message, correlation_id=correlation_id, error_context=context)

    @property
    def violations(self) -> tuple[tuple[str, str], ...]:
        """(field path, description) for each violation, in the order found."""
        rows = self.error_context.get("violations", [])
        assert isinstance(rows, list)
        return tuple((row["field"], row["description"]) for row in rows)


class EtcdUnavailableError(OnexError):
    """etcd did not answer, or refused the request; nothing was written."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retryable = True


class OutcomeUnknownError(OnexError):
    """The request may or may not have been applied: its answer was lost and could not be found out in time."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retryable = True


class EtcdRejectedError(EtcdUnavailableError):
    """etcd answered and refused the request as a whole; nothing was written.

    Args:
        message: What etcd said.
        code: Name of the gRPC status code.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, error_context={"code": code})
        self.code = code


class InProgressError(LeaseConflictError):
    """A live executor works on the same idempotency key at this moment; ask again when it is done."""

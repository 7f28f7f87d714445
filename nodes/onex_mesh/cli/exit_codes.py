"""What the exit codes of `onex-mesh` mean; docs/cli.md has the table."""

from __future__ import annotations

from onex_mesh.runtime.errors import OnexError, PurityViolationError, ValidationError

OK = 0
WORKFLOW_FAILED = 1
USAGE = 2
UNAVAILABLE = 3
REFUSED = 4
INTERNAL = 70
INTERRUPTED = 130
BROKEN_PIPE = 141

_UNAVAILABLE_REASONS = frozenset({"DEPENDENCY_UNAVAILABLE", "OVERLOADED", "ACTION_EXPIRED"})


def exit_code_of(error: OnexError) -> int:
    """The exit code of a command that ended with this error."""
    if isinstance(error, ValidationError | PurityViolationError):
        # Either says that something given does not fit; the second, an App.
        return USAGE
    if error.reason == "WORKFLOW_ABORTED":
        return WORKFLOW_FAILED
    if error.reason in _UNAVAILABLE_REASONS:
        return UNAVAILABLE
    return INTERNAL if error.reason == "INTERNAL" else REFUSED

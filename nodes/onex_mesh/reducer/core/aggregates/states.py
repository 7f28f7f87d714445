"""What stored states of aggregates are checked for."""

from __future__ import annotations

from collections.abc import Mapping

from onex_mesh.runtime.errors import StateConsistencyError


def refused(path: str, text: str) -> StateConsistencyError:
    """The error that says what is wrong in a state, and where."""
    return StateConsistencyError(f"{path}: {text}", error_context={"field": path})


def fields_of(state: object, names: set[str], path: str, text: str) -> Mapping[str, object]:
    """The fields of a state that has just these.

    Raises:
        StateConsistencyError: It has others; `text` says what it should be.
    """
    if not isinstance(state, dict) or set(state) != names:
        raise refused(path, text)
    return state


def count_of(state: object, path: str) -> int:
    """A count.

    Raises:
        StateConsistencyError: It is none.
    """
    if isinstance(state, int) and not isinstance(state, bool) and state >= 0:
        return state
    raise StateConsistencyError(
        f"{path}: expected a count, 0 or more",
        error_context={"field": path, "expected": "integer", "found": type(state).__name__},
    )

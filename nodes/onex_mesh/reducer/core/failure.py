"""What is said of application code that failed: its exception and the line of its own code, not a traceback."""

from __future__ import annotations

import traceback

from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import ReductionFailedError

_CHARS_MAX = 500


def failure_of(error: BaseException, function: object, what: str) -> ReductionFailedError:
    """The error of the mesh for an exception of the application.

    Args:
        error: The exception.
        function: What was called.
        what: For people: "the transition PLACE_ORDER".
    """
    place = _place_in(error, function)
    kind = type(error).__name__
    text = f"{kind}: {error}" if str(error) else kind
    return ReductionFailedError(
        f"{what} failed at {place}: {text[:_CHARS_MAX]}", error_context={"error_type": kind, "place": place}
    )


def _place_in(error: BaseException, function: object) -> str:
    """The innermost line that belongs to the file of the function that was called."""
    code = getattr(function, "__code__", None)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if code is not None and frame.filename == code.co_filename:
            return f"{frame.filename}:{frame.lineno}"
    return place_of(function)

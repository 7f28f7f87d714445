"""What is said of an algorithm that failed: its exception and the line of the application's code, not a traceback."""

from __future__ import annotations

import traceback

from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import ComputeFailedError

_CHARS_MAX = 500


def failure_of(error: Exception, function: object, algorithm: str) -> ComputeFailedError:
    """The error of the mesh for an exception of an algorithm.

    Args:
        error: The exception.
        function: What was called: the algorithm or its merge.
        algorithm: Name of the algorithm.
    """
    place = _place_in(error, function)
    kind = type(error).__name__
    text = f"{kind}: {error}" if str(error) else kind
    return ComputeFailedError(
        f"the algorithm {algorithm!r} failed at {place}: {text[:_CHARS_MAX]}",
        error_context={"algorithm_type": algorithm, "error_type": kind, "place": place},
    )


def _place_in(error: Exception, function: object) -> str:
    """The innermost line that belongs to the file of the function that was called."""
    code = getattr(function, "__code__", None)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if code is not None and frame.filename == code.co_filename:
            return f"{frame.filename}:{frame.lineno}"
    return place_of(function)

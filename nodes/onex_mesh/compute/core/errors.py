"""What is said of an algorithm that failed: its exception and the line of the application's code, not a traceback."""

from __future__ import annotations

import traceback

from onex_mesh.runtime.errors import ComputeFailedError, OnexError


def failure_of(error: BaseException, algorithm: str) -> OnexError:
    """The error of the mesh for an exception of an algorithm; one of the mesh's own is passed on."""
    if isinstance(error, OnexError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    failed = ComputeFailedError(
        f"the algorithm {algorithm!r} failed{place}: {text}",
        error_context={"algorithm_type": algorithm, "error_type": type(error).__name__},
    )
    failed.__cause__ = error
    return failed

"""How long algorithms usually take: whether a run may hold the event loop (R42)."""

from __future__ import annotations

SLOW_S = 0.002
"""An algorithm whose runs take longer does not run on the event loop."""

INLINE_BYTES_MAX = 64 * 1024
"""Inputs of more are not even read on the event loop."""

_SMOOTHING = 0.2


class RunTimes:
    """A moving average of run times by algorithm, version and order of magnitude of the input.

    Implements `onex_mesh.compute.ports.PerformanceMonitor`.
    """

    def __init__(self) -> None:
        self._usual_s: dict[tuple[str, str, int], float] = {}

    def is_quick(self, algorithm: str, version: str, size_bytes: int) -> bool:
        """Whether a run is expected to be short; never before one of that size was seen."""
        if size_bytes > INLINE_BYTES_MAX:
            return False
        return self._usual_s.get((algorithm, version, size_bytes.bit_length()), SLOW_S * 2) <= SLOW_S

    def ran(self, algorithm: str, version: str, size_bytes: int, seconds: float) -> None:
        """Takes note of a run."""
        key = (algorithm, version, size_bytes.bit_length())
        usual = self._usual_s.get(key, seconds)
        self._usual_s[key] = usual + _SMOOTHING * (seconds - usual)

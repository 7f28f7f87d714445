"""How much memory algorithms need: by what they needed before, in multiples of their input."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_FACTOR = 2.0
"""The input, and a result of its size."""

_TOLD_BYTES_MIN = 1024 * 1024
"""Below it, what a run needed tells more of the interpreter than of its input."""

_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Appetite:
    """What is known of a run before it begins.

    Attributes:
        algorithm: Its name.
        version: Its version.
        input_bytes: Size of its input.
    """

    algorithm: str
    version: str
    input_bytes: int


class Needs:
    """Memory by byte of input, of each algorithm and version: rises at once, and falls slowly."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}

    def expected_bytes(self, appetite: Appetite) -> int:
        """What a run is expected to need."""
        factor = self._factors.get((appetite.algorithm, appetite.version), LEAST_FACTOR)
        return int(appetite.input_bytes * factor)

    def was(self, appetite: Appetite, most_bytes: int) -> None:
        """Takes note of what a run needed at most."""
        if appetite.input_bytes < _TOLD_BYTES_MIN:
            return
        key = (appetite.algorithm, appetite.version)
        usual = self._factors.get(key, LEAST_FACTOR)
        found = max(LEAST_FACTOR, most_bytes / appetite.input_bytes)
        self._factors[key] = max(found, usual + _SMOOTHING * (found - usual))

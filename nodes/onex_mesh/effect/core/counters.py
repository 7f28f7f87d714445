"""What is counted of one target since the node started; a target that is declared anew keeps its counts."""

from __future__ import annotations

from dataclasses import dataclass, field

OUTCOMES = ("completed", "replayed", "cached", "failed", "cancelled")
"""How an effect ends, as audit records and metrics say it."""


@dataclass(slots=True)
class Counters:
    """Counts of one target."""

    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    """Effects, by outcome."""
    retries: int = 0
    """Attempts beyond the first."""
    in_flight: int = 0
    """Calls under way, those of an earlier declaration included that are still being finished."""

    @property
    def succeeded(self) -> int:
        """Effects that came to their result, be it recorded or cached."""
        return self.ended["completed"] + self.ended["replayed"] + self.ended["cached"]

    @property
    def failed(self) -> int:
        """Effects that ended with an error."""
        return self.ended["failed"]

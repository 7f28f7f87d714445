"""What a built-in algorithm makes of a chunk where that is no result yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partial:
    """A partial result, for the algorithm's own merge function and nobody else.

    Attributes:
        parts: Tables, and plain values, by name.
    """

    parts: Mapping[str, object]

"""Means and variances of chunks, made one: T. F. Chan, G. H. Golub, R. J. LeVeque, 1979, STAN-CS-79-773."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """Of some numbers.

    Attributes:
        count: How many.
        mean: Their mean.
        spread: Sum of the squares of their distances from it.
    """

    count: int
    mean: float
    spread: float


def merged_moments(parts: Sequence[Moments]) -> Moments:
    """The moments of all numbers of several parts."""
    known = [part for part in parts if part.count]
    if len(known) < 2:
        return known[0] if known else Moments(0, 0.0, 0.0)
    count = sum(part.count for part in known)
    mean = sum(part.mean * part.count for part in known) / count
    between = sum(part.count * (part.mean - mean) * (part.mean - mean) for part in known)
    return Moments(count, mean, sum(part.spread for part in known) + between)

"""Doubles cut into slices of leading bits, each of which NumPy can sum without rounding.

A slice takes so few bits of all numbers that no partial sum needs more than 53, and leaves the rest for the next one
(Rump, Ogita and Oishi 2008, "Accurate floating-point summation", ExtractVector). Numbers of very different size are
left over after a few slices, and are summed one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK = 32_768
"""Numbers of a block: with its working copies it stays in a processor's second cache."""

GROUPED_BLOCK = 2**18
"""The same where sums are by group, which costs something for each block and group."""

_HALF_BITS = 32
_DOUBLE_INT_MAX = 2**53
_SPLITTER = 2.0**27 + 1
_SQUARED_MAX = 2.0**480
_SQUARED_MIN = 2.0**-480
_SLICES_MAX = 6
_EXPONENT_MAX = 1_020
_MANTISSA_BITS = 53


def leading_slices(rest: Array) -> Iterator[Array]:
    """Slices of numbers, each with a sum that no order of adding rounds; what they leave stays in `rest`.

    Args:
        rest: The numbers; changed in place. Each slice is overwritten by the next one.
    """
    largest = max(abs(float(rest.min())), abs(float(rest.max())))
    if not largest:
        return
    count_bits = (len(rest) + 2).bit_length()
    exponent = math.frexp(largest)[1] + count_bits
    slice_ = np.empty_like(rest)
    for _ in range(_SLICES_MAX):
        if exponent > _EXPONENT_MAX:
            return
        grid = math.ldexp(1.0, exponent)
        np.add(rest, grid, out=slice_)
        np.subtract(slice_, grid, out=slice_)
        np.subtract(rest, slice_, out=rest)
        yield slice_
        if not rest.any():
            return
        # What is left of each number is at most 2^-53 of the grid.
        exponent += count_bits + 1 - _MANTISSA_BITS


def exact_doubles(blocks: Iterable[Array]) -> list[float]:
    """Doubles with the exact sum of all blocks, mostly far fewer than they have."""
    doubles: list[float] = []
    for values in blocks:
        rest = values.copy()
        doubles.extend(float(slice_.sum()) for slice_ in leading_slices(rest))
        if rest.any():
            doubles.extend(rest[rest != 0].tolist())
    return doubles


def exact_doubles_by_group(values: Array, codes: Array, count: int) -> list[list[float]]:
    """Doubles with the exact sum of each group.

    Args:
        values: The numbers.
        codes: Number of the group by number, from 0.
        count: How many groups there are.
    """
    parts: list[list[float]] = [[] for _ in range(count)]
    for begin in range(0, len(values), GROUPED_BLOCK):
        own, rest = codes[begin : begin + GROUPED_BLOCK], values[begin : begin + GROUPED_BLOCK].copy()
        for slice_ in leading_slices(rest):
            for code, part in nonzero_sums(own, slice_, count):
                parts[code].append(part)
        for at in np.flatnonzero(rest).tolist():
            parts[int(own[at])].append(float(rest[at]))
    return parts


def whole_sums_by_group(values: Array, codes: Array, count: int) -> list[int]:
    """The sum of the 64-bit integers of each group, of any size."""
    sums = [0] * count
    for begin in range(0, len(values), GROUPED_BLOCK):
        own, block = codes[begin : begin + GROUPED_BLOCK], values[begin : begin + GROUPED_BLOCK]
        halves = [(block, 0)]
        if max(abs(int(block.min())), abs(int(block.max()))) * len(block) > _DOUBLE_INT_MAX:
            # Of 32 bits each: their sums over a block are below 2^53, up to which doubles hold every integer.
            halves = [(block >> _HALF_BITS, _HALF_BITS), (block & (2**_HALF_BITS - 1), 0)]
        for half, shift in halves:
            for code, part in nonzero_sums(own, half, count):
                sums[code] += int(part) << shift
    return sums


def nonzero_sums(codes: Array, weights: Array, count: int) -> Iterator[tuple[int, float]]:
    """The groups whose sum is not 0, and it; rounded unless the weights see to that."""
    sums = np.bincount(codes, weights=weights, minlength=count)
    at = np.flatnonzero(sums)
    return zip(at.tolist(), sums[at].tolist(), strict=True)


def exact_squares(values: Array) -> tuple[Array, Array, Array] | None:
    """Three arrays whose sum is the square of each double, without rounding; None where a square could leave the range.

    Each number is split into halves of 26 bits (Dekker 1971, "A floating-point technique for extending the available
    precision"), the products of which doubles hold.
    """
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0.0))
    smallest = float(sizes.min(where=sizes > 0, initial=math.inf))
    if largest > _SQUARED_MAX or smallest < _SQUARED_MIN:
        return None
    scaled = values * _SPLITTER
    high = scaled - (scaled - values)
    low = values - high
    return high * high, 2.0 * high * low, low * low

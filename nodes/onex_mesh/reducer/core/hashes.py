"""Hashes of values, 64 bits each: the same in every process, and for a number whatever type it came in."""

from __future__ import annotations

import hashlib
import struct

from onex_mesh.reducer.core.scalars import Scalar, ranked

HASH_BYTES = 8
DOUBLE_TAG = 0x5851F42D4C957F2D
"""Tells the bits of a double that is not whole from those of an integer."""

# A step of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): a bijection.
INCREMENT = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)

_MASK = 2**64 - 1
_INT64 = range(-(2**63), 2**63)
_TAGS = (b"n", b"b", b"i", b"t")


def hash_of(value: Scalar) -> int:
    """The hash of a value, as an unsigned integer."""
    if not isinstance(value, bool):
        if isinstance(value, int) and value in _INT64:
            return _mixed(value & _MASK)
        if isinstance(value, float):
            (bits,) = struct.unpack("<Q", struct.pack("<d", value))
            return _mixed(bits ^ DOUBLE_TAG)
    rank, plain = ranked(value)
    digest = hashlib.blake2b(_TAGS[rank] + str(plain).encode(), digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest)


def _mixed(bits: int) -> int:
    bits = (bits + INCREMENT) & _MASK
    bits = ((bits ^ (bits >> SHIFTS[0])) * FACTORS[0]) & _MASK
    bits = ((bits ^ (bits >> SHIFTS[1])) * FACTORS[1]) & _MASK
    return bits ^ (bits >> SHIFTS[2])

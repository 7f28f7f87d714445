"""The contents that a node keeps for the next step."""

from __future__ import annotations

from onex.v1 import common_pb2
from onex_mesh.runtime.payload_cache import PayloadCache
from onex_mesh.runtime.payload_store import location_of


def test_what_was_used_longest_ago_goes_first() -> None:
    """R44: all of them stay within the bound."""
    cache = PayloadCache(bytes_max=10)
    first, second, third = (content * 4 for content in (b"a", b"b", b"c"))
    cache.add(location_of(first), first)
    cache.add(location_of(second), second)
    assert cache.get(location_of(first)) == first
    cache.add(location_of(third), third)
    assert cache.get(location_of(second)) is None
    assert cache.get(location_of(first)) == first
    assert cache.get(location_of(third)) == third


def test_what_is_larger_than_all_is_not_kept() -> None:
    """R44: nor does it drive the others out."""
    cache = PayloadCache(bytes_max=10)
    cache.add(location_of(b"small"), b"small")
    cache.add(location_of(b"x" * 11), b"x" * 11)
    assert cache.get(location_of(b"x" * 11)) is None
    assert cache.get(location_of(b"small")) == b"small"


def test_another_place_or_size_is_not_answered() -> None:
    """R82: a location that does not say the same is left to the store."""
    cache = PayloadCache()
    where = location_of(b"abc")
    cache.add(where, b"abc")
    assert cache.get(common_pb2.PayloadLocation(uri=where.uri, digest=where.digest)) == b"abc"
    assert cache.get(common_pb2.PayloadLocation(uri=where.uri, digest=where.digest, size_bytes=4)) is None
    assert cache.get(common_pb2.PayloadLocation(uri="payloads/x", digest=where.digest)) is None

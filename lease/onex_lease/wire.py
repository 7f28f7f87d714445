"""Encoding of etcd transactions, straight to bytes.

A commit is built thousands of times a second; as nested `aetcd.rpc` messages it costs 2.5 times as much CPU as it does
here, and a group of commits is then a join of bytes. The wire format is protobuf's, the field numbers are those of
etcd's `rpc.proto`; a test compares every function with the messages of `aetcd.rpc`.
"""

from __future__ import annotations

from collections.abc import Iterable


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: bytes, payload: bytes) -> bytes:
    return tag + _varint(len(payload)) + payload


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that begin with `prefix` (not empty, its last byte below 0xFF)."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def created_at(key: bytes, revision: int) -> bytes:
    """Comparison: the key's create_revision equals `revision`; 0 means that it does not exist."""
    return _field(b"\x0a", b"\x10\x01" + _field(b"\x1a", key) + b"\x28" + _varint(revision))


def version_is(key: bytes, version: int) -> bytes:
    """Comparison: the key's version equals `version`; 0 means that it does not exist."""
    return _field(b"\x0a", _field(b"\x1a", key) + b"\x20" + _varint(version))


def modified_at(key: bytes, revision: int) -> bytes:
    """Comparison: the key's mod_revision equals `revision`; 0 means that it does not exist."""
    return _field(b"\x0a", b"\x10\x02" + _field(b"\x1a", key) + b"\x30" + _varint(revision))


def bound_to(key: bytes, etcd_lease: int) -> bytes:
    """Comparison: the key is bound to that etcd lease."""
    return _field(b"\x0a", b"\x10\x04" + _field(b"\x1a", key) + b"\x40" + _varint(etcd_lease))


def value_is(key: bytes, value: bytes) -> bytes:
    """Comparison: the key exists and its value equals `value`."""
    return _field(b"\x0a", b"\x10\x03" + _field(b"\x1a", key) + _field(b"\x3a", value))


def put(key: bytes, value: bytes, etcd_lease: int = 0) -> bytes:
    """Operation: store a value, bound to an etcd lease unless that is 0."""
    body = _field(b"\x0a", key)
    if value:
        body += _field(b"\x12", value)
    if etcd_lease:
        body += b"\x18" + _varint(etcd_lease)
    return _field(b"\x12", body)


def get(key: bytes) -> bytes:
    """Operation: read one key."""
    return _field(b"\x0a", _field(b"\x0a", key))


def get_version(key: bytes) -> bytes:
    """Operation: read one key's version and revisions, without its value."""
    return _field(b"\x0a", _field(b"\x0a", key) + b"\x40\x01")


def delete(key: bytes) -> bytes:
    """Operation: remove one key."""
    return _field(b"\x1a", _field(b"\x0a", key))


def delete_prefix(prefix: bytes) -> bytes:
    """Operation: remove every key that begins with `prefix`."""
    return _field(b"\x1a", _field(b"\x0a", prefix) + _field(b"\x12", prefix_end(prefix)))


def txn(compare: Iterable[bytes], success: Iterable[bytes], failure: Iterable[bytes] = ()) -> bytes:
    """A transaction: if every comparison holds, the operations of `success`, else those of `failure`."""
    parts = list(compare)
    parts += [b"\x12" + _varint(len(operation)) + operation for operation in success]
    parts += [b"\x1a" + _varint(len(operation)) + operation for operation in failure]
    return b"".join(parts)


def nested(transaction: bytes) -> bytes:
    """Operation: a transaction within a transaction."""
    return _field(b"\x22", transaction)


def group(transactions: Iterable[bytes]) -> bytes:
    """A transaction that holds each of `transactions`, each with its own comparisons and its own outcome."""
    return b"".join([_field(b"\x12", nested(transaction)) for transaction in transactions])

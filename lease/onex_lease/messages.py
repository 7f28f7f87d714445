"""The shapes of etcd's answers that the kernel reads; `aetcd.rpc` ships no types for its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class KeyValue(Protocol):
    """A stored key. `lease` is the etcd lease that it is bound to, 0 for none."""

    key: bytes
    value: bytes
    version: int
    create_revision: int
    mod_revision: int
    lease: int


class Header(Protocol):
    """What every answer carries: etcd's revision when it was made."""

    revision: int


class RangeResponse(Protocol):
    """The keys that a read found."""

    header: Header
    kvs: Sequence[KeyValue]
    more: bool


class ResponseOp(Protocol):
    """What one operation of a transaction returned; the member that fits the operation is set."""

    response_range: RangeResponse
    response_txn: TxnResponse


class TxnResponse(Protocol):
    """What a transaction returned: which branch ran, and what its operations returned."""

    header: Header
    succeeded: bool
    responses: Sequence[ResponseOp]


class Event(Protocol):
    """One change of a key; type 0 is a put, 1 a delete."""

    type: int
    kv: KeyValue


class WatchResponse(Protocol):
    """One message of a watch."""

    header: Header
    created: bool
    canceled: bool
    compact_revision: int
    cancel_reason: str
    events: Sequence[Event]


def first(response: TxnResponse, position: int) -> KeyValue | None:
    """The key that the read at `position` of the branch that ran has found, or None."""
    rows = response.responses[position].response_range.kvs
    return rows[0] if rows else None

"""Transactions are encoded as the messages of etcd would be."""

from __future__ import annotations

from aetcd import rpc
from hypothesis import given
from hypothesis import strategies as st

from onex_lease import wire

KEYS = st.binary(min_size=1, max_size=300)
NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)


@given(KEYS, NUMBERS)
def test_comparisons(key: bytes, number: int) -> None:
    """R142: The comparisons that fence a commit mean to etcd what they say here."""
    kind = rpc.Compare
    expected = rpc.TxnRequest(
        compare=[
            kind(result=kind.EQUAL, target=kind.CREATE, key=key, create_revision=number),
            kind(result=kind.EQUAL, target=kind.VERSION, key=key, version=number),
            kind(result=kind.EQUAL, target=kind.LEASE, key=key, lease=number),
            kind(result=kind.EQUAL, target=kind.VALUE, key=key, value=key),
            kind(result=kind.EQUAL, target=kind.MOD, key=key, mod_revision=number),
        ]
    )
    fences = (wire.created_at(key, number), wire.version_is(key, number), wire.bound_to(key, number))
    encoded = wire.txn((*fences, wire.value_is(key, key), wire.modified_at(key, number)), ())
    assert rpc.TxnRequest.FromString(encoded) == expected


@given(KEYS, st.binary(max_size=20_000), NUMBERS)
def test_operations(key: bytes, value: bytes, lease: int) -> None:
    """Reads, writes and deletes are what etcd takes for them, in both branches."""
    operations = [
        rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease)),
        rpc.RequestOp(request_range=rpc.RangeRequest(key=key)),
        rpc.RequestOp(request_range=rpc.RangeRequest(key=key, keys_only=True)),
        rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key)),
        rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key + b"/", range_end=key + b"0")),
    ]
    changes = (wire.delete(key), wire.delete_prefix(key + b"/"))
    encoded = (wire.put(key, value, lease), wire.get(key), wire.get_version(key), *changes)
    expected = rpc.TxnRequest(success=operations, failure=operations[::-1])
    assert rpc.TxnRequest.FromString(wire.txn((), encoded, encoded[::-1])) == expected


@given(st.lists(KEYS, max_size=10))
def test_groups(keys: list[bytes]) -> None:
    """A group holds each transaction with its own comparisons, in order."""
    parts = [wire.txn((wire.created_at(key, 7),), (wire.delete(key),), (wire.get(key),)) for key in keys]
    expected = rpc.TxnRequest(success=[rpc.RequestOp(request_txn=rpc.TxnRequest.FromString(part)) for part in parts])
    assert rpc.TxnRequest.FromString(wire.group(parts)) == expected


def test_prefix_end() -> None:
    """A prefix's range holds every key that begins with it and no other."""
    assert wire.prefix_end(b"/onex/a/") == b"/onex/a0"
    assert b"/onex/a/" < b"/onex/a/\xff\xff" < wire.prefix_end(b"/onex/a/")

"""What follows from the events of a watch."""

from __future__ import annotations

import pytest
from aetcd import rpc

from onex.v1.lease_pb2 import Owner
from onex.v1.node_pb2 import NodeInfo
from onex_lease import Keyspace, LeaseExpiredError, LeaseInvalidError, ViewVerdict
from onex_lease.live import LiveState
from onex_lease.messages import Event, KeyValue

KEYS = Keyspace()
EMPTY: list[KeyValue] = []


def owner(workflow_id: str, token: int, *, lease: str = "L", holder: str = "n1", external: bool = False) -> KeyValue:
    """An owner key as it was made at revision `token`."""
    value = Owner(lease_id=lease, holder=holder, external=external).SerializeToString()
    row: KeyValue = rpc.Event(
        kv={"key": KEYS.owner(workflow_id), "value": value, "create_revision": token, "mod_revision": token}
    ).kv
    return row


def node(instance_id: str, revision: int) -> KeyValue:
    """An orchestrator's key as it was made at `revision`."""
    value = NodeInfo(instance_id=instance_id, kind=4).SerializeToString()
    row: KeyValue = rpc.Event(
        kv={"key": KEYS.node(4, instance_id), "value": value, "create_revision": revision, "mod_revision": revision}
    ).kv
    return row


def put(row: KeyValue) -> Event:
    """The event of making a key."""
    event: Event = rpc.Event(type=0, kv=row)
    return event


def gone(key: bytes, revision: int) -> Event:
    """The event of deleting a key."""
    event: Event = rpc.Event(type=1, kv={"key": key, "mod_revision": revision})
    return event


def state_with(*rows: KeyValue, revision: int) -> LiveState:
    """What is known after a list."""
    state = LiveState(KEYS)
    state.replace(rows, revision)
    return state


def test_held_lease() -> None:
    """R136, R144: Valid is the token with its own lease; another lease under the same token is forged."""
    state = state_with(owner("w", 5), revision=9)
    assert state.check("w", "L", 5) is ViewVerdict.VALID
    with pytest.raises(LeaseInvalidError):
        state.check("w", "forged", 5)


def test_token_ahead_of_the_view() -> None:
    """A token that the view has not come to is neither valid nor forged."""
    state = state_with(owner("w", 5), revision=9)
    assert state.check("w", "L", 10) is ViewVerdict.STALE
    assert state.check("other", "L", 10) is ViewVerdict.STALE


def test_expired_and_forged_differ() -> None:
    """F10: A lease that was held and is over is expired; one that never was is forged."""
    state = state_with(revision=4)
    state.apply([put(owner("w", 5)), gone(KEYS.owner("w"), 7), put(owner("x", 8))], 8)
    with pytest.raises(LeaseExpiredError):
        state.check("w", "L", 5)
    with pytest.raises(LeaseInvalidError, match="another lease"):
        state.check("w", "forged", 5)
    with pytest.raises(LeaseInvalidError, match="never issued"):
        state.check("w", "L", 6)
    with pytest.raises(LeaseInvalidError, match="never issued"):
        state.check("never-owned", "L", 6)
    with pytest.raises(LeaseInvalidError, match="never issued"):
        state.check("w", "L", 0)


def test_older_than_the_view() -> None:
    """What ended before the view began cannot be told from a forgery; both are refused, as expired."""
    state = state_with(owner("w", 5), revision=9)
    with pytest.raises(LeaseExpiredError):
        state.check("w", "L", 3)
    with pytest.raises(LeaseExpiredError):
        state.check("x", "L", 3)
    with pytest.raises(LeaseInvalidError):
        state.check("w", "L", 7)


def test_next_owner_ends_the_one_before() -> None:
    """R136: After a takeover the earlier token is expired, and the new one valid."""
    state = state_with(revision=4)
    state.apply([put(owner("w", 5)), gone(KEYS.owner("w"), 6), put(owner("w", 7, lease="M", holder="n2"))], 7)
    assert state.check("w", "M", 7) is ViewVerdict.VALID
    with pytest.raises(LeaseExpiredError):
        state.check("w", "L", 5)
    assert state.owners_of("n2").keys() == {"w"}
    assert state.owners_of("n1") == {}


def test_forgetting_ended_leases() -> None:
    """Memory is bounded: a lease that is forgotten is taken for expired, never for forged."""
    state = LiveState(KEYS, ended_max=2)
    state.replace(EMPTY, 1)
    for revision, workflow_id in ((10, "a"), (20, "b"), (30, "c")):
        state.apply([put(owner(workflow_id, revision)), gone(KEYS.owner(workflow_id), revision + 1)], revision + 1)
    with pytest.raises(LeaseExpiredError):
        state.check("a", "L", 10)
    with pytest.raises(LeaseInvalidError):
        state.check("c", "forged", 30)
    with pytest.raises(LeaseInvalidError):
        state.check("d", "L", 25)


def test_crash_and_release_differ() -> None:
    """A crash takes the node key and the owner keys in one revision: orphans. A release takes the owner key alone."""
    state = state_with(node("n1", 1), owner("a", 2), owner("b", 3), owner("c", 4, external=True), revision=4)
    assert state.apply([gone(KEYS.owner("a"), 5)], 5).orphans == []
    changes = state.apply(
        [gone(KEYS.owner("b"), 6), gone(KEYS.owner("c"), 6), gone(KEYS.node(4, "n1"), 6), put(node("n2", 7))], 7
    )
    assert changes.orphans == ["b"]
    assert changes.nodes
    assert list(state.nodes) == ["orchestrator/n2"]


def test_several_ends_in_one_batch() -> None:
    """Each revision is judged by itself: a release beside another node's crash makes no orphan."""
    state = state_with(node("n1", 1), node("n2", 2), owner("a", 3), owner("b", 4, holder="n2"), revision=4)
    events = [
        gone(KEYS.owner("a"), 5),
        gone(KEYS.node(4, "n1"), 6),
        gone(KEYS.node(4, "n2"), 7),
        gone(KEYS.owner("b"), 7),
    ]
    assert state.apply(events, 7).orphans == ["b"]


def test_list_after_a_gap() -> None:
    """After a gap in the history, owners that are missing are orphans; those of others are ended."""
    state = state_with(node("n1", 1), owner("a", 2), owner("b", 3), owner("c", 4), revision=4)
    changes = state.replace([owner("b", 3), owner("c", 40, lease="M", holder="n2")], 50)
    assert changes.orphans == ["a"]
    assert changes.nodes
    assert state.revision == 50
    assert state.check("b", "L", 3) is ViewVerdict.VALID
    for workflow_id, token in (("a", 2), ("c", 4)):
        with pytest.raises(LeaseExpiredError):
            state.check(workflow_id, "L", token)
    # What came and went within the gap was not seen: not forged for sure.
    with pytest.raises(LeaseExpiredError):
        state.check("d", "L", 30)


def test_a_key_that_is_no_node() -> None:
    """What somebody else wrote among the nodes keeps nobody from seeing the others."""
    alien = node("n2", 5)
    alien.value = b"\xff\xff"
    state = state_with(alien, node("n1", 1), revision=6)
    assert list(state.nodes) == ["orchestrator/n1"]
    alien.mod_revision = 7
    state.apply([put(alien), put(node("n3", 8))], 8)
    assert list(state.nodes) == ["orchestrator/n1", "orchestrator/n3"]


def test_progress_moves_the_revision_only_forward() -> None:
    """An empty batch says how far the view is; it never goes back."""
    state = state_with(revision=9)
    assert not state.apply([], 12).nodes
    state.apply([], 11)
    assert state.revision == 12

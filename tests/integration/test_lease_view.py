"""The live view follows etcd, whatever happens to its connection."""

from __future__ import annotations

import asyncio

import pytest

from onex.v1.common_pb2 import NODE_KIND_EFFECT, NODE_KIND_ORCHESTRATOR
from onex.v1.node_pb2 import NodeInfo
from onex_lease import (
    EmbeddedEtcd,
    EtcdClient,
    EtcdUnavailableError,
    Journal,
    Keyspace,
    LeaseExpiredError,
    LeaseInvalidError,
    LiveView,
    Session,
    ViewVerdict,
    register_node,
)
from onex_lease.watch import is_progress_ordered
from tests.lease_writers import eventually, record, session_of
from tests.tcp_proxy import TcpProxy


async def test_it_follows(client: EtcdClient, keys: Keyspace) -> None:
    """R136, R144: The view shows owners as they come and go, and tells valid, expired and forged leases apart."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        before = await journal.start(session, record("before"))
        view = await LiveView.open(client, keys)
        assert view.check("before", before.lease_id, before.fencing_token) is ViewVerdict.VALID
        held = await journal.start(session, record("w"))
        assert await view.caught_up(held.fencing_token, 10)
        entry = view.owner("w")
        assert entry is not None
        assert (entry.owner.holder, entry.fencing_token) == ("a", held.fencing_token)
        assert view.owners_of("a").keys() == {"before", "w"}
        assert view.owners_of("b") == {}
        with pytest.raises(LeaseInvalidError):
            view.check("w", "forged", held.fencing_token)
        await journal.commit(held, record(), final=True)
        await eventually(lambda: view.owner("w") is None)
        with pytest.raises(LeaseExpiredError):
            view.check("w", held.lease_id, held.fencing_token)
        assert view.check("w", held.lease_id, view.revision + 100) is ViewVerdict.STALE
        await view.close()


async def test_catching_up_without_events(etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace) -> None:
    """Revisions at which nothing of the view changed are seen too where etcd tells in order; those that are not there
    yet are not."""
    view = await LiveView.open(client, keys)
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"), final=True)
        assert view.owner("w") is None
        if is_progress_ordered(etcd.version):
            assert await view.caught_up(ownership.fencing_token, 10)
            assert view.revision >= ownership.fencing_token
        else:
            assert not await view.caught_up(ownership.fencing_token, 0.2)
        assert not await view.caught_up(view.revision + 1000, 0.2)
    await view.close()


@pytest.mark.parametrize(
    ("version", "ordered"),
    [("3.5.1", False), ("3.5.8", False), ("3.5.9", True), ("3.5.21", True), ("3.6.0-rc.1", True), ("", False)],
)
def test_whose_progress_is_believed(version: str, ordered: bool) -> None:
    """R136: etcd before 3.5.9 tells of progress ahead of events; a lease just acquired would look forged."""
    assert is_progress_ordered(version) is ordered


async def test_a_lease_just_acquired_is_never_called_forged(client: EtcdClient, keys: Keyspace) -> None:
    """R144: whatever the version of etcd, and however far the view is behind: VALID, or not known yet."""
    view = await LiveView.open(client, keys)
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:

        async def acquire_and_check(name: str) -> None:
            held = await journal.start(session, record(name))
            await view.caught_up(held.fencing_token, 1)
            assert view.check(name, held.lease_id, held.fencing_token) in (ViewVerdict.VALID, ViewVerdict.STALE)
            await journal.commit(held, record(), final=True)

        for turn in range(10):
            await asyncio.gather(*(acquire_and_check(f"w-{turn}-{n}") for n in range(100)))
    await view.close()


async def test_nodes(client: EtcdClient, keys: Keyspace) -> None:
    """R94, R114: The registry shows the nodes that are alive, by kind, and tells when that changes."""
    view = await LiveView.open(client, keys)
    changes: list[int] = []
    view.on_nodes_changed(lambda: changes.append(len(view.nodes())))
    async with session_of(client, "o1") as first, session_of(client, "e1") as second:
        await register_node(client, keys, first, NodeInfo(instance_id="o1", kind=NODE_KIND_ORCHESTRATOR))
        info = NodeInfo(instance_id="e1", kind=NODE_KIND_EFFECT, address="host:1", version="1.2.0")
        await register_node(client, keys, second, info)
        await eventually(lambda: len(view.nodes()) == 2)
        assert view.nodes(NODE_KIND_EFFECT) == [info]
        assert [node.instance_id for node in view.nodes()] == ["e1", "o1"]
    await eventually(lambda: view.nodes() == [])
    assert changes == [1, 2, 1, 0]
    await view.close()


async def test_crash_is_told_from_release(client: EtcdClient, keys: Keyspace) -> None:
    """R145: When a session ends, its workflows are reported at once; released and external ones are not."""
    view = await LiveView.open(client, keys)
    orphans: list[str] = []
    view.on_orphans(orphans.extend)
    view.on_orphans(lambda _: [][0])
    journal = Journal(client, keys)
    session = await Session.open(client, instance_id="a")
    await register_node(client, keys, session, NodeInfo(instance_id="a", kind=NODE_KIND_ORCHESTRATOR))
    await journal.start(session, record("w1"))
    await journal.start(session, record("w2"))
    await journal.start(session, record("ext"), external=True)
    released = await journal.start(session, record("done"))
    await journal.release(released)
    await client.revoke(session.etcd_lease)
    await eventually(lambda: sorted(orphans) == ["w1", "w2"])
    await eventually(lambda: view.nodes() == [])
    assert sorted(orphans) == ["w1", "w2"]
    await session.close()
    await view.close()


async def test_it_goes_on_after_a_lost_connection(etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace) -> None:
    """What happened while the connection was lost is seen afterwards, orphans included."""
    journal = Journal(client, keys)
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        view = await LiveView.open(remote, keys)
        orphans: list[str] = []
        view.on_orphans(orphans.extend)
        async with session_of(client, "b") as other:
            session = await Session.open(client, instance_id="a")
            await register_node(client, keys, session, NodeInfo(instance_id="a", kind=NODE_KIND_ORCHESTRATOR))
            await journal.start(session, record("w1"))
            await eventually(lambda: view.owner("w1") is not None)
            proxy.refuse(True)
            held = await journal.start(other, record("w2"))
            await session.close()
            assert not await view.caught_up(held.fencing_token, 0.3)
            proxy.refuse(False)
            assert await view.caught_up(held.fencing_token, 20)
            await eventually(lambda: orphans == ["w1"])
            assert view.check("w2", held.lease_id, held.fencing_token) is ViewVerdict.VALID
        await view.close()
        await remote.close()


async def test_it_lists_again_after_compaction(etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace) -> None:
    """Where etcd has forgotten what came between, the view lists again and finds the orphans by comparing."""
    journal = Journal(client, keys)
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        view = await LiveView.open(remote, keys)
        orphans: list[str] = []
        view.on_orphans(orphans.extend)
        async with session_of(client, "b") as other:
            session = await Session.open(client, instance_id="a")
            await register_node(client, keys, session, NodeInfo(instance_id="a", kind=NODE_KIND_ORCHESTRATOR))
            lost = await journal.start(session, record("w1"))
            kept = await journal.start(other, record("w2"))
            await eventually(lambda: view.owner("w2") is not None)
            proxy.refuse(True)
            await session.close()
            for number in range(5):
                await journal.commit(kept, record(mark=str(number)))
            held = await journal.start(other, record("w3"))
            await client.compact(held.fencing_token)
            proxy.refuse(False)
            await eventually(lambda: orphans == ["w1"])
            assert await view.caught_up(held.fencing_token, 20)
            assert view.nodes() == []
            for ownership in (kept, held):
                verdict = view.check(ownership.workflow_id, ownership.lease_id, ownership.fencing_token)
                assert verdict is ViewVerdict.VALID
            with pytest.raises(LeaseExpiredError):
                view.check("w1", lost.lease_id, lost.fencing_token)
            # It follows again from there.
            await journal.release(held)
            await eventually(lambda: view.owner("w3") is None)
        assert orphans == ["w1"]
        await view.close()
        await remote.close()


async def test_many_events(client: EtcdClient, keys: Keyspace) -> None:
    """Hundreds of owners that come and go at once end in the view that etcd has."""
    journal = Journal(client, keys)
    view = await LiveView.open(client, keys)
    async with session_of(client, "a") as session:
        owned = await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(400)))
        await asyncio.gather(*(journal.release(ownership) for ownership in owned[::2]))
        last = await journal.start(session, record("last"))
        assert await view.caught_up(last.fencing_token, 20)
        assert view.owners_of("a").keys() == (await journal.list_owned()).keys()
        assert len(view.owners_of("a")) == 201
    await view.close()


async def test_a_fault_does_not_stop_it(
    client: EtcdClient, keys: Keyspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R136: A view that met a fault lists again, as often as it takes; standing still it would trust ended leases."""
    journal = Journal(client, keys)
    view = await LiveView.open(client, keys)
    faults = iter([RuntimeError("while following"), EtcdUnavailableError("while listing")])

    def fail(*_: object) -> None:
        raise next(faults)

    async with session_of(client, "a") as session:
        with monkeypatch.context() as patched:
            patched.setattr("onex_lease.live.LiveState.apply", fail)
            patched.setattr("onex_lease.live.LiveState.replace", fail)
            ownership = await journal.start(session, record("w"))
            await eventually(lambda: "while listing" in caplog.text)
        await eventually(lambda: view.owner("w") is not None)
        await journal.release(ownership)
        await eventually(lambda: view.owner("w") is None)
    assert "while following" in caplog.text
    await view.close()

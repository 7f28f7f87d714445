"""etcd crashes and comes back on its data while everything goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from onex.v1.node_pb2 import NodeInfo
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, LiveView, Ownership, Session, register_node
from tests.lease_writers import eventually, record, require_sound_log, session_of

WRITERS = 20


@pytest.fixture
async def own_etcd(etcd: EmbeddedEtcd, tmp_path: Path) -> AsyncGenerator[EmbeddedEtcd, None]:
    """An etcd that the test may kill; it writes through to the disk."""
    running = await EmbeddedEtcd.start(data_dir=tmp_path / "etcd")
    yield running
    await running.stop()


async def test_nothing_acknowledged_is_lost(own_etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R142, R146: Over two crashes of etcd every acknowledged commit is there, once, and every writer goes on under the
    same session; the view has the same owners afterwards."""
    client = await EtcdClient.connect(own_etcd.endpoint)
    journal = Journal(client, keys)
    view = await LiveView.open(client, keys)
    orphans: list[str] = []
    view.on_orphans(orphans.extend)
    done = asyncio.Event()

    async def write(ownership: Ownership) -> None:
        while not done.is_set():
            await journal.commit(ownership, record(mark=str(ownership.epoch)))

    async with session_of(client, "a", ttl_s=20.0) as session:
        await register_node(client, keys, session, NodeInfo(instance_id="a", kind=4))
        owned = await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(WRITERS)))
        writers = [asyncio.create_task(write(ownership)) for ownership in owned]
        for _ in range(2):
            await asyncio.sleep(0.3)
            epochs = [ownership.epoch for ownership in owned]
            own_etcd.kill()
            await asyncio.sleep(0.2)
            await own_etcd.restart()
            await eventually(lambda before=tuple(epochs): all(o.epoch > b for o, b in zip(owned, before, strict=True)))
        done.set()
        await asyncio.gather(*writers)
        assert session.is_valid()
        for ownership in owned:
            assert await require_sound_log(journal, ownership.workflow_id) == ownership.epoch
        last = await journal.start(session, record("last"))
        assert await view.caught_up(last.fencing_token, 20)
        assert len(view.owners_of("a")) == WRITERS + 1
        assert orphans == []
    await eventually(lambda: sorted(orphans) == sorted([*(f"w{number}" for number in range(WRITERS)), "last"]))
    await view.close()
    await client.close()


async def test_a_hanging_etcd(own_etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R142: An etcd that hangs for a while delays commits; none is lost and none is doubled."""
    client = await EtcdClient.connect(own_etcd.endpoint)
    journal = Journal(client, keys)
    async with session_of(client, "a", ttl_s=30.0) as session:
        ownership = await journal.start(session, record("w"))
        own_etcd.pause()
        committing = asyncio.create_task(journal.commit(ownership, record()))
        # Longer than a request waits for its answer, so that the first attempt is given up while etcd has it.
        await asyncio.sleep(6)
        assert not committing.done()
        own_etcd.resume()
        assert await committing == 2
        assert await journal.commit(ownership, record()) == 3
        assert await require_sound_log(journal, "w") == 3
    await client.close()


async def test_etcd_restored_from_a_backup(own_etcd: EmbeddedEtcd, keys: Keyspace, tmp_path: Path) -> None:
    """A view that has seen more than a restored etcd knows lists again, and follows what is true now."""
    client = await EtcdClient.connect(own_etcd.endpoint)
    journal = Journal(client, keys)
    session = await Session.open(client, instance_id="a", ttl_s=60.0)
    kept = await journal.start(session, record("kept"))
    await own_etcd.stop()
    shutil.copytree(own_etcd.data_dir, tmp_path / "backup")
    await own_etcd.restart()
    view = await LiveView.open(client, keys)
    await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(10)))
    lost = await journal.start(session, record("lost"))
    assert await view.caught_up(lost.fencing_token, 20)
    await own_etcd.stop()
    shutil.rmtree(own_etcd.data_dir)
    shutil.copytree(tmp_path / "backup", own_etcd.data_dir)
    await own_etcd.restart()
    await eventually(lambda: view.owner("lost") is None)
    entry = view.owner("kept")
    assert entry is not None
    assert entry.fencing_token == kept.fencing_token
    assert view.revision < lost.fencing_token
    await session.close()
    await eventually(lambda: view.owner("kept") is None)
    await view.close()
    await client.close()

"""Reading and watching the log of a workflow."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from hashlib import sha256

from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace
from tests.lease_writers import record, session_of
from tests.tcp_proxy import TcpProxy


async def test_read(client: EtcdClient, keys: Keyspace) -> None:
    """R146: The history is read by epoch, from any epoch on, each record with the hash that its successor carries."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        await journal.start(session, record("w.2"))
        for _ in range(59):
            await journal.commit(ownership, record())
    rows = await journal.read_log("w")
    assert [row.epoch for row, _ in rows] == list(range(1, 61))
    assert rows[0][1] == rows[1][0].previous_hash
    stored = await client.get(keys.log("w", 60))
    assert stored is not None
    assert sha256(stored.value).digest() == rows[-1][1] == ownership.last_hash
    assert [row.epoch for row, _ in await journal.read_log("w", after_epoch=57)] == [58, 59, 60]
    assert [row.epoch for row, _ in await journal.read_log("w", after_epoch=2, limit=2)] == [3, 4]
    assert await journal.read_log("w", after_epoch=60) == []
    assert await journal.read_log("none") == []


async def test_watch(client: EtcdClient, keys: Keyspace) -> None:
    """R107: A watcher gets the records that are there and then each new one, in order and once."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        await journal.start(session, record("w.2"))
        await journal.commit(ownership, record())
        seen: list[int] = []
        async with asyncio.timeout(30), aclosing(journal.watch_log("w", after_epoch=1)) as records:
            async for row in records:
                seen.append(row.epoch)
                if row.epoch == 6:
                    break
                await journal.commit(ownership, record())
        assert seen == [2, 3, 4, 5, 6]


async def test_watch_before_the_beginning(client: EtcdClient, keys: Keyspace) -> None:
    """A workflow may be watched before it starts."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session, asyncio.timeout(30), aclosing(journal.watch_log("w")) as records:
        waiting = asyncio.ensure_future(anext(records))
        await asyncio.sleep(0.1)
        await journal.start(session, record("w"))
        assert (await waiting).epoch == 1


async def test_watch_over_lost_connections_and_compaction(
    etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace
) -> None:
    """No gap and no duplicate: neither after a lost connection, nor after etcd has forgotten what came between."""
    journal = Journal(client, keys)
    async with TcpProxy(etcd.endpoint) as proxy, session_of(client, "a") as session, asyncio.timeout(60):
        remote = await EtcdClient.connect(proxy.endpoint)
        ownership = await journal.start(session, record("w"))
        seen: list[int] = []
        async with aclosing(Journal(remote, keys).watch_log("w")) as records:
            async for row in records:
                seen.append(row.epoch)
                if row.epoch == 30:
                    break
                if row.epoch % 10 == 1:
                    proxy.refuse(True)
                    for _ in range(5):
                        await journal.commit(ownership, record())
                    if row.epoch > 10:
                        await client.compact((await client.prefix(keys.root))[1])
                    proxy.refuse(False)
                elif row.epoch == ownership.epoch:
                    await journal.commit(ownership, record())
        assert seen == list(range(1, 31))
        await remote.close()

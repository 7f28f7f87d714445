"""The session: alive while the process is well, and lost in time when it is not."""

from __future__ import annotations

import asyncio
import logging
import time

import grpc
import pytest

from onex.v1.node_pb2 import NodeInfo
from onex_lease import (
    EmbeddedEtcd,
    EtcdClient,
    EtcdUnavailableError,
    Keyspace,
    LeaseExpiredError,
    OutcomeUnknownError,
    Session,
    ValidationError,
)
from onex_lease.registry import register_node
from tests.lease_writers import session_of, wait_for_key
from tests.tcp_proxy import TcpProxy


async def test_it_outlives_its_ttl(client: EtcdClient) -> None:
    """R145: Kept alive, a session lasts longer than its TTL."""
    async with session_of(client, "a", ttl_s=2.0) as session:
        await asyncio.sleep(4.5)
        assert session.is_valid()
        assert 0 < session.remaining_s() <= 2.0
        session.require_valid()
        assert await client.revoke(session.etcd_lease)


async def test_close_revokes(client: EtcdClient, keys: Keyspace) -> None:
    """R134: A clean stop deletes what the session held at once, and ends it for good."""
    ended: list[str] = []
    session = await Session.open(client, instance_id="a")
    session.on_lost(lambda: ended.append("first"))
    await register_node(client, keys, session, NodeInfo(instance_id="a", kind=1))
    waiting = asyncio.create_task(session.wait_lost())
    await session.close()
    await session.close()
    assert await client.get(keys.node(1, "a")) is None
    await asyncio.wait_for(waiting, 5)
    session.on_lost(lambda: ended.append("late"))
    assert ended == ["first", "late"]
    assert session.remaining_s() == 0
    with pytest.raises(LeaseExpiredError, match="session of a is over"):
        session.require_valid()


async def test_lost_when_etcd_ends_it(client: EtcdClient) -> None:
    """R136: When etcd has ended the lease, the next keepalive shows it and the work under it is stopped."""
    async with session_of(client, "a", ttl_s=2.0) as session:
        stopped = asyncio.Event()
        session.on_lost(stopped.set)
        await client.revoke(session.etcd_lease)
        await asyncio.wait_for(session.wait_lost(), 10)
        assert stopped.is_set()
        assert not session.is_valid()


async def test_work_is_cancelled_within_the_ttl(etcd: EmbeddedEtcd) -> None:
    """R145, F7: Cut off from etcd, the work under a session ends before etcd may give its workflows to others."""
    ttl_s = 4.0
    async with TcpProxy(etcd.endpoint) as proxy:
        client = await EtcdClient.connect(proxy.endpoint)
        session = await Session.open(client, instance_id="a", ttl_s=ttl_s)
        work = asyncio.create_task(asyncio.sleep(60))
        session.on_lost(lambda: work.cancel())
        before = time.monotonic()
        proxy.refuse(True)
        with pytest.raises(asyncio.CancelledError):
            await work
        # The last keepalive that etcd took was sent before the cut.
        assert time.monotonic() - before <= ttl_s
        assert not session.is_valid()
        await session.close()
        await client.close()


async def test_it_survives_lost_connections(etcd: EmbeddedEtcd) -> None:
    """R145: A connection that is cut now and then costs no session."""
    async with TcpProxy(etcd.endpoint) as proxy:
        client = await EtcdClient.connect(proxy.endpoint)
        async with session_of(client, "a", ttl_s=3.0) as session:
            for _ in range(4):
                await asyncio.sleep(0.9)
                proxy.cut()
            await asyncio.sleep(1.5)
            assert session.is_valid()
        await client.close()


async def test_a_faulty_callback_stops_no_other(client: EtcdClient, caplog: pytest.LogCaptureFixture) -> None:
    """Every callback of a lost session is called, and a fault of one is logged."""
    called: list[int] = []
    session = await Session.open(client, instance_id="a")
    session.on_lost(lambda: called.append(1))
    session.on_lost(lambda: called.append(1 // 0))
    session.on_lost(lambda: called.append(3))
    with caplog.at_level(logging.ERROR):
        await session.close()
    assert called == [1, 3]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("ttl_s", [0.0, 1.9, 100_000.0])
async def test_ttl_is_checked(client: EtcdClient, ttl_s: float) -> None:
    """A TTL that etcd would not grant as asked is refused."""
    with pytest.raises(ValidationError, match="TTL") as refused:
        await Session.open(client, instance_id="a", ttl_s=ttl_s)
    assert refused.value.violations[0][0] == "ttl_s"


async def test_no_etcd() -> None:
    """Without etcd the connection fails in the time given, and says so."""
    with pytest.raises(EtcdUnavailableError, match="does not answer"):
        await EtcdClient.connect("127.0.0.1:1", timeout_s=0.3)


async def test_tls_is_asked_for_and_not_there(etcd: EmbeddedEtcd) -> None:
    """With credentials the connection is TLS or none: an etcd that speaks plaintext is not talked to."""
    with pytest.raises(EtcdUnavailableError):
        await EtcdClient.connect(etcd.endpoint, timeout_s=0.5, credentials=grpc.ssl_channel_credentials())


async def test_closed_connection(etcd: EmbeddedEtcd, keys: Keyspace, caplog: pytest.LogCaptureFixture) -> None:
    """R134: A session whose connection was closed first still ends in good order."""
    client = await EtcdClient.connect(etcd.endpoint)
    session = await Session.open(client, instance_id="a", ttl_s=2.0)
    await client.close()
    with pytest.raises(EtcdUnavailableError):
        await client.get(keys.owner("w"))
    with pytest.raises(OutcomeUnknownError):
        await client.txn(b"")
    for call in (client.compact(1), client.grant(5), client.server_version()):
        with pytest.raises(EtcdUnavailableError, match="is closed"):
            await call
    await asyncio.wait_for(session.wait_lost(), 10)
    with caplog.at_level(logging.WARNING):
        await session.close()
    assert "ends by its TTL" in caplog.text


async def test_close_without_etcd(etcd: EmbeddedEtcd, caplog: pytest.LogCaptureFixture) -> None:
    """R134: Closing does not hang where etcd is gone; the lease then ends by its TTL."""
    async with TcpProxy(etcd.endpoint) as proxy:
        client = await EtcdClient.connect(proxy.endpoint)
        session = await Session.open(client, instance_id="a", ttl_s=2.0)
        proxy.refuse(True)
        with caplog.at_level(logging.WARNING):
            await asyncio.wait_for(session.close(), 15)
        assert "ends by its TTL" in caplog.text
        await client.close()
        direct = await EtcdClient.connect(etcd.endpoint)
        await asyncio.sleep(4)
        assert await direct.revoke(session.etcd_lease) is False
        await direct.close()


async def test_the_owners_of_a_dead_session_are_freed(client: EtcdClient, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R145: What a session held is free once it has not been kept alive for its TTL."""
    async with TcpProxy(etcd.endpoint) as proxy:
        cut_off = await EtcdClient.connect(proxy.endpoint)
        session = await Session.open(cut_off, instance_id="a", ttl_s=2.0)
        await register_node(cut_off, keys, session, NodeInfo(instance_id="a", kind=1))
        proxy.refuse(True)
        await wait_for_key(client, keys.node(1, "a"), lambda row: row is None)
        await session.close()
        await cut_off.close()

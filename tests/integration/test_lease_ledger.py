"""What must happen once: claims and results."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onex.v1.node_pb2 import NodeInfo
from onex_lease import (
    EmbeddedEtcd,
    EtcdClient,
    EtcdRejectedError,
    InProgressError,
    Keyspace,
    LeaseConflictError,
    LeaseExpiredError,
    Ledger,
    PayloadTooLargeError,
    Session,
    ValidationError,
    register_node,
)
from tests.lease_writers import no_space, session_of, wait_for_key
from tests.tcp_proxy import TcpProxy


async def test_executed_once(client: EtcdClient, keys: Keyspace) -> None:
    """F27, R79: Whoever claims a key first executes it; whoever comes after the record gets the result."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as first, session_of(client, "e2") as second:
        claim = await ledger.claim("order_1", session=first, fencing_token=7)
        assert claim.result is None
        await ledger.record(claim, b"", 60)
        again = await ledger.claim("order_1", session=second)
        assert again.result == b""
        assert await ledger.abandon(again) is False
        other = await ledger.claim("order_2", session=second)
        await ledger.record(other, b"done", 60)
        assert (await Ledger(client, keys).claim("order_2", session=first)).result == b"done"


async def test_results_outlive_the_executor(client: EtcdClient, keys: Keyspace) -> None:
    """R9: A recorded result stays after its executor has gone, for the time it was recorded for."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as session:
        for key, ttl_s in (("short", 1.0), ("long", 3600.0), ("long2", 3600.0)):
            await ledger.record(await ledger.claim(key, session=session), b"r", ttl_s)
        rows, _ = await client.prefix(keys.idempotency_prefix)
        leases = {row.key.rpartition(b"/")[2]: row.lease for row in rows}
        # Results that are kept as long share an etcd lease.
        assert leases[b"short"] != leases[b"long"] == leases[b"long2"] != session.etcd_lease
    async with session_of(client, "e2") as session, asyncio.timeout(30):
        assert (await ledger.claim("long", session=session)).result == b"r"
        await wait_for_key(client, keys.idempotency("short"), lambda row: row is None)
        assert (await ledger.claim("short", session=session)).result is None


async def test_in_progress(client: EtcdClient, keys: Keyspace) -> None:
    """R9: While a live executor works on a key nobody else does, not even the same process a second time."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as first, session_of(client, "e2") as second:
        results = await asyncio.gather(
            *(ledger.claim("k", session=session) for session in (first, second) for _ in range(10)),
            return_exceptions=True,
        )
        won = [result for result in results if not isinstance(result, BaseException)]
        refused = [result for result in results if isinstance(result, InProgressError)]
        assert (len(won), len(refused)) == (1, 19)
        assert isinstance(refused[0], LeaseConflictError)
        assert refused[0].retryable
        assert refused[0].error_context["holder"] in {"e1", "e2"}


async def test_abandon(client: EtcdClient, keys: Keyspace) -> None:
    """A claim that is given up is free at once, and a second giving-up hits nobody else's."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as session:
        claim = await ledger.claim("k", session=session)
        assert await ledger.abandon(claim) is True
        again = await ledger.claim("k", session=session)
        assert await ledger.abandon(claim) is False
        with pytest.raises(LeaseExpiredError):
            await ledger.record(claim, b"late", 60)
        await ledger.record(again, b"right", 60)
        with pytest.raises(LeaseExpiredError):
            await ledger.record(again, b"other", 60)
        await ledger.record(again, b"right", 60)
        assert (await ledger.claim("k", session=session)).result == b"right"


async def test_dead_executor(client: EtcdClient, keys: Keyspace) -> None:
    """R134: A claim ends with its executor's session; a record that comes too late is refused."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e2") as second:
        async with session_of(client, "e1") as first:
            lost = await ledger.claim("k", session=first)
        with pytest.raises(LeaseExpiredError):
            await ledger.record(lost, b"late", 60)
        claim = await ledger.claim("k", session=second)
        assert claim.result is None
        with pytest.raises(LeaseExpiredError):
            await ledger.record(lost, b"late", 60)
        with pytest.raises(LeaseExpiredError):
            await ledger.claim("k2", session=first)
        await ledger.record(claim, b"right", 60)


async def test_what_is_refused(client: EtcdClient, keys: Keyspace) -> None:
    """Keys and results beyond their bounds are refused before anything is sent."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as session:
        with pytest.raises(ValidationError):
            await ledger.claim("", session=session)
        claim = await ledger.claim("k", session=session)
        with pytest.raises(PayloadTooLargeError):
            await ledger.record(claim, b"x" * (2**20 + 1), 60)


async def test_lost_answers(etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace) -> None:
    """A claim, a record and a giving-up whose answers are lost end as they truly did."""
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        ledger = Ledger(remote, keys)
        async with session_of(remote, "e1") as session:

            async def lose_reply() -> None:
                before = await client.get(keys.idempotency("k"))
                proxy.lose_reply_to(b"/idempotency/k")
                await proxy.reached.wait()
                await wait_for_key(client, keys.idempotency("k"), lambda now: now != before)
                proxy.cut()

            cutting = asyncio.create_task(lose_reply())
            await asyncio.sleep(0.05)
            claim = await ledger.claim("k", session=session)
            await cutting
            assert claim.result is None
            cutting = asyncio.create_task(lose_reply())
            await asyncio.sleep(0.05)
            await ledger.record(claim, b"r", 60)
            await cutting
            assert (await ledger.claim("k", session=session)).result == b"r"
        await remote.close()


async def test_cancelled_while_claiming(client: EtcdClient, keys: Keyspace) -> None:
    """R9: A claim whose caller was cancelled before it knew is given back, so that a retry may execute."""
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as session:
        claiming = asyncio.create_task(ledger.claim("k", session=session))
        for _ in range(4):
            await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        await wait_for_key(client, keys.idempotency("k"), lambda row: row is None)
        assert (await ledger.claim("other", session=session)).result is None
        async with asyncio.timeout(20):
            while True:
                try:
                    assert (await ledger.claim("k", session=session)).result is None
                    break
                except InProgressError:
                    await asyncio.sleep(0.01)


async def test_cancelled_and_lost(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """A claim that was lost on its way to etcd with its caller gone spoils nothing that follows."""
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        ledger = Ledger(remote, keys)
        session = await Session.open(remote, instance_id="e1")
        proxy.lose_request(b"/idempotency/k")
        claiming = asyncio.create_task(ledger.claim("k", session=session))
        await proxy.reached.wait()
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
        assert (await ledger.claim("k2", session=session)).result is None
        await session.close()
        await remote.close()


@pytest.mark.usefixtures("etcd")
async def test_no_space(tmp_path: Path, keys: Keyspace) -> None:
    """An etcd that is out of space refuses everything that waits, each with its own error, and says why."""
    own = await EmbeddedEtcd.start(data_dir=tmp_path, fsync=False)
    client = await EtcdClient.connect(own.endpoint)
    ledger = Ledger(client, keys)
    async with session_of(client, "e1") as session:
        async with no_space(own.endpoint):
            claims = (ledger.claim(f"k{number}", session=session) for number in range(5))
            results = await asyncio.gather(*claims, return_exceptions=True)
            with pytest.raises(EtcdRejectedError):
                await register_node(client, keys, session, NodeInfo(instance_id="e1", kind=1))
        assert [type(result) for result in results] == [EtcdRejectedError] * 5
        assert len({id(result) for result in results}) == 5
        assert "space exceeded" in str(results[0])
    await client.close()
    await own.stop()

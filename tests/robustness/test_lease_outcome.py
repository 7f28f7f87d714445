"""Requests whose answer is lost end as they truly did.

A proxy stands between the writer and etcd. It either forwards a request and loses the answer, or loses the request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from onex_lease import (
    EmbeddedEtcd,
    EtcdClient,
    EtcdRejectedError,
    EtcdUnavailableError,
    Journal,
    Keyspace,
    LeaseConflictError,
    LeaseExpiredError,
    OutcomeUnknownError,
    Session,
)
from tests.lease_writers import eventually, no_space, record, require_sound_log, session_of, wait_for_key
from tests.tcp_proxy import TcpProxy


@pytest.fixture
async def proxy(etcd: EmbeddedEtcd) -> AsyncGenerator[TcpProxy, None]:
    """Stands between the writer under test and etcd."""
    async with TcpProxy(etcd.endpoint) as running:
        yield running


@pytest.fixture
async def remote(proxy: TcpProxy) -> AsyncGenerator[EtcdClient, None]:
    """The connection of the writer under test."""
    connected = await EtcdClient.connect(proxy.endpoint)
    yield connected
    await connected.close()


async def cut_once_applied(proxy: TcpProxy, client: EtcdClient, key: bytes, *, deleted: bool = False) -> None:
    """Waits until etcd has applied the request whose answer is being lost, then cuts the connection."""
    await proxy.reached.wait()
    await wait_for_key(client, key, lambda row: (row is None) is deleted)
    proxy.cut()


async def test_commit_applied_but_answer_lost(
    proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace
) -> None:
    """R142, R140: A commit that was applied counts once, although its answer never came."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session:
        ownership = await journal.start(session, record("w"))
        proxy.lose_reply_to(keys.log("w", 2))
        cutting = asyncio.create_task(cut_once_applied(proxy, client, keys.log("w", 2)))
        assert await journal.commit(ownership, record(mark="once")) == 2
        await cutting
        assert await journal.commit(ownership, record(mark="next")) == 3
        assert await require_sound_log(Journal(client, keys), "w") == 3


async def test_commit_lost_before_etcd(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace) -> None:
    """R142, R140: A commit that never reached etcd is sent again and applied once."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session:
        ownership = await journal.start(session, record("w"))
        proxy.lose_request(keys.log("w", 2))
        assert await journal.commit(ownership, record(mark="once")) == 2
        assert proxy.reached.is_set()
        assert await journal.commit(ownership, record(mark="next")) == 3
        assert await require_sound_log(Journal(client, keys), "w") == 3


async def test_last_commit_applied_but_answer_lost(
    proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace
) -> None:
    """R134, R142: A final commit is recognised as ours although it gave the ownership up, and another has it now."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session, session_of(client, "b") as other:
        ownership = await journal.start(session, record("w"))
        proxy.lose_reply_to(keys.log("w", 2))

        async def take_over() -> None:
            await proxy.reached.wait()
            await wait_for_key(client, keys.owner("w"), lambda row: row is None)
            theirs = await Journal(client, keys).acquire(other, "w")
            await Journal(client, keys).commit(theirs, record(mark="theirs"))
            proxy.cut()

        taking_over = asyncio.create_task(take_over())
        assert await journal.commit(ownership, record(), final=True) == 2
        await taking_over
        assert await require_sound_log(Journal(client, keys), "w") == 3


async def test_commit_lost_and_fenced_meanwhile(
    proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace
) -> None:
    """R136: A commit that never reached etcd is refused if another owner wrote in the meantime."""
    journal, direct = Journal(remote, keys), Journal(client, keys)
    async with session_of(remote, "a") as session, session_of(client, "b") as other:
        ownership = await journal.start(session, record("w"))
        proxy.lose_request(keys.log("w", 2))

        async def take_over() -> None:
            await proxy.reached.wait()
            proxy.refuse(True)
            await direct.release(ownership)
            await direct.commit(await direct.acquire(other, "w"), record(mark="theirs"))
            proxy.refuse(False)

        taking_over = asyncio.create_task(take_over())
        with pytest.raises(LeaseExpiredError) as refused:
            await journal.commit(ownership, record(mark="mine"))
        await taking_over
        assert refused.value.error_context["holder"] == "b"
        assert ownership.epoch == 1
        assert await require_sound_log(direct, "w") == 2


@pytest.mark.parametrize("applied", [True, False])
async def test_start(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace, applied: bool) -> None:
    """R131, R142: A start whose answer is lost starts the workflow once and owns it, applied or not."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session:
        key = keys.log("w", 1)
        cutting = None
        if applied:
            proxy.lose_reply_to(key)
            cutting = asyncio.create_task(cut_once_applied(proxy, client, key))
        else:
            proxy.lose_request(key)
        ownership = await journal.start(session, record("w"))
        if cutting is not None:
            await cutting
        stored = await client.get(keys.owner("w"))
        assert stored is not None
        assert stored.create_revision == ownership.fencing_token
        assert await journal.commit(ownership, record()) == 2
        assert await require_sound_log(Journal(client, keys), "w") == 2


async def test_start_applied_but_session_over(
    proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace
) -> None:
    """R146: A start that was applied is not denied, even if its session ended before the answer came."""
    journal = Journal(remote, keys)
    session = await Session.open(remote, instance_id="a")
    proxy.lose_reply_to(keys.log("w", 1))

    async def end_session() -> None:
        await proxy.reached.wait()
        await wait_for_key(client, keys.log("w", 1), lambda row: row is not None)
        await client.revoke(session.etcd_lease)
        proxy.cut()

    ending = asyncio.create_task(end_session())
    ownership = await journal.start(session, record("w"))
    await ending
    stored = await client.get(keys.log("w", 1))
    assert stored is not None
    assert (ownership.epoch, ownership.fencing_token) == (1, stored.mod_revision)
    with pytest.raises(LeaseExpiredError):
        await journal.commit(ownership, record())
    await session.close()


@pytest.mark.parametrize("applied", [True, False])
async def test_acquire(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace, applied: bool) -> None:
    """R131, R132: An acquirer whose answer is lost recognises its own lease, and is no conflict to itself."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session, session_of(client, "b") as other:
        await Journal(client, keys).start(other, record("w"), final=True)
        cutting = None
        if applied:
            proxy.lose_reply_to(keys.owner("w"))
            cutting = asyncio.create_task(cut_once_applied(proxy, client, keys.owner("w")))
        else:
            proxy.lose_request(keys.owner("w"))
        ownership = await journal.acquire(session, "w")
        if cutting is not None:
            await cutting
        assert await journal.commit(ownership, record()) == 2
        with pytest.raises(LeaseConflictError):
            await journal.acquire(session, "w")


async def test_release(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace) -> None:
    """R134: A release whose answer is lost has happened."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session:
        ownership = await journal.start(session, record("w"))
        proxy.lose_reply_to(keys.owner("w"))
        cutting = asyncio.create_task(cut_once_applied(proxy, client, keys.owner("w"), deleted=True))
        assert await journal.release(ownership) is True
        await cutting
        assert await Journal(client, keys).list_owned() == {}


async def test_group_with_lost_answer(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace) -> None:
    """R142: Of a group whose answer is lost each commit gets its own true outcome, the stale ones too."""
    journal = Journal(remote, keys, in_flight_max=1)
    async with session_of(remote, "a") as session:
        owned = [await journal.start(session, record(f"w{number}")) for number in range(40)]
        for ownership in owned[::4]:
            await Journal(client, keys).release(ownership)
        proxy.lose_reply_to(keys.log("w21", 2))
        cutting = asyncio.create_task(cut_once_applied(proxy, client, keys.log("w21", 2)))
        results = await asyncio.gather(
            *(journal.commit(ownership, record()) for ownership in owned), return_exceptions=True
        )
        await cutting
        assert [result == 2 for result in results] == [number % 4 != 0 for number in range(40)]
        assert all(isinstance(result, LeaseExpiredError) for result in results[::4])
        for number in range(40):
            expected = 1 if number % 4 == 0 else 2
            assert await require_sound_log(Journal(client, keys), f"w{number}") == expected


@pytest.mark.slow
async def test_cut_off_for_good(proxy: TcpProxy, remote: EtcdClient, client: EtcdClient, keys: Keyspace) -> None:
    """A commit that cannot be found out about until the session is over is reported as unknown, not as failed."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a", ttl_s=2.0) as session:
        ownership = await journal.start(session, record("w"))
        proxy.lose_reply_to(keys.log("w", 2))

        async def cut_off() -> None:
            await cut_once_applied(proxy, client, keys.log("w", 2))
            proxy.refuse(True)

        cutting = asyncio.create_task(cut_off())
        with pytest.raises(OutcomeUnknownError) as unknown:
            await journal.commit(ownership, record())
        await cutting
        assert unknown.value.retryable
        assert ownership.epoch == 1
        assert await require_sound_log(Journal(client, keys), "w") == 2


async def test_check_without_an_answer(proxy: TcpProxy, remote: EtcdClient, keys: Keyspace) -> None:
    """R136: A check that etcd does not answer is no verdict: the action may be sent again."""
    journal = Journal(remote, keys)
    async with session_of(remote, "a") as session:
        ownership = await journal.start(session, record("w"))
        proxy.lose_request(keys.owner("w"))
        with pytest.raises(EtcdUnavailableError) as unavailable:
            await journal.check("w", ownership.lease_id, ownership.fencing_token, 1)
        assert unavailable.value.retryable
        await journal.check("w", ownership.lease_id, ownership.fencing_token, 1)


@pytest.mark.usefixtures("etcd")
async def test_refused_after_a_lost_answer(tmp_path: Path, keys: Keyspace) -> None:
    """R142: A refusal says nothing about the attempt before it: the commit is pursued until that is known."""
    own = await EmbeddedEtcd.start(data_dir=tmp_path, fsync=False)
    direct = await EtcdClient.connect(own.endpoint)
    async with TcpProxy(own.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        journal = Journal(remote, keys)
        async with session_of(remote, "a") as session:
            ownership = await journal.start(session, record("w"))
            proxy.lose_reply_to(keys.log("w", 2))
            committing = asyncio.create_task(journal.commit(ownership, record()))
            await proxy.reached.wait()
            await wait_for_key(direct, keys.log("w", 2), lambda row: row is not None)
            async with no_space(own.endpoint):
                proxy.cut()
                await asyncio.sleep(1)
                assert not committing.done()
            assert await committing == 2
            async with no_space(own.endpoint):
                with pytest.raises(EtcdRejectedError, match="space"):
                    await journal.commit(ownership, record())
            assert await journal.commit(ownership, record()) == 3
            assert await require_sound_log(journal, "w") == 3
        await remote.close()
    await direct.close()
    await own.stop()


async def test_what_cannot_be_given_back(
    proxy: TcpProxy,
    remote: EtcdClient,
    client: EtcdClient,
    keys: Keyspace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R134: What was taken for a cancelled caller and cannot be given back is logged, and ends with the session."""
    monkeypatch.setattr("onex_lease.pursuit.PURSUIT_S_MAX", 0.1)
    session = await Session.open(remote, instance_id="a", ttl_s=2.0)
    proxy.lose_reply_to(keys.owner("w"))
    acquiring = asyncio.create_task(Journal(remote, keys).acquire(session, "w"))
    await proxy.reached.wait()
    await wait_for_key(client, keys.owner("w"), lambda row: row is not None)
    acquiring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acquiring
    proxy.refuse(True)
    with caplog.at_level(logging.WARNING):
        await eventually(lambda: "could not be given back" in caplog.text)
    await wait_for_key(client, keys.owner("w"), lambda row: row is None)
    await session.close()

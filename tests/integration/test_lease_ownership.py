"""Who owns a workflow: start, acquire, release."""

from __future__ import annotations

import asyncio

import pytest

from onex_lease import (
    EtcdClient,
    Journal,
    Keyspace,
    LeaseConflictError,
    LeaseExpiredError,
    Ownership,
    PayloadTooLargeError,
    StateConflictError,
    ValidationError,
    WorkflowExistsError,
    wire,
)
from tests.lease_writers import record, require_sound_log, session_of, wait_for_key


async def test_two_acquirers_one_wins(client: EtcdClient, keys: Keyspace) -> None:
    """R131, R132: Of those who acquire at the same time one wins; the others are told who."""
    journals = [Journal(client, keys) for _ in range(2)]
    async with session_of(client, "a") as first, session_of(client, "b") as second:
        attempts = [
            journal.acquire(session, "w") for journal in journals for session in (first, second) for _ in range(5)
        ]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        won = [result for result in results if not isinstance(result, BaseException)]
        assert len(won) == 1
        lost = [result for result in results if isinstance(result, LeaseConflictError)]
        assert len(lost) == 19
        assert {error.error_context["holder"] for error in lost} == {won[0].holder}
        stored = await client.get(keys.owner("w"))
        assert stored is not None
        assert stored.create_revision == won[0].fencing_token
        assert (won[0].epoch, won[0].last_hash) == (0, b"")


async def test_start_is_one_transaction(client: EtcdClient, keys: Keyspace) -> None:
    """R130, R133: Acquiring and the first commit happen in one revision, which is the fencing token."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w", mark="begun"), address="host:1")
        assert ownership.epoch == 1
        rows, _ = await client.prefix(keys.root)
        assert {row.key for row in rows} == {keys.owner("w"), keys.open("w"), keys.state("w"), keys.log("w", 1)}
        assert {row.mod_revision for row in rows} == {ownership.fencing_token}
        owner = (await journal.list_owned())["w"]
        assert (owner.holder, owner.address, owner.lease_id) == ("a", "host:1", ownership.lease_id)
        assert await journal.list_open() == ["w"]
        assert await require_sound_log(journal, "w") == 1


async def test_start_of_what_exists(client: EtcdClient, keys: Keyspace) -> None:
    """R131: A workflow starts once; a second start says at which epoch it is, and changes nothing."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        await journal.commit(ownership, record())
        with pytest.raises(WorkflowExistsError) as refused:
            await journal.start(session, record("w"))
        assert refused.value.error_context["epoch"] == 2
        await journal.commit(ownership, record(), final=True)
        with pytest.raises(WorkflowExistsError):
            await journal.start(session, record("w"))
        assert await require_sound_log(journal, "w") == 3


async def test_start_of_what_is_owned(client: EtcdClient, keys: Keyspace) -> None:
    """R132: A workflow that was acquired without a state cannot be started by somebody else."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as first, session_of(client, "b") as second:
        await journal.acquire(first, "w")
        with pytest.raises(LeaseConflictError) as refused:
            await journal.start(second, record("w"))
        assert refused.value.error_context["holder"] == "a"
        assert await journal.read_state("w") is None


async def test_start_that_is_also_the_end(client: EtcdClient, keys: Keyspace) -> None:
    """R134: A workflow that ends with its first epoch is owned by nobody afterwards."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        await journal.start(session, record("w"), final=True)
        assert await journal.list_owned() == {}
        assert await journal.list_open() == []
        assert await require_sound_log(journal, "w") == 1


async def test_takeover_goes_on(client: EtcdClient, keys: Keyspace) -> None:
    """F6, R140: Over several owners the epoch has no gap and never restarts; tokens grow; the hash chain holds."""
    tokens = []
    for name in "abcd":
        journal = Journal(client, keys)
        async with session_of(client, name) as session:
            ownership = await (journal.acquire(session, "w") if tokens else journal.start(session, record("w")))
            tokens.append(ownership.fencing_token)
            for _ in range(3):
                await journal.commit(ownership, record(mark=name))
    assert tokens == sorted(set(tokens))
    assert await require_sound_log(Journal(client, keys), "w") == 13


async def test_release(client: EtcdClient, keys: Keyspace) -> None:
    """R134: Released is released once; whoever comes next may acquire at once."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.acquire(session, "w")
        assert await journal.release(ownership) is True
        assert await journal.release(ownership) is False
        again = await journal.acquire(session, "w")
        assert again.fencing_token > ownership.fencing_token


async def test_release_never_removes_anothers(client: EtcdClient, keys: Keyspace) -> None:
    """F8: A release that comes late leaves the next owner's lease alone."""
    journal = Journal(client, keys)
    async with session_of(client, "b") as second:
        async with session_of(client, "a") as first:
            old = await journal.acquire(first, "w")
        new = await journal.acquire(second, "w")
        assert await journal.release(old) is False
        stored = await client.get(keys.owner("w"))
        assert stored is not None
        assert stored.create_revision == new.fencing_token
        assert await journal.commit(new, record()) == 1


async def test_ended_session_acquires_nothing(client: EtcdClient, keys: Keyspace) -> None:
    """R136: Under a session that is over nothing is acquired: neither where it knows, nor where only etcd does."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        await client.revoke(session.etcd_lease)
        with pytest.raises(LeaseExpiredError):
            await journal.acquire(session, "w")
        with pytest.raises(LeaseExpiredError):
            await journal.start(session, record("v"))
    with pytest.raises(LeaseExpiredError, match="session of a is over"):
        await journal.acquire(session, "w")
    assert (await client.prefix(keys.root))[0] == []


async def test_one_ended_session_spoils_no_other(client: EtcdClient, keys: Keyspace) -> None:
    """A member that gets a group refused is told so alone; the others of the group succeed."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as good, session_of(client, "b") as bad:
        await client.revoke(bad.etcd_lease)
        starts = [journal.start(bad if number == 3 else good, record(f"w{number}")) for number in range(8)]
        results = await asyncio.gather(*starts, return_exceptions=True)
        assert isinstance(results.pop(3), LeaseExpiredError)
        assert not [result for result in results if isinstance(result, BaseException)]
        assert len(await journal.list_open()) == 7


async def test_what_is_refused_before_anything_is_sent(client: EtcdClient, keys: Keyspace) -> None:
    """Malformed ids and too large records write nothing and acquire nothing."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        with pytest.raises(ValidationError):
            await journal.start(session, record("a/b"))
        with pytest.raises(ValidationError):
            await journal.acquire(session, "")
        with pytest.raises(PayloadTooLargeError):
            await journal.start(session, record("w", size_bytes=2**20))
    assert (await client.prefix(keys.root))[0] == []


async def test_cancelled_while_acquiring(client: EtcdClient, keys: Keyspace) -> None:
    """R134: What is taken for a caller who was cancelled is given back; otherwise nobody could have it for as long as
    the process lives."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        await journal.start(session, record("old"), final=True)
        for turns in range(12):
            acquired = asyncio.create_task(journal.acquire(session, "old"))
            starting = asyncio.create_task(journal.start(session, record(f"new-{turns}")))
            for _ in range(turns):
                await asyncio.sleep(0)
            if turns > 8:
                await asyncio.sleep(0.001 * (turns - 8))
            for task in (acquired, starting):
                task.cancel()
            results = await asyncio.gather(acquired, starting, return_exceptions=True)
            for result in results:
                if isinstance(result, Ownership):
                    await journal.release(result)
        # What was cancelled may still be on its way to etcd.
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            while True:
                if not await journal.list_owned():
                    break
                await asyncio.sleep(0.01)
        for turns in range(12):
            assert await require_sound_log(journal, f"new-{turns}") in (0, 1)
        assert (await journal.acquire(session, "old")).epoch == 1


async def test_a_state_without_its_record(client: EtcdClient, keys: Keyspace) -> None:
    """R146: A workflow whose log does not reach its epoch is not acquired: its hash chain could not go on."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        await journal.start(session, record("w"), final=True)
        await client.txn(wire.txn((), (wire.delete(keys.log("w", 1)),)))
        with pytest.raises(StateConflictError, match="no record"):
            await journal.acquire(session, "w")
        await wait_for_key(client, keys.owner("w"), lambda row: row is None)

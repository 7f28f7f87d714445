"""The epoch compare-and-swap, alone and in groups."""

from __future__ import annotations

import asyncio

import pytest

from onex_lease import (
    EpochMismatchError,
    EtcdClient,
    Journal,
    Keyspace,
    LeaseExpiredError,
    Ownership,
    PayloadTooLargeError,
    StateConflictError,
)
from onex_lease.record import VALUE_BYTES_MAX
from tests.lease_writers import copy_of, record, require_sound_log, session_of


async def test_each_commit_is_one_epoch(client: EtcdClient, keys: Keyspace) -> None:
    """R140, R142: Every commit raises the epoch by one, and the epoch is the version of the state's key."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        for epoch in range(2, 6):
            assert await journal.commit(ownership, record(mark=f"e{epoch}")) == epoch
            assert ownership.epoch == epoch
        found = await journal.read_state("w")
        assert found is not None
        assert (found[0].name, found[1]) == ("e5", 5)
        third = await journal.read_commit("w", 3)
        assert third is not None
        assert third.state.name == "e3"
        assert await journal.read_commit("w", 6) is None
        assert await require_sound_log(journal, "w") == 5


async def test_last_commit_releases(client: EtcdClient, keys: Keyspace) -> None:
    """R134: release and final give the workflow up in the transaction of the commit; final also closes it."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        await journal.commit(ownership, record(), release=True)
        assert (await journal.list_owned(), await journal.list_open()) == ({}, ["w"])
        with pytest.raises(LeaseExpiredError):
            await journal.commit(ownership, record())
        ownership = await journal.acquire(session, "w")
        await journal.commit(ownership, record(), final=True)
        assert (await journal.list_owned(), await journal.list_open()) == ({}, [])
        assert await require_sound_log(journal, "w") == 3


async def test_stale_epoch(client: EtcdClient, keys: Keyspace) -> None:
    """R141: A commit that follows an epoch which is no longer the current one is refused and writes nothing."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        stale = copy_of(ownership)
        await journal.commit(ownership, record(mark="right"))
        with pytest.raises(EpochMismatchError) as refused:
            await journal.commit(stale, record(mark="stale"))
        assert refused.value.error_context["expected_epoch"] == 1
        assert refused.value.error_context["current_epoch"] == 2
        assert stale.epoch == 1
        ahead = copy_of(ownership)
        ahead.epoch = 7
        with pytest.raises(EpochMismatchError):
            await journal.commit(ahead, record())
        assert await require_sound_log(journal, "w") == 2


async def test_lost_race(client: EtcdClient, keys: Keyspace) -> None:
    """R143: Of two commits of the same epoch at the same time one wins, and the other learns that it lost a race."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        twin = copy_of(ownership)
        results = await asyncio.gather(
            journal.commit(ownership, record(mark="one")),
            # Of one journal the second would be sent when the first has been answered, and be told that it is late.
            Journal(client, keys).commit(twin, record(mark="two")),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {int, StateConflictError}
        assert await require_sound_log(journal, "w") == 2


async def test_owner_gone_or_anothers(client: EtcdClient, keys: Keyspace) -> None:
    """R136, R130: After the lease, nothing is written: neither while nobody owns the workflow nor when another does."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as first, session_of(client, "b") as second:
        old = await journal.start(first, record("w"))
        await client.revoke(first.etcd_lease)
        with pytest.raises(LeaseExpiredError, match="nobody owns it"):
            await journal.commit(old, record())
        new = await journal.acquire(second, "w")
        with pytest.raises(LeaseExpiredError, match="owned by b") as refused:
            await journal.commit(old, record())
        assert refused.value.error_context["holder"] == "b"
        assert await journal.commit(new, record()) == 2
        assert await require_sound_log(journal, "w") == 2


async def test_200_at_once_each_with_its_own_outcome(client: EtcdClient, keys: Keyspace) -> None:
    """R141, R142: In groups of concurrent commits every stale and every fenced one is refused, and no other."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        starts = (journal.start(session, record(f"w{number}")) for number in range(200))
        owned: list[Ownership] = list(await asyncio.gather(*starts))
        expected: list[type] = []
        for number, ownership in enumerate(owned):
            expected.append(int)
            if number % 7 == 3:
                await journal.commit(copy_of(ownership), record(mark="between"))
                expected[-1] = EpochMismatchError
            elif number % 11 == 5:
                await journal.release(ownership)
                expected[-1] = LeaseExpiredError
        commits = (journal.commit(ownership, record(mark="last")) for ownership in owned)
        results = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(result) for result in results] == expected
        assert (expected.count(EpochMismatchError), expected.count(LeaseExpiredError)) == (29, 15)
        for number, kind in enumerate(expected):
            assert await require_sound_log(journal, f"w{number}") == (1 if kind is LeaseExpiredError else 2)


async def test_large_records(client: EtcdClient, keys: Keyspace) -> None:
    """Records near the limit commit, several at once too; above it they are refused and the ownership stays usable."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        owned = await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(4)))
        size_bytes = VALUE_BYTES_MAX * 5 // 8
        commits = (journal.commit(ownership, record(size_bytes=size_bytes)) for ownership in owned)
        assert await asyncio.gather(*commits) == [2, 2, 2, 2]
        with pytest.raises(PayloadTooLargeError):
            await journal.commit(owned[0], record(size_bytes=VALUE_BYTES_MAX))
        assert await journal.commit(owned[0], record()) == 3
        assert len(await journal.read_log("w0")) == 3


async def test_groups_larger_than_etcd_allows_in_one_request(client: EtcdClient, keys: Keyspace) -> None:
    """500 commits at once stay within etcd's 128 operations per request, with final commits the largest of all."""
    journal = Journal(client, keys, in_flight_max=1)
    async with session_of(client, "a") as session:
        owned = await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(500)))
        results = await asyncio.gather(*(journal.commit(ownership, record(), final=True) for ownership in owned))
        assert results == [2] * 500
        assert await journal.list_open() == []


async def test_lists(client: EtcdClient, keys: Keyspace) -> None:
    """States are listed by id, from a prefix, in pages; owners and open workflows as they are."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        names = [f"a-{number:02d}" for number in range(60)] + ["b-1", "b-2"]
        owned = await asyncio.gather(*(journal.start(session, record(name, mark=name)) for name in names))
        await journal.commit(owned[0], record(mark="moved"), final=True)
        page = await journal.list_states(prefix="a-", limit=2)
        assert [(state.name, epoch) for state, epoch in page] == [("moved", 2), ("a-01", 1)]
        page = await journal.list_states(prefix="a-", start_after="a-01", limit=2)
        assert [state.name for state, _ in page] == ["a-02", "a-03"]
        assert len(await journal.list_states(limit=0)) == 62
        assert [state.name for state, _ in await journal.list_states(prefix="b")] == ["b-1", "b-2"]
        assert await journal.list_open() == names[1:]
        assert set(await journal.list_owned()) == set(names[1:])

"""Linearizable checks of actions."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from onex_lease import (
    EpochMismatchError,
    EtcdClient,
    Journal,
    Keyspace,
    LeaseExpiredError,
    LeaseInvalidError,
    OnexError,
)
from tests.lease_writers import record, session_of


async def test_valid_action(client: EtcdClient, keys: Keyspace) -> None:
    """R136, R137: An action of the current lease is valid at the current epoch and at earlier ones."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        await journal.commit(ownership, record())
        for epoch in (0, 1, 2):
            await journal.check("w", ownership.lease_id, ownership.fencing_token, epoch)


async def test_wrong_epoch(client: EtcdClient, keys: Keyspace) -> None:
    """R137: An epoch that is not reached yet, or none at all, is refused with both epochs."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        ownership = await journal.start(session, record("w"))
        for epoch in (2, -1):
            with pytest.raises(EpochMismatchError) as refused:
                await journal.check("w", ownership.lease_id, ownership.fencing_token, epoch)
            assert refused.value.error_context["current_epoch"] == 1


async def test_expired_and_forged_differ(client: EtcdClient, keys: Keyspace) -> None:
    """R136, R144, F10: Held once and over is expired; never held is forged: before, while and after others own it."""
    journal = Journal(client, keys)
    async with session_of(client, "b") as second:
        async with session_of(client, "a") as first:
            old = await journal.start(first, record("w"))
        between = (await client.prefix(keys.root))[1]

        async def check(expected: type[OnexError], lease_id: str, token: int) -> None:
            with pytest.raises(expected):
                await journal.check("w", lease_id, token, 1)

        for owned_again in (False, True):
            await check(LeaseExpiredError, old.lease_id, old.fencing_token)
            await check(LeaseInvalidError, str(uuid.uuid4()), old.fencing_token)
            await check(LeaseInvalidError, old.lease_id, between)
            await check(LeaseInvalidError, old.lease_id, 2**50)
            await check(LeaseInvalidError, old.lease_id, 0)
            if not owned_again:
                new = await journal.acquire(second, "w")
        await check(LeaseInvalidError, old.lease_id, new.fencing_token)
        await journal.commit(new, record())
        await check(LeaseInvalidError, new.lease_id, new.fencing_token + 1)
        await journal.check("w", new.lease_id, new.fencing_token, 2)


async def test_after_compaction(client: EtcdClient, keys: Keyspace) -> None:
    """R136: Where etcd has forgotten whether an old lease was held, it is refused as expired."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        old = await journal.start(session, record("w"))
        await journal.release(old)
        new = await journal.acquire(session, "w")
        await client.compact(new.fencing_token)
        with pytest.raises(LeaseExpiredError):
            await journal.check("w", "whatever", old.fencing_token, 1)


async def test_many_at_once(client: EtcdClient, keys: Keyspace) -> None:
    """R136, R137: Checks that wait at the same time share a request, and each gets its own answer."""
    journal = Journal(client, keys)
    async with session_of(client, "a") as session:
        owned = await asyncio.gather(*(journal.start(session, record(f"w{number}")) for number in range(150)))
        checks = (
            journal.check(
                ownership.workflow_id,
                ownership.lease_id if number % 3 else "forged",
                ownership.fencing_token,
                1 if number % 5 else 2,
            )
            for number, ownership in enumerate(owned)
        )
        results = await asyncio.gather(*checks, return_exceptions=True)
    for number, result in enumerate(results):
        if not number % 3:
            assert isinstance(result, LeaseInvalidError)
        elif not number % 5:
            assert isinstance(result, EpochMismatchError)
        else:
            assert result is None

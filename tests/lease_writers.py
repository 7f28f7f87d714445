"""What the tests of the lease kernel write with, and what must hold of everything that was written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import grpc
from aetcd import rpc

from onex.v1.common_pb2 import Payload
from onex.v1.workflow_pb2 import Commit, WorkflowState
from onex_lease import EtcdClient, Journal, Ownership, Session
from onex_lease.messages import KeyValue


def record(workflow_id: str = "", *, mark: str = "", size_bytes: int = 0) -> Commit:
    """A record with a state that tells it from others."""
    state = WorkflowState(workflow_id=workflow_id, name=mark)
    if size_bytes:
        state.data.CopyFrom(Payload(data=b"x" * size_bytes))
    return Commit(workflow_id=workflow_id, state=state)


def copy_of(ownership: Ownership) -> Ownership:
    """The same ownership as a second writer would hold it who does not know of the first."""
    return Ownership(
        ownership.workflow_id,
        ownership.lease_id,
        ownership.fencing_token,
        ownership.holder,
        ownership.epoch,
        ownership.last_hash,
        ownership.session,
    )


@asynccontextmanager
async def session_of(client: EtcdClient, instance_id: str, ttl_s: float = 10.0) -> AsyncGenerator[Session, None]:
    """A session that is closed at the end."""
    session = await Session.open(client, instance_id=instance_id, ttl_s=ttl_s)
    try:
        yield session
    finally:
        await session.close()


async def require_sound_log(journal: Journal, workflow_id: str) -> int:
    """Checks what must hold of every workflow, whatever happened to it; returns its epoch.

    One commit per epoch, no gap, fencing tokens that never fall, an unbroken hash chain, and a state that is that of
    the last record (F6, R140, R146).
    """
    rows = await journal.read_log(workflow_id)
    assert [row.epoch for row, _ in rows] == list(range(1, len(rows) + 1))
    previous_hash, token = b"", 0
    for row, digest in rows:
        assert row.workflow_id == workflow_id
        assert row.previous_hash == previous_hash
        assert row.fencing_token >= token
        previous_hash, token = digest, row.fencing_token
    assert len({row.commit_id for row, _ in rows}) == len(rows)
    found = await journal.read_state(workflow_id)
    if found is None:
        assert not rows
        return 0
    assert found == (rows[-1][0].state, len(rows))
    return len(rows)


async def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    """Waits until something holds; fails if it does not within a generous time."""
    until = monotonic() + within_s
    while not holds():
        assert monotonic() < until, "it never came true"
        await asyncio.sleep(0.02)


async def wait_for_key(client: EtcdClient, key: bytes, holds: Callable[[KeyValue | None], bool]) -> None:
    """Waits until something holds of a key in etcd; fails if it does not within a generous time."""
    until = monotonic() + 20
    while True:
        if holds(await client.get(key)):
            return
        assert monotonic() < until, "it never came true"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def no_space(endpoint: str) -> AsyncGenerator[None, None]:
    """Makes an etcd refuse every write, as it does when its disk quota is used up."""
    async with grpc.aio.insecure_channel(endpoint) as channel:
        maintenance = rpc.MaintenanceStub(channel)
        status = await maintenance.Status(rpc.StatusRequest())
        action = rpc.AlarmRequest.AlarmAction
        alarm = rpc.AlarmRequest(memberID=status.header.member_id, alarm=rpc.NOSPACE, action=action.ACTIVATE)
        await maintenance.Alarm(alarm)
        try:
            yield
        finally:
            alarm.action = action.DEACTIVATE
            await maintenance.Alarm(alarm)

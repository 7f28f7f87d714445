"""A holder that stands still for longer than its TTL is fenced when it goes on."""

from __future__ import annotations

import asyncio
import signal
import sys

from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace
from tests.lease_writers import record, require_sound_log, session_of, wait_for_key

_HOLDER = """
import asyncio, sys
from onex.v1.workflow_pb2 import Commit, WorkflowState
from onex_lease import EtcdClient, Journal, Keyspace, OnexError, Session

def record():
    return Commit(workflow_id="w", state=WorkflowState(workflow_id="w", name="holder"))

async def main():
    client = await EtcdClient.connect(sys.argv[1])
    session = await Session.open(client, instance_id="holder", ttl_s=2.0)
    journal = Journal(client, Keyspace(sys.argv[2]))
    ownership = await journal.start(session, record())
    work = asyncio.create_task(asyncio.sleep(60))
    session.on_lost(work.cancel)
    print("owns", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        print("committed", await journal.commit(ownership, record()), flush=True)
    except OnexError as error:
        print(error.reason, flush=True)
    await session.wait_lost()
    await asyncio.wait([work])
    print("cancelled", work.cancelled(), "valid", session.is_valid(), flush=True)
    await session.close()
    await client.close()

asyncio.run(main())
"""


async def test_late_commit_of_a_stopped_holder_is_fenced(
    etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace
) -> None:
    """R136, R145, F7: SIGSTOP beyond the TTL loses the workflow to another; the late commit is refused by etcd, the
    work under the lost session is cancelled, and nothing of it is in the log."""
    arguments = ("-c", _HOLDER, etcd.endpoint, keys.namespace)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    journal = Journal(client, keys)
    try:
        assert await holder.stdout.readline() == b"owns\n"
        holder.send_signal(signal.SIGSTOP)
        await wait_for_key(client, keys.owner("w"), lambda row: row is None)
        async with session_of(client, "next") as session:
            ownership = await journal.acquire(session, "w")
            await journal.commit(ownership, record(mark="next"))
            holder.stdin.write(b"go\n")
            holder.send_signal(signal.SIGCONT)
            assert await holder.stdout.readline() == b"LEASE_EXPIRED\n"
            assert await holder.stdout.readline() == b"cancelled True valid False\n"
            assert await holder.wait() == 0
            await journal.commit(ownership, record(mark="next"))
    finally:
        if holder.returncode is None:
            holder.kill()
            await holder.wait()
    assert await require_sound_log(journal, "w") == 3
    assert [row.holder for row, _ in await journal.read_log("w")] == ["holder", "next", "next"]

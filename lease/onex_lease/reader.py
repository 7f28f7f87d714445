"""Reading workflows: states, logs, owners."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING

from onex.v1.lease_pb2 import Owner
from onex.v1.workflow_pb2 import Commit, WorkflowState
from onex_lease.watch import HistoryLostError, Watch
from onex_lease.wire import prefix_end

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace

# Records may have 1 MiB each, an answer 64 MiB.
_PAGE = 48


class JournalReader:
    """All reads of workflows in one namespace; linearizable. Every method raises EtcdUnavailableError without etcd.

    Args:
        client: Connection to etcd.
        keys: The namespace.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys

    async def read_state(self, workflow_id: str) -> tuple[WorkflowState, int] | None:
        """The state of a workflow and its epoch, linearizable; None if it has none."""
        found = await self._client.get(self._keys.state(workflow_id))
        return None if found is None else (WorkflowState.FromString(found.value), found.version)

    async def read_log(self, workflow_id: str, *, after_epoch: int = 0, limit: int = 0) -> list[tuple[Commit, bytes]]:
        """The records after an epoch, in order, each with the SHA-256 of its stored bytes.

        Args:
            workflow_id: The workflow.
            after_epoch: The last epoch that is not wanted.
            limit: Most records to return; 0 is all.
        """
        rows, _ = await self._read(workflow_id, after_epoch, limit)
        return [(Commit.FromString(value), sha256(value).digest()) for value in rows]

    async def read_commit(self, workflow_id: str, epoch: int) -> Commit | None:
        """The record that made an epoch; None if there is none."""
        found = await self._client.get(self._keys.log(workflow_id, epoch))
        return None if found is None else Commit.FromString(found.value)

    async def watch_log(self, workflow_id: str, *, after_epoch: int = 0) -> AsyncGenerator[Commit, None]:
        """The records after an epoch, then every new one: no gap, no duplicate, until the caller stops."""
        epoch = after_epoch
        while True:
            rows, revision = await self._read(workflow_id, epoch)
            for value in rows:
                record = Commit.FromString(value)
                epoch = record.epoch
                yield record
            prefix = self._keys.log_prefix(workflow_id)
            watch = Watch(self._client, prefix, revision + 1, fragment=True)
            try:
                async with aclosing(watch.batches()) as batches:
                    async for batch in batches:
                        for event in batch.events:
                            if event.type == 0:
                                record = Commit.FromString(event.kv.value)
                                epoch = record.epoch
                                yield record
            except HistoryLostError:
                # The records themselves are never removed: read on from the last one.
                continue

    async def list_states(
        self, *, prefix: str = "", start_after: str = "", limit: int = 100
    ) -> list[tuple[WorkflowState, int]]:
        """States and epochs of workflows in the order of their ids.

        Args:
            prefix: What the ids begin with.
            start_after: The last id of the page before.
            limit: Most to return; 0 is all.
        """
        base = self._keys.states_prefix
        start, end = base + prefix.encode(), prefix_end(base + prefix.encode())
        if start_after:
            start = max(start, base + start_after.encode() + b"\x00")
        rows, _ = await self._client.range(start, end, limit=limit, page=_PAGE)
        return [(WorkflowState.FromString(row.value), row.version) for row in rows]

    async def list_open(self) -> list[str]:
        """Ids of the workflows that have begun and not ended."""
        return await self._ids(self._keys.open_prefix)

    async def list_owned(self) -> dict[str, Owner]:
        """Owners by workflow id."""
        prefix = self._keys.owners_prefix
        rows, _ = await self._client.prefix(prefix)
        return {row.key[len(prefix) :].decode(): Owner.FromString(row.value) for row in rows}

    async def _ids(self, prefix: bytes) -> list[str]:
        rows, _ = await self._client.prefix(prefix, keys_only=True)
        return [row.key[len(prefix) :].decode() for row in rows]

    async def _read(self, workflow_id: str, after_epoch: int, limit: int = 0) -> tuple[list[bytes], int]:
        start = self._keys.log(workflow_id, max(0, after_epoch) + 1)
        end = prefix_end(self._keys.log_prefix(workflow_id))
        rows, revision = await self._client.range(start, end, limit=limit, page=_PAGE)
        return [row.value for row in rows], revision

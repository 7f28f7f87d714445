"""Reading and watching the log of a workflow."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import sha256
from typing import TYPE_CHECKING

from onex.v1.workflow_pb2 import Commit
from onex_lease.watch import HistoryLostError, Watch
from onex_lease.wire import prefix_end

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace

# Records may have 1 MiB each, an answer 64 MiB.
_PAGE = 48


class LogReader:
    """The log records of the workflows of one namespace."""

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys

    async def read(self, workflow_id: str, *, after_epoch: int, limit: int) -> list[tuple[Commit, bytes]]:
        """The records after an epoch, by epoch, each with the SHA-256 of its stored bytes; at most `limit` unless 0."""
        rows, _ = await self._read(workflow_id, after_epoch, limit)
        return [(Commit.FromString(value), sha256(value).digest()) for value in rows]

    async def _read(self, workflow_id: str, after_epoch: int, limit: int = 0) -> tuple[list[bytes], int]:
        start = self._keys.log(workflow_id, max(0, after_epoch) + 1)
        end = prefix_end(self._keys.log_prefix(workflow_id))
        rows, revision = await self._client.range(start, end, limit=limit, page=_PAGE)
        return [row.value for row in rows], revision

    async def watch(self, workflow_id: str, *, after_epoch: int) -> AsyncGenerator[Commit, None]:
        """The records after an epoch, then every new one, each once and in order, until the caller stops."""
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

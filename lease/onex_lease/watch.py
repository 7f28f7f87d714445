"""A watch on a prefix that survives lost connections."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from aetcd import rpc

from onex_lease.client import backoff
from onex_lease.wire import prefix_end

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.messages import Event, WatchResponse

_log = logging.getLogger(__name__)

# The first with https://github.com/etcd-io/etcd/pull/15695.
_ORDERED_PROGRESS_SINCE = (3, 5, 9)


def is_progress_ordered(version: str) -> bool:
    """Whether an etcd of this version answers progress requests only after the events that came before.

    Older ones may answer ahead of events that are still on their way: who believes them takes a lease that was just
    acquired for one that never was (etcd issue 15220).
    """
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return numbers is not None and tuple(map(int, numbers.groups())) >= _ORDERED_PROGRESS_SINCE


class HistoryLostError(Exception):
    """The revision to go on from is compacted, or etcd was restored to before it: list the keys again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes in the order of their revisions; none in an answer to a progress request.

    Attributes:
        events: The changes. Those of one revision are never spread over two batches, unless fragments were asked for.
        revision: Everything up to this revision has been delivered.
    """

    events: Sequence[Event]
    revision: int


class Watch:
    """Changes of all keys below a prefix, from a revision on, each exactly once.

    Args:
        client: Connection to etcd.
        prefix: The keys.
        start_revision: First revision to deliver.
        fragment: Let etcd split large batches; for large values, where every revision has one event.
    """

    def __init__(self, client: EtcdClient, prefix: bytes, start_revision: int, *, fragment: bool = False) -> None:
        self._client = client
        self._prefix = prefix
        self._next_revision = start_revision
        self._fragment = fragment
        self._call: grpc.aio.StreamStreamCall[object, object] | None = None
        self._writing = asyncio.Lock()

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yields batches until the caller stops; connects again as often as it takes.

        Raises:
            HistoryLostError: What comes next cannot be delivered any more.
        """
        attempt = 0
        while True:
            attempt += 1
            call = None
            try:
                call = self._client.open_watch()
                await call.write(self._create_request())
                while (answer := await call.read()) is not grpc.aio.EOF:
                    response = cast("WatchResponse", answer)
                    attempt = 0
                    if response.created:
                        self._require_history(response)
                        self._call = call
                    elif (batch := self._take(response)) is not None:
                        yield batch
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
                _log.info("The watch on %s broke off, connecting again: %s", self._prefix.decode(), error)
            finally:
                self._call = None
                if call is not None:
                    call.cancel()
            await backoff(max(1, attempt))

    def _create_request(self) -> object:
        return rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=self._prefix,
                range_end=prefix_end(self._prefix),
                start_revision=self._next_revision,
                fragment=self._fragment,
            )
        )

    def _require_history(self, response: WatchResponse) -> None:
        if response.header.revision < self._next_revision - 1:
            raise HistoryLostError(f"etcd is at revision {response.header.revision}, before {self._next_revision - 1}")

    def _take(self, response: WatchResponse) -> Batch | None:
        if response.canceled:
            if response.compact_revision:
                raise HistoryLostError(f"etcd has forgotten everything before revision {response.compact_revision}")
            raise grpc.aio.UsageError(f"etcd cancelled the watch: {response.cancel_reason}")
        # With events not the header's revision: while a watch catches up, that one runs ahead of them.
        revision = response.events[-1].kv.mod_revision if response.events else response.header.revision
        if revision < self._next_revision - 1:
            return None
        if response.events:
            # An answer to a progress request moves nothing: no event is passed over on its word.
            self._next_revision = max(self._next_revision, revision + 1)
        return Batch(response.events, revision)

    async def request_progress(self) -> None:
        """Asks etcd to say up to which revision everything was delivered; a batch without events is the answer.

        There is no answer while the connection is lost or the watch is behind: ask again. Only for an etcd that
        `is_progress_ordered`.
        """
        call = self._call
        if call is None:
            return
        async with self._writing:
            try:
                await call.write(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
                _log.debug("A progress request was lost with its connection: %s", error)

"""The live view: owners and nodes, fed by one watch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, ParamSpec

from onex.v1.common_pb2 import NodeKind
from onex.v1.node_pb2 import NodeInfo
from onex_lease.client import backoff
from onex_lease.live import Changes, LiveState, OwnerEntry, ViewVerdict
from onex_lease.watch import HistoryLostError, Watch, is_progress_ordered

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace

_PROGRESS_INTERVAL_S = 0.05
_ArgsT = ParamSpec("_ArgsT")
_log = logging.getLogger(__name__)


class LiveView:
    """Owners and nodes of one namespace as etcd had them at `revision`.

    It follows by a watch, goes on where it was after a lost connection, and lists everything again where etcd has
    forgotten what came between.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys
        self._state = LiveState(keys)
        self._moved = asyncio.Event()
        self._orphan_callbacks: list[Callable[[list[str]], None]] = []
        self._node_callbacks: list[Callable[[], None]] = []
        self._watch: Watch | None = None
        self._asks_for_progress = False
        self._follower: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, client: EtcdClient, keys: Keyspace) -> LiveView:
        """Reads what is there and follows from then on.

        Raises:
            EtcdUnavailableError: etcd does not answer.
        """
        view = cls(client, keys)
        view._asks_for_progress = is_progress_ordered(await client.server_version())
        await view._list()
        view._follower = asyncio.create_task(view._follow(), name="live view")
        return view

    async def close(self) -> None:
        """Stops following."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None

    @property
    def revision(self) -> int:
        """Everything up to this revision of etcd is seen."""
        return self._state.revision

    def owner(self, workflow_id: str) -> OwnerEntry | None:
        """Who owns a workflow; None if nobody does."""
        return self._state.owner(workflow_id)

    def owners_of(self, holder: str) -> dict[str, OwnerEntry]:
        """What an instance owns, by workflow id. Looks at all owners."""
        return self._state.owners_of(holder)

    def nodes(self, kind: NodeKind | None = None) -> list[NodeInfo]:
        """The nodes whose session is alive, of one kind or all, by kind and instance."""
        found = [info for _, info in sorted(self._state.nodes.items())]
        return found if kind is None else [info for info in found if info.kind == kind]

    def check(self, workflow_id: str, lease_id: str, fencing_token: int) -> ViewVerdict:
        """Checks a lease without asking etcd.

        Returns:
            VALID, or STALE if the view has not come as far as the token: wait with `caught_up`, or ask the journal.

        Raises:
            LeaseExpiredError: The lease was held once and is over (R136).
            LeaseInvalidError: It was never held (R144, F10).
        """
        return self._state.check(workflow_id, lease_id, fencing_token)

    async def caught_up(self, revision: int, timeout_s: float) -> bool:
        """Waits until the view has come as far as `revision`; False if it has not within the time.

        With an etcd before 3.5.9 only events move it, and revisions at which nothing of it changed are not waited for.
        """
        deadline = time.monotonic() + timeout_s
        while self.revision < revision:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            self._moved.clear()
            if self._watch is not None and self._asks_for_progress:
                await self._watch.request_progress()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_PROGRESS_INTERVAL_S, remaining_s)):
                    await self._moved.wait()
        return True

    def on_orphans(self, callback: Callable[[list[str]], None]) -> None:
        """Calls `callback` with the ids of workflows whose owner vanished without having released them.

        That is: the owner key went in the same revision as its holder's node key (the session ended), or was found
        missing after a gap in the history; the latter may also have ended well. Owners through LeaseService are never
        reported.
        """
        self._orphan_callbacks.append(callback)

    def on_nodes_changed(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when a node came, went or announced something else."""
        self._node_callbacks.append(callback)

    async def _follow(self) -> None:
        while True:
            self._watch = Watch(self._client, self._keys.live_prefix, self.revision + 1)
            try:
                async with aclosing(self._watch.batches()) as batches:
                    async for batch in batches:
                        self._report(self._state.apply(batch.events, batch.revision))
            except HistoryLostError as error:
                _log.warning("The live view lists everything again: %s", error)
            except Exception:  # noqa: BLE001 - a view that stands still would go on calling ended leases valid
                _log.exception("The live view met a fault, and lists everything again")
                await backoff(5)
            self._watch = None
            await self._list_until_done()

    async def _list_until_done(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._list()
            except Exception as error:  # noqa: BLE001 - see above
                _log.warning("The live view could not list, trying again: %s", error)
                await backoff(attempt)

    async def _list(self) -> None:
        rows, revision = await self._client.prefix(self._keys.live_prefix)
        self._report(self._state.replace(rows, revision))

    def _report(self, changes: Changes) -> None:
        self._moved.set()
        if changes.orphans:
            for on_orphans in self._orphan_callbacks:
                _guard(on_orphans, changes.orphans)
        if changes.nodes:
            for on_nodes_changed in self._node_callbacks:
                _guard(on_nodes_changed)


def _guard(callback: Callable[_ArgsT, None], *args: _ArgsT.args, **kwargs: _ArgsT.kwargs) -> None:
    try:
        callback(*args, **kwargs)
    except Exception:  # noqa: BLE001 - a faulty callback must not stop the view
        _log.exception("A callback of the live view failed")

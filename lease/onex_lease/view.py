"""A view of who lives and who owns what, fed by one watch.

Every node checks each action against it, so an owner is kept as the bytes that etcd sent and decoded when it is asked
for: most never are.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec

from onex.v1.common_pb2 import NodeKind
from onex.v1.lease_pb2 import Owner
from onex.v1.node_pb2 import NodeInfo
from onex_lease.checks import expired, forged
from onex_lease.client import backoff
from onex_lease.errors import EtcdUnavailableError
from onex_lease.watch import Batch, HistoryLostError, Watch

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace
    from onex_lease.messages import Event, KeyValue

# Leases that ended, one per workflow, the most recent ones: enough to tell expired from forged for a good while.
ENDED_MAX = 20_000
_PROGRESS_INTERVAL_S = 0.05
_log = logging.getLogger(__name__)


class ViewVerdict(enum.Enum):
    """What the view knows about a lease."""

    VALID = "valid"
    STALE = "stale"  # the view has not come as far as the fencing token


@dataclass(frozen=True, slots=True)
class OwnerEntry:
    """Who owns a workflow.

    Attributes:
        owner: The owner.
        fencing_token: create_revision of the owner key.
    """

    owner: Owner
    fencing_token: int


_ArgsT = ParamSpec("_ArgsT")
_Held = tuple[int, bytes]  # fencing token, Owner as stored


class LiveView:
    """Owners and nodes of one namespace as etcd had them at `revision`.

    It follows by a watch, goes on where it was after a lost connection, and lists everything again where etcd has
    forgotten what came between.

    Attributes:
        revision: Everything up to this revision of etcd is seen.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self.revision = 0
        self._client = client
        self._keys = keys
        self._owners: dict[str, _Held] = {}
        self._ended: dict[str, _Held] = {}
        self._nodes: dict[str, NodeInfo] = {}
        # An ended lease that is not in `_ended` is known to be forged only if its token is newer than this.
        self._complete_after = 0
        self._moved = asyncio.Event()
        self._orphan_callbacks: list[Callable[[list[str]], None]] = []
        self._node_callbacks: list[Callable[[], None]] = []
        self._watch: Watch | None = None
        self._follower: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, client: EtcdClient, keys: Keyspace) -> LiveView:
        """Reads what is there and follows from then on.

        Raises:
            EtcdUnavailableError: etcd does not answer.
        """
        view = cls(client, keys)
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

    # Reading

    def owner(self, workflow_id: str) -> OwnerEntry | None:
        """Who owns a workflow; None if nobody does."""
        held = self._owners.get(workflow_id)
        return None if held is None else OwnerEntry(Owner.FromString(held[1]), held[0])

    def owners_of(self, holder: str) -> dict[str, OwnerEntry]:
        """What an instance owns, by workflow id. Looks at all owners."""
        decoded = ((workflow_id, self.owner(workflow_id)) for workflow_id in self._owners)
        return {workflow_id: entry for workflow_id, entry in decoded if entry and entry.owner.holder == holder}

    def nodes(self, kind: NodeKind | None = None) -> list[NodeInfo]:
        """The nodes whose session is alive, of one kind or all, by kind and instance."""
        found = [info for _, info in sorted(self._nodes.items())]
        return found if kind is None else [info for info in found if info.kind == kind]

    def check(self, workflow_id: str, lease_id: str, fencing_token: int) -> ViewVerdict:
        """Checks a lease without asking etcd.

        Returns:
            VALID, or STALE if the view has not come as far as the token: wait with `caught_up`, or ask the journal.

        Raises:
            LeaseExpiredError: The lease was held once and is over (R136).
            LeaseInvalidError: It was never held (R144, F10).
        """
        held = self._owners.get(workflow_id)
        if held is not None and held[0] == fencing_token:
            if Owner.FromString(held[1]).lease_id != lease_id:
                raise forged(workflow_id, "the fencing token belongs to another lease")
            return ViewVerdict.VALID
        if fencing_token > self.revision:
            return ViewVerdict.STALE
        ended = self._ended.get(workflow_id)
        if ended is not None and ended[0] == fencing_token:
            if Owner.FromString(ended[1]).lease_id != lease_id:
                raise forged(workflow_id, "the fencing token belongs to another lease")
            raise expired(workflow_id)
        newest = held or ended
        if fencing_token <= 0 or (newest is not None and fencing_token > newest[0]):
            raise forged(workflow_id, "such a fencing token was never issued")
        if ended is None and fencing_token > self._complete_after:
            raise forged(workflow_id, "such a fencing token was never issued")
        raise expired(workflow_id)

    async def caught_up(self, revision: int, timeout_s: float) -> bool:
        """Waits until the view has come as far as `revision`; False if it has not within the time."""
        deadline = time.monotonic() + timeout_s
        while self.revision < revision:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            if self._watch is not None:
                await self._watch.request_progress()
            self._moved.clear()
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

    # Following

    async def _follow(self) -> None:
        attempt = 0
        while True:
            self._watch = Watch(self._client, self._keys.live_prefix, self.revision + 1)
            try:
                async with aclosing(self._watch.batches()) as batches:
                    async for batch in batches:
                        self._apply(batch)
                        attempt = 0
            except HistoryLostError as error:
                _log.warning("The live view lists everything again: %s", error)
            attempt += 1
            try:
                await self._list()
            except EtcdUnavailableError as error:
                _log.info("The live view could not list, trying again: %s", error)
                await backoff(attempt)

    async def _list(self) -> None:
        rows, revision = await self._client.prefix(self._keys.live_prefix)
        before, self._owners = self._owners, {}
        nodes_before, self._nodes = self._nodes, {}
        for row in rows:
            if row.key.startswith(self._keys.owners_prefix):
                self._owners[self._workflow_id(row)] = (row.create_revision, row.value)
            elif row.key.startswith(self._keys.nodes_prefix):
                self._nodes[self._node_name(row)] = NodeInfo.FromString(row.value)
        for workflow_id, held in before.items():
            if self._owners.get(workflow_id, (0, b""))[0] != held[0]:
                self._end(workflow_id, held)
        self._complete_after = revision
        self._advance(revision)
        gone = [(workflow_id, held) for workflow_id, held in before.items() if workflow_id not in self._owners]
        self._report_orphans(gone, None)
        if nodes_before != self._nodes:
            self._report_nodes()

    def _apply(self, batch: Batch) -> None:
        owners_prefix, cut = self._keys.owners_prefix, len(self._keys.owners_prefix)
        owners = self._owners
        gone: list[tuple[str, _Held]] = []
        nodes_changed = False
        gone_revision = 0
        nodes_gone: set[str] = set()
        for event in batch.events:
            kv = event.kv
            if kv.mod_revision != gone_revision:
                self._settle_revision(gone, nodes_gone)
                gone, nodes_gone, gone_revision = [], set(), kv.mod_revision
            key = kv.key
            if not key.startswith(owners_prefix):
                nodes_changed |= self._apply_node(event, nodes_gone)
                continue
            workflow_id = key[cut:].decode()
            if event.type == 0:
                owners[workflow_id] = (kv.create_revision, kv.value)
            elif (held := owners.pop(workflow_id, None)) is not None:
                self._end(workflow_id, held)
                gone.append((workflow_id, held))
        self._advance(batch.revision)
        self._settle_revision(gone, nodes_gone)
        if nodes_changed:
            self._report_nodes()

    def _apply_node(self, event: Event, gone: set[str]) -> bool:
        if not event.kv.key.startswith(self._keys.nodes_prefix):
            return False
        name = self._node_name(event.kv)
        if event.type == 0:
            self._nodes[name] = NodeInfo.FromString(event.kv.value)
        else:
            self._nodes.pop(name, None)
            gone.add(name.partition("/")[2])
        return True

    def _settle_revision(self, gone: list[tuple[str, _Held]], nodes_gone: set[str]) -> None:
        if gone and nodes_gone:
            self._report_orphans(gone, nodes_gone)

    def _end(self, workflow_id: str, held: _Held) -> None:
        self._ended.pop(workflow_id, None)
        self._ended[workflow_id] = held
        if len(self._ended) > ENDED_MAX:
            oldest = next(iter(self._ended))
            self._complete_after = max(self._complete_after, self._ended.pop(oldest)[0])

    def _advance(self, revision: int) -> None:
        if revision != self.revision:
            self.revision = revision
            self._moved.set()

    def _report_orphans(self, gone: Iterable[tuple[str, _Held]], holders: set[str] | None) -> None:
        orphans: list[str] = []
        for workflow_id, (_, value) in gone:
            owner = Owner.FromString(value)
            if not owner.external and (holders is None or owner.holder in holders):
                orphans.append(workflow_id)
        for callback in self._orphan_callbacks if orphans else ():
            _guard(callback, orphans)

    def _report_nodes(self) -> None:
        for callback in self._node_callbacks:
            _guard(callback)

    def _workflow_id(self, row: KeyValue) -> str:
        return row.key[len(self._keys.owners_prefix) :].decode()

    def _node_name(self, row: KeyValue) -> str:
        return row.key[len(self._keys.nodes_prefix) :].decode()


def _guard(callback: Callable[_ArgsT, None], *args: _ArgsT.args, **kwargs: _ArgsT.kwargs) -> None:
    try:
        callback(*args, **kwargs)
    except Exception:  # noqa: BLE001 - a faulty callback must not stop the view
        _log.exception("A callback of the live view failed")

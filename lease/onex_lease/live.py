"""Owners and nodes as a watch shows them, and what follows from it. Pure: no etcd, no clock, no task.

Every node checks each action against this, so an owner is kept as the bytes that etcd sent and decoded when it is asked
for: most never are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from onex.v1.lease_pb2 import Owner
from onex.v1.node_pb2 import NodeInfo
from onex_lease.checks import expired, forged

if TYPE_CHECKING:
    from onex_lease.keys import Keyspace
    from onex_lease.messages import Event, KeyValue

# Leases that ended, one per workflow, the most recent ones: enough to tell expired from forged for a good while.
ENDED_MAX = 20_000


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


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch of events, or a new list, brought.

    Attributes:
        orphans: Workflows whose owner vanished without having released them.
        nodes: Whether a node came, went or announced something else.
    """

    orphans: list[str]
    nodes: bool


_Held = tuple[int, bytes]  # fencing token, Owner as stored
_Gone = list[tuple[str, _Held]]


class LiveState:
    """Owners and nodes of one namespace at `revision`.

    Args:
        keys: The namespace.
        ended_max: How many ended leases are remembered.

    Attributes:
        revision: Everything up to this revision of etcd is seen.
        nodes: Nodes by "kind/instance".
    """

    def __init__(self, keys: Keyspace, *, ended_max: int = ENDED_MAX) -> None:
        self.revision = 0
        self.nodes: dict[str, NodeInfo] = {}
        self._owners_prefix = keys.owners_prefix
        self._nodes_prefix = keys.nodes_prefix
        self._ended_max = ended_max
        self._owners: dict[str, _Held] = {}
        self._ended: dict[str, _Held] = {}
        # An ended lease that is not in `_ended` is known to be forged only if its token is newer than this.
        self._complete_after = 0

    def owner(self, workflow_id: str) -> OwnerEntry | None:
        """Who owns a workflow; None if nobody does."""
        held = self._owners.get(workflow_id)
        return None if held is None else OwnerEntry(Owner.FromString(held[1]), held[0])

    def owners_of(self, holder: str) -> dict[str, OwnerEntry]:
        """What an instance owns, by workflow id. Looks at all owners."""
        decoded = ((workflow_id, self.owner(workflow_id)) for workflow_id in self._owners)
        return {workflow_id: entry for workflow_id, entry in decoded if entry and entry.owner.holder == holder}

    def check(self, workflow_id: str, lease_id: str, fencing_token: int) -> ViewVerdict:
        """See `LiveView.check`."""
        held, ended = self._owners.get(workflow_id), self._ended.get(workflow_id)
        if held is not None and held[0] == fencing_token:
            _require_same(workflow_id, held, lease_id)
            return ViewVerdict.VALID
        if fencing_token > self.revision:
            return ViewVerdict.STALE
        if ended is not None and ended[0] == fencing_token:
            _require_same(workflow_id, ended, lease_id)
            raise expired(workflow_id)
        newest = held or ended
        never = fencing_token <= 0 or (newest is not None and fencing_token > newest[0])
        if never or (ended is None and fencing_token > self._complete_after):
            raise forged(workflow_id, "such a fencing token was never issued")
        raise expired(workflow_id)

    def replace(self, rows: Iterable[KeyValue], revision: int) -> Changes:
        """Takes a list of all keys below live/, read at `revision`, in place of what was known.

        An owner that is missing now is an orphan as far as can be told: it may also have ended well.
        """
        before, self._owners = self._owners, {}
        nodes_before, self.nodes = self.nodes, {}
        for row in rows:
            if row.key.startswith(self._owners_prefix):
                self._owners[row.key[len(self._owners_prefix) :].decode()] = (row.create_revision, row.value)
            elif row.key.startswith(self._nodes_prefix):
                self._take_node(row)
        gone: _Gone = []
        for workflow_id, held in before.items():
            now = self._owners.get(workflow_id)
            if now is None:
                gone.append((workflow_id, held))
            if now is None or now[0] != held[0]:
                self._end(workflow_id, held)
        self._complete_after = revision
        self.revision = revision
        return Changes(_orphans(gone, None), nodes_before != self.nodes)

    def apply(self, events: Sequence[Event], revision: int) -> Changes:
        """Takes the events of a watch up to `revision`; those of one revision come together."""
        prefix, cut, owners = self._owners_prefix, len(self._owners_prefix), self._owners
        orphans: list[str] = []
        gone: _Gone = []
        holders_gone: set[str] = set()
        nodes_changed = False
        current = 0
        for event in events:
            kv = event.kv
            if kv.mod_revision != current:
                if holders_gone:
                    orphans += _orphans(gone, holders_gone)
                    holders_gone = set()
                if gone:
                    gone = []
                current = kv.mod_revision
            key = kv.key
            if not key.startswith(prefix):
                nodes_changed |= self._apply_node(event, holders_gone)
                continue
            workflow_id = key[cut:].decode()
            if event.type == 0:
                owners[workflow_id] = (kv.create_revision, kv.value)
            elif (held := owners.pop(workflow_id, None)) is not None:
                self._end(workflow_id, held)
                gone.append((workflow_id, held))
        if holders_gone:
            orphans += _orphans(gone, holders_gone)
        self.revision = max(self.revision, revision)
        return Changes(orphans, nodes_changed)

    def _apply_node(self, event: Event, holders_gone: set[str]) -> bool:
        if not event.kv.key.startswith(self._nodes_prefix):
            return False
        if event.type == 0:
            self._take_node(event.kv)
        else:
            name = self._node_name(event.kv)
            self.nodes.pop(name, None)
            holders_gone.add(name.partition("/")[2])
        return True

    def _take_node(self, row: KeyValue) -> None:
        name = self._node_name(row)
        try:
            self.nodes[name] = NodeInfo.FromString(row.value)
        except DecodeError:
            # Somebody else's key: it must not keep this node from seeing the others.
            self.nodes.pop(name, None)

    def _end(self, workflow_id: str, held: _Held) -> None:
        self._ended.pop(workflow_id, None)
        self._ended[workflow_id] = held
        if len(self._ended) > self._ended_max:
            oldest = next(iter(self._ended))
            self._complete_after = max(self._complete_after, self._ended.pop(oldest)[0])

    def _node_name(self, row: KeyValue) -> str:
        return row.key[len(self._nodes_prefix) :].decode()


def _require_same(workflow_id: str, held: _Held, lease_id: str) -> None:
    if Owner.FromString(held[1]).lease_id != lease_id:
        raise forged(workflow_id, "the fencing token belongs to another lease")


def _orphans(gone: _Gone, holders: set[str] | None) -> list[str]:
    orphans: list[str] = []
    for workflow_id, (_, value) in gone:
        owner = Owner.FromString(value)
        if not owner.external and (holders is None or owner.holder in holders):
            orphans.append(workflow_id)
    return orphans

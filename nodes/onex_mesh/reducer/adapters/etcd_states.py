"""States of direct calls in etcd: one key each, whose version is the epoch (R60); beside them what calls returned.

reducer-states/{owner}/{state_key}                 BackupRecord
reducer-answers/{owner}/{state_key}/{action_id}    SHA-256 of the contract, then ReducerOutput
reducer-copies/{owner}/{state_key}                 BackupRecord without a state: the newest copy
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from onex.v1 import reducer_pb2
from onex_lease import wire
from onex_lease.group import TransactionGroup
from onex_lease.messages import KeyValue, first
from onex_lease.pursuit import settle
from onex_lease.record import VALUE_BYTES_MAX
from onex_mesh.reducer.ports import Answer, Change, KeptState, LastCopy, StateName, TransactionError
from onex_mesh.runtime.errors import OutcomeUnknownError, PayloadTooLargeError

if TYPE_CHECKING:
    from onex_lease import EtcdClient, Keyspace

ANSWERS_MAX = 64
"""Answers that are kept for a state; the oldest go."""
REQUEST_BYTES_MAX = 1536 * 1024 - 16 * 1024
"""Of a commit; etcd takes 1.5 MiB with what it adds."""
_DIGEST_BYTES = 32
_PRUNED_MAX = 16
# With values up to 1 MiB at most 48 fit in an answer.
_PAGE = 48


class EtcdStates:
    """See `onex_mesh.reducer.ports.States`. One per process: it groups what happens at the same time.

    Args:
        client: Connection to etcd.
        keys: The namespace.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._states = keys.root + b"reducer-states/"
        self._answers = keys.root + b"reducer-answers/"
        self._copies = keys.root + b"reducer-copies/"
        self._group = TransactionGroup(client)
        # Commits of several states share keys with others in ways that a group could not keep apart.
        self._alone = TransactionGroup(client, in_flight_max=8, members_max=1)

    async def load(self, name: StateName) -> KeptState:
        """The state as it is now, by a linearizable read."""
        found = await self._client.get(self._states + _path(name))
        return KeptState(0, reducer_pb2.BackupRecord()) if found is None else _kept(found)

    async def named(self, owner: str = "", limit: int = 0) -> list[tuple[StateName, KeptState]]:
        """The states that are kept, by name; only of the owner if one is given; at most `limit` if it is not 0."""
        prefix = self._states + (f"{quote(owner, safe='')}/".encode() if owner else b"")
        rows, _ = await self._client.range(prefix, wire.prefix_end(prefix), limit=limit, page=_PAGE)
        return [(_name(bytes(row.key)[len(self._states) :]), _kept(row)) for row in rows]

    async def answer(self, name: StateName, action_id: str) -> Answer | None:
        """What the call of that action id returned."""
        found = await self._client.get(self._answer_key(name, action_id))
        if found is None:
            return None
        digest, output = found.value[:_DIGEST_BYTES], found.value[_DIGEST_BYTES:]
        return Answer(name, action_id, digest, reducer_pb2.ReducerOutput.FromString(output))

    async def commit(self, changes: Sequence[Change], answer: Answer | None = None) -> None:
        """Writes all or nothing; the comparisons are those of the states as they were loaded."""
        puts = [(self._states + _path(change.name), _value(change)) for change in changes if change.record is not None]
        keys = [self._states + _path(change.name) for change in changes]
        compare = [wire.modified_at(key, change.before.revision) for key, change in zip(keys, changes, strict=True)]
        pruned: Sequence[bytes] = ()
        if answer is not None:
            pruned = await self._oldest_answers(answer.name)
            key = self._answer_key(answer.name, answer.action_id)
            keys.append(key)
            compare.append(wire.created_at(key, 0))
            output = answer.output.SerializeToString(deterministic=True)
            puts.append((key, answer.contract_digest + output))
        success = [*(wire.put(key, value) for key, value in puts), *map(wire.delete, pruned)]
        request = wire.txn(compare, success, map(wire.get, keys))
        _require_size(len(request), REQUEST_BYTES_MAX, "A commit")
        group = self._group if len(changes) == 1 else self._alone
        outcome, attempts = await settle(group, keys[0].decode(), request, None)
        if outcome.result.succeeded:
            return
        found = {key: first(outcome.result, position) for position, key in enumerate(keys)}
        # An earlier attempt whose answer was lost: records carry the id of their commit, so no other is equal.
        if any((row := found[key]) is not None and row.value == value for key, value in puts):
            return
        _refuse([(change, found[key]) for change, key in zip(changes, keys, strict=False)], attempts)

    async def forget(self, name: StateName, kept: KeptState) -> None:
        """Deletes a state with its answers. Its copies stay, and so does the note of the newest one.

        Raises:
            TransactionError: It was changed since it was loaded; nothing was deleted.
            OutcomeUnknownError: No answer; it may have been deleted.
        """
        key = self._states + _path(name)
        deletes = (wire.delete(key), wire.delete_prefix(self._answers + _path(name) + b"/"))
        request = wire.txn((wire.modified_at(key, kept.revision),), deletes, (wire.get(key),))
        outcome, attempts = await settle(self._alone, key.decode(), request, None)
        if outcome.result.succeeded:
            return
        found = first(outcome.result, 0)
        if found is not None or attempts == 1:
            _refuse([(Change(name, kept, None), found)], attempts)

    async def last_copy(self, name: StateName) -> LastCopy:
        """The newest copy that is known."""
        found = await self._client.get(self._copies + _path(name))
        if found is None:
            return LastCopy(reducer_pb2.BackupRecord())
        return LastCopy(reducer_pb2.BackupRecord.FromString(found.value), found.mod_revision)

    async def note_copy(self, name: StateName, before: LastCopy, record: reducer_pb2.BackupRecord) -> bool:
        """Notes a copy as the newest one."""
        key, value = self._copies + _path(name), record.SerializeToString(deterministic=True)
        request = wire.txn((wire.modified_at(key, before.revision),), (wire.put(key, value),), (wire.get(key),))
        outcome, _ = await settle(self._group, key.decode(), request, None)
        found = None if outcome.result.succeeded else first(outcome.result, 0)
        return bool(outcome.result.succeeded or (found is not None and found.value == value))

    async def _oldest_answers(self, name: StateName) -> list[bytes]:
        """The keys of those that have to go for one more."""
        rows, _ = await self._client.prefix(self._answers + _path(name) + b"/", keys_only=True)
        oldest = sorted(rows, key=lambda row: row.create_revision)[: max(0, len(rows) + 1 - ANSWERS_MAX)]
        return [bytes(row.key) for row in oldest[:_PRUNED_MAX]]

    def _answer_key(self, name: StateName, action_id: str) -> bytes:
        return self._answers + _path(name) + f"/{quote(action_id, safe='')}".encode()


def _path(name: StateName) -> bytes:
    # Quoted, so that no name reaches into another's.
    return f"{quote(name.owner, safe='')}/{quote(name.state_key, safe='')}".encode()


def _name(path: bytes) -> StateName:
    owner, _, state_key = path.decode().partition("/")
    return StateName(unquote(owner), unquote(state_key))


def _kept(row: KeyValue) -> KeptState:
    return KeptState(int(row.version), reducer_pb2.BackupRecord.FromString(row.value), int(row.mod_revision))


def _value(change: Change) -> bytes:
    assert change.record is not None
    value = change.record.SerializeToString(deterministic=True)
    _require_size(len(value), VALUE_BYTES_MAX, f"The state {change.name.state_key!r}")
    return value


def _require_size(size_bytes: int, size_bytes_max: int, what: str) -> None:
    if size_bytes > size_bytes_max:
        raise PayloadTooLargeError(
            f"{what} of {size_bytes} bytes is too large; {size_bytes_max} are allowed. Nothing was written.",
            error_context={"size_bytes": size_bytes, "size_bytes_max": size_bytes_max},
        )


def _refuse(found: Sequence[tuple[Change, KeyValue | None]], attempts: int) -> None:
    changed = [(change, row) for change, row in found if (row.mod_revision if row else 0) != change.before.revision]
    names = ", ".join(repr(change.name.state_key) for change, _ in changed) or "of the same action"
    context: dict[str, object] = {
        "states": [
            {"state_key": change.name.state_key, "epoch": change.before.epoch, "found": int(row.version) if row else 0}
            for change, row in changed
        ]
    }
    if attempts > 1:
        raise OutcomeUnknownError(
            f"The answer was lost, and the state {names} was changed since.", error_context=context
        )
    raise TransactionError(
        f"The state {names} was changed by another call; nothing was written.", error_context=context
    )

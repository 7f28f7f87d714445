"""States of direct calls in etcd: one key each, its version is the epoch (R60)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from onex.v1 import reducer_pb2
from onex_lease import wire
from onex_lease.group import TransactionGroup
from onex_lease.messages import first
from onex_lease.pursuit import settle
from onex_lease.record import VALUE_BYTES_MAX
from onex_mesh.reducer.ports import KeptState, StateName, TransactionError
from onex_mesh.runtime.errors import OutcomeUnknownError, PayloadTooLargeError

if TYPE_CHECKING:
    from onex_lease import EtcdClient, Keyspace


class EtcdStates:
    """See `onex_mesh.reducer.ports.States`. One per process: it groups what happens at the same time.

    Args:
        client: Connection to etcd.
        keys: The namespace.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._prefix = keys.root + b"reducer-states/"
        self._group = TransactionGroup(client)

    async def load(self, name: StateName) -> KeptState:
        """The state as it is now, by a linearizable read."""
        found = await self._client.get(self._key(name))
        if found is None:
            return KeptState(0, reducer_pb2.BackupRecord())
        return KeptState(int(found.version), reducer_pb2.BackupRecord.FromString(found.value))

    async def commit(self, name: StateName, epoch: int, record: reducer_pb2.BackupRecord) -> int:
        """Writes the state if its epoch is still `epoch`."""
        key, value = self._key(name), record.SerializeToString(deterministic=True)
        if len(value) > VALUE_BYTES_MAX:
            raise PayloadTooLargeError(
                f"A state of {len(value)} bytes is too large; {VALUE_BYTES_MAX} are allowed.",
                error_context={"size_bytes": len(value), "size_bytes_max": VALUE_BYTES_MAX},
            )
        request = wire.txn((wire.version_is(key, epoch),), (wire.put(key, value),), (wire.get(key),))
        outcome, attempts = await settle(self._group, key.decode(), request, None)
        if outcome.result.succeeded:
            return epoch + 1
        found = first(outcome.result, 0)
        # An earlier attempt whose answer was lost: the record carries the id of its commit, so no other is equal.
        if found is not None and found.value == value:
            return epoch + 1
        context = {"state_key": name.state_key, "epoch": epoch, "found": int(found.version) if found else 0}
        if attempts > 1:
            raise OutcomeUnknownError(
                f"The answer was lost, and the state {name.state_key!r} was changed since.", error_context=context
            )
        raise TransactionError(
            f"The state {name.state_key!r} was changed by another call; nothing was written.", error_context=context
        )

    def _key(self, name: StateName) -> bytes:
        # Quoted, so that no name reaches into another's.
        return self._prefix + f"{quote(name.owner, safe='')}/{quote(name.state_key, safe='')}".encode()

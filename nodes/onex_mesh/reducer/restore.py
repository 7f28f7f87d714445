"""Puts a copy of a kept state back (R61)."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.ports import StateName, States
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload_store import PayloadStore


async def restore(uri: str, backups: PayloadStore, states: States) -> tuple[StateName, int]:
    """Commits the state of a copy as a new epoch of the state that it was made of; epochs never go back.

    Args:
        uri: Where the copy is, as `backup.location.uri` of the output told; it ends with the SHA-256.
        backups: Where the copies are.
        states: Where the states are kept.

    Returns:
        Which state it is, and its new epoch.

    Raises:
        ValidationError: Nothing is there, its digest differs, or it is no copy of a state.
        DependencyResolutionError: The payload store is away.
        TransactionError: A call changed the state meanwhile; nothing was written.
    """
    data = await backups.get(common_pb2.PayloadLocation(uri=uri, digest=uri.rpartition("/")[2]))
    try:
        record = reducer_pb2.BackupRecord.FromString(data)
    except DecodeError:
        record = reducer_pb2.BackupRecord()
    state_key = record.metadata.get("state_key", "")
    if not (record.correlation_id and state_key and record.HasField("state")):
        raise ValidationError(f"uri: what is at {uri!r} is no copy of a state", violations=(("uri", "is no copy"),))
    name = StateName(record.correlation_id, state_key)
    kept = await states.load(name)
    record.metadata["restored_from"] = uri
    return name, await states.commit(name, kept.epoch, record)

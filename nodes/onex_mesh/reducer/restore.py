"""Puts a copy of a kept state back (R61)."""

from __future__ import annotations

import uuid

from onex_mesh.reducer.copies import whole_copy, without_facts
from onex_mesh.reducer.ports import Change, StateName, States
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
        ValidationError: Nothing is there, its digest differs, it is no copy of a state, or one that it builds on is
            missing.
        DependencyResolutionError: The payload store is away.
        TransactionError: A call changed the state meanwhile; nothing was written.
    """
    copy = await whole_copy(uri, backups)
    name = StateName(copy.correlation_id, copy.metadata["state_key"])
    record = without_facts(copy)
    record.metadata["restored_from"] = uri
    record.metadata["commit_id"] = str(uuid.uuid4())
    kept = await states.load(name)
    await states.commit((Change(name, kept, record),))
    return name, kept.epoch + 1

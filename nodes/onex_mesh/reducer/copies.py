"""Copies of kept states in the payload store: full ones, and what changed since the one before (R61, R62).

A copy is a `BackupRecord` under its SHA-256. It names the copy before by its URI, which ends with that one's SHA-256:
so a chain of copies is unbroken if every one is there and is what its name says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core.difference import PATCH_TYPE, applied, difference, digest_of
from onex_mesh.reducer.ports import KeptState, LastCopy, StateName, States
from onex_mesh.reducer.reduction import INLINE_BYTES_MAX
from onex_mesh.runtime.errors import OnexError, ValidationError, to_proto
from onex_mesh.runtime.payload_store import PayloadStore

BACKUP_FOLDER = "backups"
CHAIN_MAX = 16
"""Copies that one state takes to be put together; the next one is full."""
_FACTS = ("backup_type", "backup_version", "depth", "epoch", "previous", "state_key", "state_sha256")
"""What the metadata of a copy tell beside those of the state."""
_log = logging.getLogger(__name__)


class Copies:
    """Makes copies.

    Args:
        payloads: Where they go.
        states: Where the newest one is noted.
    """

    def __init__(self, payloads: PayloadStore, states: States) -> None:
        self._payloads = payloads
        self._states = states

    async def make(
        self, name: StateName, before: KeptState, kept: KeptState, config: reducer_pb2.BackupConfig
    ) -> reducer_pb2.BackupResult:
        """Copies a state as it was committed. The commit stands whatever comes of it: the result tells.

        Args:
            name: Which state.
            before: As it was before the commit; spares reading the copy before where that is of this state.
            kept: As it was committed.
            config: What was asked for.
        """
        try:
            last = await self._states.last_copy(name)
            if _is_of(last.record, kept):
                facts = last.record.metadata
                return reducer_pb2.BackupResult(location=_location(facts["uri"], int(facts["size_bytes"])))
            record = await self._record(name, before, kept, config, last)
            data = record.SerializeToString(deterministic=True)
            location = await self._payloads.put(data, config.backup_location or BACKUP_FOLDER)
        except OnexError as error:
            # Its caller learns that there is no copy, and so does who reads the log.
            _log.warning("No backup of the state %r of %r: %s", name.state_key, name.owner, error)
            return reducer_pb2.BackupResult(error=to_proto(error, node_kind=common_pb2.NODE_KIND_REDUCER))
        await self._note(name, last, record, location)
        return reducer_pb2.BackupResult(location=location)

    async def _record(
        self, name: StateName, before: KeptState, kept: KeptState, config: reducer_pb2.BackupConfig, last: LastCopy
    ) -> reducer_pb2.BackupRecord:
        record = reducer_pb2.BackupRecord()
        record.CopyFrom(kept.record)
        record.metadata.update(
            backup_type="full", backup_version=config.version, state_key=name.state_key, epoch=str(kept.epoch)
        )
        if not last.revision:
            return record
        record.metadata["previous"] = last.record.metadata["uri"]
        depth = int(last.record.metadata.get("depth", "0")) + 1
        if config.backup_type == "incremental" and depth < CHAIN_MAX:
            patch = await self._patch(last.record, before, kept)
            if patch is not None:
                record.metadata.update(
                    backup_type="incremental", depth=str(depth), state_sha256=digest_of(kept.record.state)
                )
                record.state.CopyFrom(patch)
        return record

    async def _patch(
        self, last: reducer_pb2.BackupRecord, before: KeptState, kept: KeptState
    ) -> common_pb2.Payload | None:
        base = before.record.state
        if not _is_of(last, before):
            try:
                base = (await whole_copy(last.metadata["uri"], self._payloads)).state
            except ValidationError as error:
                _log.warning("The copy before cannot be read, the next one is full: %s", error)
                return None
        if kept.record.ByteSize() > INLINE_BYTES_MAX:
            return await asyncio.to_thread(difference, base, kept.record.state)
        return difference(base, kept.record.state)

    async def _note(
        self, name: StateName, last: LastCopy, record: reducer_pb2.BackupRecord, location: common_pb2.PayloadLocation
    ) -> None:
        """Notes it as the newest, unless a newer one is noted: then it is there, and no later copy builds on it."""
        note = reducer_pb2.BackupRecord()
        note.CopyFrom(record)
        note.ClearField("state")
        note.metadata.update(uri=location.uri, size_bytes=str(location.size_bytes))
        try:
            while not await self._states.note_copy(name, last, note):
                last = await self._states.last_copy(name)
                if int(last.record.metadata.get("epoch", "0")) >= int(note.metadata["epoch"]):
                    return
        except OnexError as error:
            _log.warning("The copy %s is made, and could not be noted as the newest: %s", location.uri, error)


async def chain(uri: str, payloads: PayloadStore) -> AsyncIterator[tuple[str, reducer_pb2.BackupRecord]]:
    """A copy and those before it, the newest first, with their URIs.

    Raises:
        ValidationError: One is not there, is another than its name says, or is no copy of a state.
        DependencyResolutionError: The payload store is away.
    """
    while uri:
        data = await payloads.get(_location(uri))
        try:
            record = reducer_pb2.BackupRecord.FromString(data)
        except DecodeError:
            record = reducer_pb2.BackupRecord()
        if not (record.correlation_id and record.metadata.get("state_key") and record.HasField("state")):
            raise ValidationError(f"uri: what is at {uri!r} is no copy of a state", violations=(("uri", "is no copy"),))
        yield uri, record
        uri = record.metadata.get("previous", "")


async def whole_copy(uri: str, payloads: PayloadStore) -> reducer_pb2.BackupRecord:
    """A copy with its whole state; of an incremental one it is put together from those that it builds on.

    Raises:
        ValidationError: A copy of the chain is missing or changed (it is named), or they do not fit each other.
        DependencyResolutionError: The payload store is away.
    """
    patches: list[tuple[str, reducer_pb2.BackupRecord]] = []
    full: reducer_pb2.BackupRecord | None = None
    try:
        async for at, record in chain(uri, payloads):
            if record.state.content_type != PATCH_TYPE:
                full = record
                break
            patches.append((at, record))
            if len(patches) >= CHAIN_MAX:
                break
    except ValidationError as error:
        if not patches:
            raise
        raise _broken(uri, error.message) from error
    if full is None:
        raise _broken(uri, f"none of its {len(patches)} newest copies is a full one")
    return _put_together(full, patches)


def without_facts(record: reducer_pb2.BackupRecord) -> reducer_pb2.BackupRecord:
    """The state of a whole copy as it was committed, without what only a copy tells."""
    kept = reducer_pb2.BackupRecord()
    kept.CopyFrom(record)
    for fact in _FACTS:
        kept.metadata.pop(fact, None)
    return kept


def _put_together(
    full: reducer_pb2.BackupRecord, patches: list[tuple[str, reducer_pb2.BackupRecord]]
) -> reducer_pb2.BackupRecord:
    record = full
    for at, patch in reversed(patches):
        try:
            state = applied(record.state, patch.state, patch.metadata.get("state_sha256", ""))
        except ValidationError as error:
            raise _broken(patches[0][0], f"at {at}: {error.message}") from error
        record = patch
        record.state.CopyFrom(state)
    return record


def _broken(uri: str, why: str) -> ValidationError:
    text = f"the chain of copies is broken: {why}"
    return ValidationError(f"uri: {uri!r} cannot be put together, {text}", violations=(("uri", text),))


def _is_of(copy: reducer_pb2.BackupRecord, kept: KeptState) -> bool:
    """Whether a copy is of this state; each commit has an id of its own."""
    commit_id = kept.record.metadata.get("commit_id", "")
    return bool(commit_id) and copy.metadata.get("commit_id", "") == commit_id


def _location(uri: str, size_bytes: int = 0) -> common_pb2.PayloadLocation:
    return common_pb2.PayloadLocation(uri=uri, digest=uri.rpartition("/")[2], size_bytes=size_bytes)

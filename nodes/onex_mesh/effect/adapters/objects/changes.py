"""Appends, copies, moves and creations in an object store: puts on a condition, so none overtakes another unseen."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from onex_mesh.effect.adapters.files.content import require_size
from onex_mesh.effect.adapters.files.operations import FileOperation
from onex_mesh.effect.adapters.files.paths import RESERVED
from onex_mesh.effect.adapters.objects.marks import Marks, digest, mark_of, metadata_of, read_marks
from onex_mesh.effect.adapters.objects.store import (
    Condition,
    ConditionFailedError,
    Facts,
    NoSuchObjectError,
    ObjectStore,
)
from onex_mesh.runtime.errors import EffectFailedError, TemporarilyRefusedError

_ABSENT = Condition(None)
_ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to."""

    size_bytes: int
    replayed: bool = False


class Changes:
    """The changes at one target.

    Args:
        target: Its name.
        store: Where.
        size_bytes_max: Largest object.
        conditional: Whether the operator says that the store compares conditions.
    """

    def __init__(self, target: str, store: ObjectStore, size_bytes_max: int, *, conditional: bool) -> None:
        self._target = target
        self._store = store
        self._size_bytes_max = size_bytes_max
        self._conditional = conditional
        self._is_proven = False
        self._proving = asyncio.Lock()
        self._appending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def write(self, work: FileOperation, key: str) -> Changed:
        """Puts an object, over another one or only where there is none.

        Raises:
            EffectFailedError: There is one.
        """
        marks = Marks(put_by=mark_of(key), sha256=digest(work.content))
        path, headers = work.place.path, {"ContentType": work.content_type}
        if work.overwrite:
            await self._store.put(path, work.content, headers, metadata_of(marks), None)
            return Changed(len(work.content))
        await self._require_conditions()
        replayed = not await self._put_new(path, work.content, headers, marks)
        return Changed(len(work.content), replayed)

    async def append(self, work: FileOperation, key: str) -> Changed:
        """Puts an object anew with more at its end, unless this key has.

        Raises:
            TemporarilyRefusedError: Others kept putting it in between.
            PayloadTooLargeError: It would be larger than the target takes.
        """
        await self._require_conditions()
        # Within the node they take turns; only those of other nodes come in between.
        async with self._appending.setdefault(work.place.path, asyncio.Lock()):
            return await self._appended(work, key)

    async def _appended(self, work: FileOperation, key: str) -> Changed:
        path, mark = work.place.path, mark_of(key)
        for _ in range(_ROUNDS):
            content, facts = await self._current(path)
            marks = read_marks(facts.metadata) if facts else Marks()
            if mark and mark in marks.appended:
                return Changed(len(work.content), replayed=True)
            whole = content + work.content
            require_size(len(whole), self._size_bytes_max, path)
            marks = replace(marks, sha256=digest(whole)).with_append(key)
            headers = (facts.headers if facts else {}) or {"ContentType": work.content_type}
            condition = Condition(facts.etag) if facts else _ABSENT
            # Somebody else's put came in between: begin anew with what is there now.
            with contextlib.suppress(ConditionFailedError, NoSuchObjectError):
                await self._store.put(path, whole, headers, metadata_of(marks), condition)
                return Changed(len(work.content))
        raise TemporarilyRefusedError(
            f"{path!r}: others put it {_ROUNDS} times in between", error_context={"target": self._target, "path": path}
        )

    async def copy(self, work: FileOperation, key: str) -> Changed:
        """Puts the content of one object under another path.

        Raises:
            NoSuchObjectError: There is no source.
            EffectFailedError: There is a destination.
        """
        done = await self._done(work, key)
        return done[0] if done else await self._copied(work, key, is_move=False)

    async def move(self, work: FileOperation, key: str) -> Changed:
        """Copies, then removes the source if it still is what was copied.

        Raises:
            NoSuchObjectError: As for `copy`.
            EffectFailedError: As for `copy`.
        """
        done = await self._done(work, key)
        if done is None:
            return await self._copied(work, key, is_move=True)
        changed, marks = done
        source = await self._store.facts(work.place.path)
        if source is not None and source.etag == marks.source:
            # A crash came between copying and removing.
            await self._store.delete(work.place.path)
        return changed

    async def _copied(self, work: FileOperation, key: str, *, is_move: bool) -> Changed:
        path, to = work.place.path, work.destination.path
        if not work.overwrite:
            await self._require_conditions()
        try:
            content, facts = await self._store.get(path, None, self._size_bytes_max)
        except NoSuchObjectError:
            # Another node may have moved it since this one looked.
            done = await self._done(work, key)
            if done is None:
                raise
            return done[0]
        require_intact(content, facts, path)
        marks = replace(
            read_marks(facts.metadata),
            put_by=mark_of(key),
            sha256=digest(content),
            source=facts.etag if is_move else "",
            appended=(),
        )
        replayed = False
        if work.overwrite:
            await self._store.put(to, content, facts.headers, metadata_of(marks), None)
        else:
            replayed = not await self._put_new(to, content, facts.headers, marks)
        if is_move:
            now = await self._store.facts(path)
            if now is not None and now.etag == facts.etag:
                await self._store.delete(path)
        return Changed(len(content), replayed)

    async def _put_new(self, path: str, content: bytes, headers: Mapping[str, str], marks: Marks) -> bool:
        """Puts an object where there is none; False if this key had put it."""
        try:
            await self._store.put(path, content, headers, metadata_of(marks), _ABSENT)
        except ConditionFailedError as error:
            there = await self._store.facts(path)
            if there is not None and marks.put_by and read_marks(there.metadata).put_by == marks.put_by:
                return False
            raise EffectFailedError(
                f"{path!r} exists already, and overwrite is not set",
                error_context={"target": self._target, "path": path},
            ) from error
        return True

    async def _done(self, work: FileOperation, key: str) -> tuple[Changed, Marks] | None:
        """What a copy or a move under this key came to; None if the destination does not come from it."""
        if not key:
            return None
        there = await self._store.facts(work.destination.path)
        marks = read_marks(there.metadata) if there is not None else Marks()
        if there is None or marks.put_by != mark_of(key):
            return None
        return Changed(there.size_bytes, replayed=True), marks

    async def _current(self, path: str) -> tuple[bytes, Facts | None]:
        try:
            content, facts = await self._store.get(path, None, self._size_bytes_max)
        except NoSuchObjectError:
            return b"", None
        require_intact(content, facts, path)
        return content, facts

    async def _require_conditions(self) -> None:
        """Refuses what only a condition makes safe, where the store has none. Some ignore them without a word: that is
        found out once, with a small object.

        Raises:
            EffectFailedError: The operator says so, or the store let a put pass that it had to refuse.
        """
        if self._conditional and self._is_proven:
            return
        async with self._proving:
            if self._conditional and not self._is_proven:
                self._is_proven = await self._compares()
            if not self._is_proven:
                raise EffectFailedError(
                    f"{self._target!r} has no conditional puts: an append, or what must not overwrite, could lose"
                    " what others put at the same time",
                    error_context={"target": self._target},
                )

    async def _compares(self) -> bool:
        path = f"{RESERVED}-probe-{secrets.token_hex(8)}"
        await self._store.put(path, b"1", {}, {}, _ABSENT)
        try:
            return await self._refuses(path, _ABSENT) and await self._refuses(path, Condition('"0"'))
        finally:
            await self._store.delete(path)

    async def _refuses(self, path: str, condition: Condition) -> bool:
        try:
            await self._store.put(path, b"2", {}, {}, condition)
        except ConditionFailedError:
            return True
        return False


def require_intact(content: bytes, facts: Facts, path: str) -> None:
    """Compares content that was read whole with the checksum that it was put with.

    Raises:
        EffectFailedError: It is not what was put.
    """
    sha256 = read_marks(facts.metadata).sha256
    if sha256 and sha256 != digest(content):
        raise EffectFailedError(f"{path!r} is damaged: its checksum is not that of what was written")

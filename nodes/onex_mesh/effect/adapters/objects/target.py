"""Object store targets: file operations on the objects below one prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from onex_mesh.effect.adapters.files.content import BYTES_TYPE, read_as
from onex_mesh.effect.adapters.files.listing import Entry, is_wanted, page_of
from onex_mesh.effect.adapters.files.operations import WRITING, FileOperation, PageRequest, check_operation
from onex_mesh.effect.adapters.files.paths import split_path
from onex_mesh.effect.adapters.objects.changes import Changed, Changes, require_intact
from onex_mesh.effect.adapters.objects.store import Keys, Listed, ObjectStore, UnknownOutcomeError
from onex_mesh.effect.core.kinds.objects import ObjectStoreTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, ValidationError

_KEY_BYTES_MAX = 1_024
_SCANNED_MAX = 100_000
_BATCH = 1_000
_Run = Callable[[FileOperation, str], Awaitable[EffectValue]]


class ObjectStoreAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: ObjectStoreTarget, environment: Mapping[str, str]) -> None:
        self._target = target
        self._keys = Keys(target.prefix)
        self._store = _open_store(name, target, self._keys, environment)
        self._changes = Changes(name, self._store, target.limits.size_bytes, conditional=target.conditional_writes)
        self._runs: Mapping[str, _Run] = {
            "write": self._write,
            "append": self._append,
            "read": self._read,
            "delete": self._delete,
            "list": self._list,
            "copy": self._copy,
            "move": self._move,
        }

    async def start(self) -> None:
        """Reads the credentials and prepares the client; whether the store answers is found out by the check."""
        await self._store.start()

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks operation, paths and content."""
        work = check_operation(request, self._target.operations, self._target.limits.size_bytes, has_types=True)
        for field, place in (("path", work.place), ("destination", work.destination)):
            self._require_short(place.path, field)
        is_idempotent = work.operation == "delete" or (work.operation in ("write", "copy") and work.overwrite)

        async def execute(context: EffectContext) -> EffectValue:
            try:
                return await self._runs[work.operation](work, context.idempotency_key)
            except UnknownOutcomeError as error:
                is_read = work.operation not in WRITING
                error.retryable = is_read or is_idempotent or bool(context.idempotency_key)
                raise

        if work.operation not in WRITING:
            return EffectPlan(run=execute, operation=work.operation, once=Once.NOT_NEEDED, is_read=True)
        # Marks in the metadata tell a repeat after a crash; the ledger tells one that comes after others changed them.
        once = Once.BY_TARGET if is_idempotent else Once.BY_LEDGER
        return EffectPlan(run=execute, operation=work.operation, once=once, is_idempotent=is_idempotent)

    async def check(self) -> None:
        """Asks the store for the bucket."""
        await self._store.check()

    async def stop(self) -> None:
        """Closes the connections."""
        await self._store.stop()

    async def _write(self, work: FileOperation, key: str) -> EffectValue:
        changed = await self._changes.write(work, key)
        return EffectValue({"path": work.place.path, "size_bytes": changed.size_bytes}, replayed=changed.replayed)

    async def _append(self, work: FileOperation, key: str) -> EffectValue:
        changed = await self._changes.append(work, key)
        return EffectValue({"path": work.place.path, "appended_bytes": changed.size_bytes}, replayed=changed.replayed)

    async def _copy(self, work: FileOperation, key: str) -> EffectValue:
        return _transferred(work, await self._changes.copy(work, key))

    async def _move(self, work: FileOperation, key: str) -> EffectValue:
        return _transferred(work, await self._changes.move(work, key))

    async def _read(self, work: FileOperation, _: str) -> EffectValue:
        path = work.place.path
        content, facts = await self._store.get(path, work.part, self._target.limits.size_bytes)
        if work.part is None:
            require_intact(content, facts, path)
        is_plain = facts.content_type.isascii() and facts.content_type.isprintable()
        content_type = (facts.content_type if is_plain else "") or BYTES_TYPE
        return read_as(content, work.format, path, delimiter=work.delimiter, content_type=content_type)

    async def _delete(self, work: FileOperation, _: str) -> EffectValue:
        path = work.place.path
        existed = await self._store.facts(path) is not None
        # In any case: that nothing was found may mean that there is no bucket.
        await self._store.delete(path)
        return EffectValue({"path": path, "deleted": existed})

    async def _list(self, work: FileOperation, _: str) -> EffectValue:
        page = work.page
        # One more than asked for shows whether there is another page.
        found: list[Entry] = []
        async for entry in self._entries(page):
            found.append(entry)
            if len(found) > page.limit:
                break
        return EffectValue(page_of(found, page, self._target.limits.size_bytes))

    async def _entries(self, page: PageRequest) -> AsyncIterator[Entry]:
        """Objects and folders that a contract could name, and that it asks for."""
        folder = f"{page.path}/" if page.path else ""
        after, scanned = (folder + page.after if page.after else ""), 0
        while True:
            batch = await self._store.page(folder, after, _BATCH, recursive=page.recursive)
            for listed in batch:
                entry = _entry(listed, folder)
                if entry is not None and is_wanted(entry, page):
                    yield entry
            scanned += len(batch)
            if len(batch) < _BATCH:
                return
            if scanned >= _SCANNED_MAX:
                raise EffectFailedError(f"{page.path or '.'!r} has more than {_SCANNED_MAX} objects to look through")
            after = batch[-1].path

    def _require_short(self, path: str, field: str) -> None:
        if len(self._keys.key(path).encode()) > _KEY_BYTES_MAX:
            problem = f"is longer than {_KEY_BYTES_MAX} bytes together with the prefix"
            raise ValidationError(f"{field}: {path[:100]!r} {problem}", violations=((field, problem),))


def _open_store(name: str, target: ObjectStoreTarget, keys: Keys, environment: Mapping[str, str]) -> ObjectStore:
    # Each loads its own libraries; memory needs few.
    if target.store == "memory":
        from onex_mesh.effect.adapters.objects.memory import MemoryStore

        return MemoryStore(target.bucket, keys)
    from onex_mesh.effect.adapters.objects.s3 import S3Store
    from onex_mesh.effect.adapters.objects.s3_client import connect

    return S3Store(name, target.bucket, keys, lambda: connect(name, target, environment))


def _entry(listed: Listed, folder: str) -> Entry | None:
    """What is listed as an entry; None for keys that no contract could name, and those of the node."""
    path = listed.path.removeprefix(folder).removesuffix("/")
    try:
        split_path(path)
    except ValidationError:
        return None
    if listed.path.endswith("/") and not listed.is_folder:
        # An empty object that stands for a folder, as some tools make them.
        return None
    return Entry(path, listed.is_folder, listed.size_bytes, listed.modified_at_s)


def _transferred(work: FileOperation, changed: Changed) -> EffectValue:
    return EffectValue(
        {"path": work.place.path, "destination": work.destination.path, "size_bytes": changed.size_bytes},
        replayed=changed.replayed,
    )

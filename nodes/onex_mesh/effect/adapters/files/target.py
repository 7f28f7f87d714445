"""File targets: operations below one folder, in threads of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from onex_mesh.effect.adapters.files.append import OnceAppends
from onex_mesh.effect.adapters.files.operations import FileOperation, check_operation, read_as, require_size
from onex_mesh.effect.adapters.files.root import Root, entries, open_regular, remove_file, replace_file
from onex_mesh.effect.core.kinds.file import FileTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json

T = TypeVar("T")

_ENTRIES_MAX = 10_000


class FileAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: FileTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._root = Root(name, target.root)
        self._appends = OnceAppends()
        self._appending = asyncio.Lock()
        # A slow disk or network mount holds up its own threads, not those of others.
        self._threads = ThreadPoolExecutor(target.limits.concurrency, thread_name_prefix=f"file-{name}")

    async def start(self) -> None:
        """Creates the folder where the target says so.

        Raises:
            ValidationError: It is missing and cannot or must not be created.
        """
        try:
            if self._target.create:
                await self._in_thread(self._root.ensure)
            elif not await self._in_thread(self._target.root.is_dir):
                raise ValidationError(f"target {self._name!r}: {self._target.root} is not a folder")
        except OSError as error:
            raise ValidationError(f"target {self._name!r}: {self._target.root}: {error.strerror}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks operation, path and content."""
        work = check_operation(request, self._target)
        run: Mapping[str, Callable[[FileOperation, EffectContext], EffectValue]] = {
            "write": self._write,
            "read": self._read,
            "delete": self._delete,
            "list": self._list,
        }
        is_read = work.operation in ("read", "list")

        async def execute(context: EffectContext) -> EffectValue:
            if work.operation == "append":
                async with self._appending:
                    return await self._in_thread(lambda: self._append(work, context))
            return await self._in_thread(lambda: run[work.operation](work, context))

        return EffectPlan(
            run=execute,
            operation=work.operation,
            once=Once.NOT_NEEDED if is_read else Once.BY_TARGET,
            is_read=is_read,
            is_idempotent=work.operation in ("write", "delete"),
        )

    async def check(self) -> None:
        """Looks whether the folder can be opened and written."""
        needs = os.R_OK | os.X_OK | (os.W_OK if self._target.operations - {"read", "list"} else 0)
        if not await self._in_thread(lambda: os.access(self._target.root, needs)):
            raise TargetUnavailableError(f"the folder of target {self._name!r} is missing or not accessible")

    async def stop(self) -> None:
        """Lets the threads end."""
        self._threads.shutdown(wait=False)

    def _write(self, work: FileOperation, _: EffectContext) -> EffectValue:
        with self._root.errors(work.path), self._root.folder(work.folder, create=True) as folder:
            replace_file(work.name, folder, work.content)
        return EffectValue({"path": work.path, "size_bytes": len(work.content)})

    def _append(self, work: FileOperation, context: EffectContext) -> EffectValue:
        with self._root.errors(work.path), self._root.folder(work.folder, create=True) as folder:
            is_new = self._appends.append(work.path, work.name, folder, work.content, context.idempotency_key)
        return EffectValue({"path": work.path, "appended_bytes": len(work.content)}, replayed=not is_new)

    def _read(self, work: FileOperation, _: EffectContext) -> EffectValue:
        bound = self._target.limits.size_bytes
        with self._root.errors(work.path), self._root.folder(work.folder) as folder:
            descriptor = open_regular(work.name, folder, os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as file:
                require_size(os.fstat(descriptor).st_size, bound, work.path)
                content = file.read(bound + 1)
        # It may have grown since.
        require_size(len(content), bound, work.path)
        return read_as(content, work)

    def _delete(self, work: FileOperation, _: EffectContext) -> EffectValue:
        try:
            with self._root.errors(work.path), self._root.folder(work.folder) as folder:
                existed = remove_file(work.name, folder)
        except EffectFailedError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            existed = False
        return EffectValue({"path": work.path, "deleted": existed})

    def _list(self, work: FileOperation, _: EffectContext) -> EffectValue:
        with self._root.errors(work.path or "."), self._root.folder(work.folder) as folder:
            found = sorted(entries(folder), key=lambda entry: entry.name)
        if len(found) > _ENTRIES_MAX:
            raise EffectFailedError(f"{work.path or '.'!r} has {len(found)} entries, more than {_ENTRIES_MAX}")
        rows: list[Json] = [
            {
                "name": entry.name,
                "type": "folder" if entry.is_folder else "file",
                "size_bytes": entry.size_bytes,
                "modified_at_s": round(entry.modified_at_s, 3),
            }
            for entry in found
        ]
        return EffectValue({"entries": rows, "count": len(rows)})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

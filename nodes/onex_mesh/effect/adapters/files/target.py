"""File targets: operations below one folder, in threads of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from onex_mesh.effect.adapters.files.append import OnceAppends
from onex_mesh.effect.adapters.files.content import read_as, require_size
from onex_mesh.effect.adapters.files.listing import entries_below, page_of
from onex_mesh.effect.adapters.files.operations import WRITING, FileOperation, check_operation
from onex_mesh.effect.adapters.files.root import Root, open_regular, remove_file
from onex_mesh.effect.adapters.files.transfer import Transferred, Transfers
from onex_mesh.effect.adapters.files.writing import replace_file
from onex_mesh.effect.core.kinds.file import FileTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError

T = TypeVar("T")
_Run = Callable[[FileOperation, str, threading.Event], EffectValue]


class FileAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: FileTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._root = Root(name, target.root)
        self._appends = OnceAppends()
        self._transfers = Transfers(self._root, target.limits.size_bytes)
        self._appending = asyncio.Lock()
        # A slow disk or network mount holds up its own threads, not those of others.
        self._threads = ThreadPoolExecutor(target.limits.concurrency, thread_name_prefix=f"file-{name}")
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
        """Creates the folder where the target says so.

        Raises:
            ValidationError: It is missing and cannot or must not be created.
        """
        try:
            if self._target.create:
                await self._in_thread(lambda _: self._root.ensure())
            elif not await self._in_thread(lambda _: self._target.root.is_dir()):
                raise ValidationError(f"target {self._name!r}: {self._target.root} is not a folder")
        except OSError as error:
            raise ValidationError(f"target {self._name!r}: {self._target.root}: {error.strerror}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks operation, paths and content."""
        work = check_operation(request, self._target.operations, self._target.limits.size_bytes)
        run = self._runs[work.operation]
        is_read = work.operation not in WRITING

        async def execute(context: EffectContext) -> EffectValue:
            key = context.idempotency_key
            if work.operation == "append":
                async with self._appending:
                    return await self._in_thread(lambda stop: run(work, key, stop))
            return await self._in_thread(lambda stop: run(work, key, stop))

        return EffectPlan(
            run=execute,
            operation=work.operation,
            once=Once.NOT_NEEDED if is_read else Once.BY_TARGET,
            is_read=is_read,
            is_idempotent=work.operation == "delete" or (work.operation in ("write", "copy") and work.overwrite),
        )

    async def check(self) -> None:
        """Looks whether the folder can be opened and written."""
        needs = os.R_OK | os.X_OK | (os.W_OK if self._target.operations & WRITING else 0)
        if not await self._in_thread(lambda _: os.access(self._target.root, needs)):
            raise TargetUnavailableError(f"the folder of target {self._name!r} is missing or not accessible")

    async def stop(self) -> None:
        """Lets the threads end."""
        self._threads.shutdown(wait=False)

    def _write(self, work: FileOperation, key: str, _: threading.Event) -> EffectValue:
        place = work.place
        with self._root.errors(place.path):
            if not work.overwrite:
                done = self._transfers.create(work, key)
                return EffectValue({"path": place.path, "size_bytes": done.size_bytes}, replayed=done.replayed)
            with self._root.folder(place.folder, create=True) as folder:
                replace_file(place.name, folder, work.content, key)
        return EffectValue({"path": place.path, "size_bytes": len(work.content)})

    def _append(self, work: FileOperation, key: str, _: threading.Event) -> EffectValue:
        place = work.place
        with self._root.errors(place.path), self._root.folder(place.folder, create=True) as folder:
            is_new = self._appends.append(place.path, place.name, folder, work.content, key)
        return EffectValue({"path": place.path, "appended_bytes": len(work.content)}, replayed=not is_new)

    def _read(self, work: FileOperation, _: str, __: threading.Event) -> EffectValue:
        place, part, bound = work.place, work.part, self._target.limits.size_bytes
        offset = part.offset if part else 0
        with self._root.errors(place.path), self._root.folder(place.folder) as folder:
            descriptor = open_regular(place.name, folder, os.O_RDONLY)
            with os.fdopen(descriptor, "rb") as file:
                wanted = max(0, os.fstat(descriptor).st_size - offset)
                if part is not None and part.length is not None:
                    wanted = min(wanted, part.length)
                require_size(wanted, bound, place.path)
                file.seek(offset)
                # A whole file may have grown since: then it is read to see that it is too large.
                content = file.read(wanted if part else bound + 1)
        require_size(len(content), bound, place.path)
        return read_as(content, work.format, place.path, delimiter=work.delimiter)

    def _delete(self, work: FileOperation, _: str, __: threading.Event) -> EffectValue:
        place = work.place
        try:
            with self._root.errors(place.path), self._root.folder(place.folder) as folder:
                existed = remove_file(place.name, folder)
        except EffectFailedError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            existed = False
        return EffectValue({"path": place.path, "deleted": existed})

    def _list(self, work: FileOperation, _: str, __: threading.Event) -> EffectValue:
        page = work.page
        with self._root.errors(page.path or "."), self._root.folder(page.folder) as folder:
            return EffectValue(page_of(entries_below(folder, page), page, self._target.limits.size_bytes))

    def _copy(self, work: FileOperation, key: str, stop: threading.Event) -> EffectValue:
        with self._root.errors(work.place.path):
            return _transferred(work, self._transfers.copy(work, key, stop))

    def _move(self, work: FileOperation, key: str, stop: threading.Event) -> EffectValue:
        with self._root.errors(work.place.path):
            return _transferred(work, self._transfers.move(work, key, stop))

    async def _in_thread(self, work: Callable[[threading.Event], T]) -> T:
        stop = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, stop)
        finally:
            # Where nobody waits any more, what reads or copies a large file gives up.
            stop.set()


def _transferred(work: FileOperation, done: Transferred) -> EffectValue:
    return EffectValue(
        {"path": work.place.path, "destination": work.destination.path, "size_bytes": done.size_bytes},
        replayed=done.replayed,
    )

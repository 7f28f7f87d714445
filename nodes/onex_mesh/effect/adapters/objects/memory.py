"""Objects in the memory of the process, for development: fsspec's memory file system, shared by all of its targets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import quote, unquote

import fsspec  # type: ignore[import-untyped]  # ships no types

from onex_mesh.effect.adapters.files.content import require_size
from onex_mesh.effect.adapters.files.operations import ByteRange
from onex_mesh.effect.adapters.objects.store import (
    Condition,
    ConditionFailedError,
    Facts,
    Keys,
    Listed,
    NoSuchObjectError,
)

# Puts with a condition are compared and made under it, also by nodes on other threads.
_LOCK = threading.Lock()


class _FileSystem(Protocol):
    def pipe_file(self, path: str, value: bytes) -> None: ...
    def cat_file(self, path: str) -> bytes: ...
    def rm_file(self, path: str) -> None: ...
    def exists(self, path: str) -> bool: ...
    def find(self, path: str) -> list[str]: ...
    def modified(self, path: str) -> _Moment: ...


class _Moment(Protocol):
    def timestamp(self) -> float: ...


class MemoryStore:
    """See `ObjectStore`. Each key is one flat name, so an object may have the name of a folder of others."""

    def __init__(self, bucket: str, keys: Keys) -> None:
        self._files = cast(_FileSystem, fsspec.filesystem("memory"))
        self._contents = f"/onex-objects/{bucket}/contents"
        self._kept = f"/onex-objects/{bucket}/facts"
        self._keys = keys

    async def start(self) -> None:
        """Nothing: buckets come with their first object."""

    async def stop(self) -> None:
        """Nothing: the objects stay as long as the process."""

    async def check(self) -> None:
        """Always there."""

    async def facts(self, path: str) -> Facts | None:
        """What is known of an object; None where there is none."""
        with _LOCK:
            return self._facts(path)

    async def get(self, path: str, part: ByteRange | None, size_bytes_max: int) -> tuple[bytes, Facts]:
        """The content of an object, or a part of it."""
        with _LOCK:
            facts = self._facts(path)
            if facts is None:
                raise NoSuchObjectError(f"{path!r}: there is no such object")
            content = self._files.cat_file(self._place(self._contents, path))
        if part is not None:
            content = content[part.offset : None if part.length is None else part.offset + part.length]
        require_size(len(content), size_bytes_max, path)
        return content, dataclasses.replace(facts, size_bytes=len(content))

    async def put(
        self,
        path: str,
        content: bytes,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        condition: Condition | None,
    ) -> None:
        """Puts an object."""
        with _LOCK:
            facts = self._facts(path)
            if condition is not None and condition.etag != (facts.etag if facts else None):
                raise ConditionFailedError
            text = json.dumps({"headers": dict(headers), "metadata": dict(metadata)})
            self._files.pipe_file(self._place(self._contents, path), content)
            self._files.pipe_file(self._place(self._kept, path), text.encode())

    async def delete(self, path: str) -> None:
        """Removes an object."""
        with _LOCK:
            if self._facts(path) is not None:
                self._files.rm_file(self._place(self._contents, path))
                self._files.rm_file(self._place(self._kept, path))

    async def page(self, folder: str, after: str, limit: int, *, recursive: bool) -> list[Listed]:
        """Objects and folders, in their order."""
        begin = self._keys.key(folder)
        found: dict[str, Listed] = {}
        with _LOCK:
            for key in sorted(unquote(place.rpartition("/")[2]) for place in self._files.find(self._contents)):
                if not key.startswith(begin):
                    continue
                path = self._keys.path(key)
                below, slash, _ = path.removeprefix(folder).partition("/")
                name = path if recursive or not slash else f"{folder}{below}/"
                if name > after and name not in found and len(found) < limit:
                    found[name] = self._listed(path) if name == path else Listed(name, is_folder=True)
        return list(found.values())

    def _listed(self, path: str) -> Listed:
        place = self._place(self._contents, path)
        return Listed(path, False, len(self._files.cat_file(place)), self._files.modified(place).timestamp())

    def _facts(self, path: str) -> Facts | None:
        if not self._files.exists(self._place(self._kept, path)):
            return None
        content = self._files.cat_file(self._place(self._contents, path))
        kept = json.loads(self._files.cat_file(self._place(self._kept, path)))
        etag = hashlib.sha256(content).hexdigest()
        return Facts(etag, len(content), kept["headers"], kept["metadata"])

    def _place(self, folder: str, path: str) -> str:
        return f"{folder}/{quote(self._keys.key(path), safe='')}"

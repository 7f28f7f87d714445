"""The payload store: what is too large for etcd or for a message, by its SHA-256, in a folder or bucket (fsspec)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, PayloadTooLargeError, ValidationError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]  # ships no types

PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Largest payload that is kept or read."""
_SCHEMES = ("file", "memory", "s3")
_FOLDER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}){0,7}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_THREADS_MAX = 8
"""Requests to a store at the same time. They have threads of their own: a store that hangs holds up nothing else."""
_Result = TypeVar("_Result")


class PayloadStore(Protocol):
    """Keeps payloads; implemented by `FsspecPayloads`."""

    async def put(self, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        """Keeps the bytes and tells where; the same bytes in the same folder have one place.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: They are larger than `PAYLOAD_BYTES_MAX`.
            ValidationError: It is no folder within the store.
        """

    async def get(self, location: common_pb2.PayloadLocation, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
        """The bytes that were kept there.

        Args:
            location: Where; a size of 0 stands for an unknown one.
            bytes_max: Most bytes to take, at most `PAYLOAD_BYTES_MAX`.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: What is there is larger; it is not read.
            ValidationError: It is no location of the store, nothing is there, or size or digest differ.
        """


class FsspecPayloads:
    """See `PayloadStore`. Files are written under another name and renamed; objects are put whole.

    Args:
        url: "file:///folder", "s3://bucket/prefix" or "memory://folder". Credentials are never part of it: s3 takes
            them, the region and the endpoint from the environment, as the AWS tools do.
        timeout_s: Longest wait for the store.

    Raises:
        ValidationError: The URL is of another form.
    """

    def __init__(self, url: str, timeout_s: float = 20.0) -> None:
        require_store_url(url)
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._root = (parts.netloc + parts.path).rstrip("/")
        self._timeout_s = timeout_s
        self._opened: AbstractFileSystem | None = None
        self._threads = ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="payloads")

    async def put(self, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        """See `PayloadStore.put`."""
        require_folder(folder)
        _require_size(len(data), PAYLOAD_BYTES_MAX)

        def work() -> common_pb2.PayloadLocation:
            location = location_of(data, folder)
            self._write(f"{self._root}/{location.uri}", data)
            return location

        return await self._run(work)

    async def get(self, location: common_pb2.PayloadLocation, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
        """See `PayloadStore.get`."""
        folder, _, name = location.uri.rpartition("/")
        if not (_FOLDER.fullmatch(folder) and _DIGEST.fullmatch(name) and _DIGEST.fullmatch(location.digest)):
            raise _refused("uri", f"{location.uri[:200]!r} is no location of the payload store")
        _require_size(location.size_bytes, min(bytes_max, PAYLOAD_BYTES_MAX))
        return await self._run(lambda: self._checked(location, min(bytes_max, PAYLOAD_BYTES_MAX)))

    def _checked(self, location: common_pb2.PayloadLocation, bytes_max: int) -> bytes:
        data = self._read(f"{self._root}/{location.uri}", location.size_bytes, bytes_max)
        if data is None:
            raise _refused("uri", f"nothing is at {location.uri!r}")
        if hashlib.sha256(data).hexdigest() != location.digest:
            raise _refused("digest", f"what is at {location.uri!r} has another SHA-256")
        return data

    def _write(self, path: str, data: bytes) -> None:
        files = self._files()
        if self._scheme != "file":
            files.pipe_file(path, data)
            return
        # In the same folder, so that the rename is one step; its name can be no digest, so nobody reads it.
        temporary = f"{path}.{uuid.uuid4().hex}"
        try:
            with files.open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            files.mv(temporary, path)
            _sync_folder(path)
        except OSError:
            if files.exists(temporary):
                files.rm_file(temporary)
            raise

    def _read(self, path: str, size_bytes: int, bytes_max: int) -> bytes | None:
        files = self._files()
        files.invalidate_cache()
        try:
            found = int(files.info(path)["size"])
            _require_size(found, bytes_max)
            if size_bytes not in (0, found):
                raise _refused("size_bytes", f"what is there has {found} bytes, not {size_bytes}")
            return bytes(files.cat_file(path))
        except FileNotFoundError:
            return None

    def _files(self) -> AbstractFileSystem:
        if self._opened is None:
            import fsspec

            options: dict[str, object] = {"auto_mkdir": True} if self._scheme == "file" else {}
            self._opened = fsspec.filesystem(self._scheme, skip_instance_cache=True, **options)
        return self._opened

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
            return await asyncio.wait_for(running, self._timeout_s)
        except OnexError:
            raise
        except ImportError as error:
            raise DependencyResolutionError(
                f"The payload store needs {error.name}: pip install 'onex-mesh[objects]'."
            ) from error
        except Exception as error:  # each library has its own; the cause may name hosts and is only chained
            raise DependencyResolutionError(
                f"The payload store does not answer ({type(error).__name__}).", error_context={"dependency": "payloads"}
            ) from error


def location_of(data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
    """Where a store keeps these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return common_pb2.PayloadLocation(uri=f"{folder}/{digest[:2]}/{digest}", digest=digest, size_bytes=len(data))


def require_store_url(url: str) -> None:
    """Refuses what is no address of a payload store, without repeating it: it may carry a secret.

    Raises:
        ValidationError: Another scheme, no folder or bucket, or a user, password or query in it.
    """
    parts = urlsplit(url)
    named = parts.netloc if parts.scheme == "s3" else (parts.netloc + parts.path).strip("/")
    if parts.scheme not in _SCHEMES or not named or (parts.scheme == "file" and parts.netloc):
        raise _refused("payload_store", "must be file:///folder, s3://bucket/prefix or memory://folder")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _refused("payload_store", "must not carry credentials or a query; s3 takes them from the environment")


def require_folder(folder: str) -> None:
    """Refuses what is no folder within the store.

    Raises:
        ValidationError: It has other characters than letters, digits, '.', '_', '-' and '/', or leads out.
    """
    if not _FOLDER.fullmatch(folder):
        text = "must be 1 to 8 names of letters, digits, '.', '_' and '-', none beginning with '.', joined by '/'"
        raise _refused("backup_location", text)


def _sync_folder(path: str) -> None:
    """Has the disk know the new name: a log that outlives a loss of power must not point at nothing."""
    folder = os.open(PurePath(path).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _require_size(size_bytes: int, bytes_max: int) -> None:
    if size_bytes > bytes_max:
        raise PayloadTooLargeError(
            f"A payload of {size_bytes} bytes is too large; {bytes_max} are allowed.",
            error_context={"size_bytes": size_bytes, "size_bytes_max": bytes_max},
        )


def _refused(field: str, text: str) -> ValidationError:
    return ValidationError(f"{field}: {text}", violations=((field, text),))

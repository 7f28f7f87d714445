"""The payload store: what is too large for etcd or for a message, by its SHA-256, in a folder or bucket (fsspec)."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import Callable
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

    async def get(self, location: common_pb2.PayloadLocation) -> bytes:
        """The bytes that were kept there.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: What is there is larger than `PAYLOAD_BYTES_MAX`.
            ValidationError: It is no location of the store, nothing is there, or the digest differs.
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

    async def put(self, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        """See `PayloadStore.put`."""
        require_folder(folder)
        _require_size(len(data))
        digest = hashlib.sha256(data).hexdigest()
        uri = f"{folder}/{digest[:2]}/{digest}"
        await self._run(lambda: self._write(f"{self._root}/{uri}", data))
        return common_pb2.PayloadLocation(uri=uri, digest=digest, size_bytes=len(data))

    async def get(self, location: common_pb2.PayloadLocation) -> bytes:
        """See `PayloadStore.get`."""
        folder, _, name = location.uri.rpartition("/")
        if not (_FOLDER.fullmatch(folder) and _DIGEST.fullmatch(name) and _DIGEST.fullmatch(location.digest)):
            raise _refused("uri", f"{location.uri[:200]!r} is no location of the payload store")
        data = await self._run(lambda: self._read(f"{self._root}/{location.uri}"))
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
            files.pipe_file(temporary, data)
            files.mv(temporary, path)
        except OSError:
            if files.exists(temporary):
                files.rm_file(temporary)
            raise

    def _read(self, path: str) -> bytes | None:
        files = self._files()
        files.invalidate_cache()
        try:
            _require_size(int(files.info(path)["size"]))
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
            return await asyncio.wait_for(asyncio.to_thread(work), self._timeout_s)
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


def _require_size(size_bytes: int) -> None:
    if size_bytes > PAYLOAD_BYTES_MAX:
        raise PayloadTooLargeError(
            f"A payload of {size_bytes} bytes is too large; {PAYLOAD_BYTES_MAX} are allowed.",
            error_context={"size_bytes": size_bytes, "size_bytes_max": PAYLOAD_BYTES_MAX},
        )


def _refused(field: str, text: str) -> ValidationError:
    return ValidationError(f"{field}: {text}", violations=((field, text),))

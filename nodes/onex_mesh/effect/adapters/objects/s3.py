"""Objects on a server that speaks S3, by s3fs: asyncio to the socket, so a cancelled call closes its connection."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypedDict, cast

from onex_mesh.effect.adapters.files.content import require_size
from onex_mesh.effect.adapters.files.operations import ByteRange
from onex_mesh.effect.adapters.objects.s3_faults import faults
from onex_mesh.effect.adapters.objects.store import (
    HEADERS,
    Condition,
    Facts,
    Keys,
    Listed,
    NoSuchObjectError,
    UnknownOutcomeError,
)
from onex_mesh.runtime.errors import EffectFailedError

_CHUNK_BYTES = 262_144
_PAGE_MAX = 1_000
# Behind every key that begins with what stands before it.
_LAST = chr(0x10FFFF)


class Client(Protocol):
    """The calls of the S3 client that are used. Parameters and answers are those of Amazon's API reference."""

    def get_object(self, **parameters: object) -> Awaitable[_Object]: ...
    def head_object(self, **parameters: object) -> Awaitable[_Object]: ...
    def put_object(self, **parameters: object) -> Awaitable[object]: ...
    def delete_object(self, **parameters: object) -> Awaitable[object]: ...
    def list_objects_v2(self, **parameters: object) -> Awaitable[_Page]: ...
    def head_bucket(self, **parameters: object) -> Awaitable[object]: ...
    def close(self) -> Awaitable[None]: ...


class _Body(AbstractAsyncContextManager["_Body"], Protocol):
    def read(self, amount: int) -> Awaitable[bytes]: ...
    def close(self) -> None: ...


class _Object(TypedDict, total=False):
    Body: _Body
    ETag: str
    ContentLength: int
    Metadata: dict[str, str]


class _Content(TypedDict):
    Key: str
    Size: int
    LastModified: datetime


class _Page(TypedDict, total=False):
    Contents: Sequence[_Content]
    CommonPrefixes: Sequence[Mapping[str, str]]
    IsTruncated: bool
    NextContinuationToken: str


class S3Store:
    """See `ObjectStore`."""

    def __init__(self, target: str, bucket: str, keys: Keys, connect: Callable[[], Awaitable[Client]]) -> None:
        self._target = target
        self._bucket = bucket
        self._keys = keys
        self._connect = connect
        self._opened: Client | None = None

    async def start(self) -> None:
        """Prepares the client; connections are made as they are needed."""
        self._opened = await self._connect()

    async def stop(self) -> None:
        """Closes the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def check(self) -> None:
        """Asks for the bucket."""
        with faults(self._target, ""):
            try:
                await self._client.head_bucket(Bucket=self._bucket)
            except Exception as error:
                if _status(error) == 404:
                    raise EffectFailedError(f"{self._target!r}: its bucket does not exist") from error
                raise

    async def facts(self, path: str) -> Facts | None:
        """What is known of an object; None where there is none."""
        try:
            with faults(self._target, path):
                return _facts(await self._client.head_object(**self._object(path)))
        except NoSuchObjectError:
            return None

    async def get(self, path: str, part: ByteRange | None, size_bytes_max: int) -> tuple[bytes, Facts]:
        """The content of an object, or a part of it."""
        if part is not None and part.length == 0:
            return await self._nothing(path)
        wanted: dict[str, object] = {} if part is None else {"Range": _range(part)}
        with faults(self._target, path):
            try:
                answer = await self._client.get_object(**self._object(path), **wanted)
            except Exception as error:
                if part is not None and _status(error) == 416:
                    # It ends before the part begins.
                    return await self._nothing(path)
                raise
            body = answer["Body"]
            try:
                facts = _facts(answer)
                require_size(facts.size_bytes, size_bytes_max, path)
                content = bytearray()
                while chunk := await body.read(_CHUNK_BYTES):
                    content += chunk
                    require_size(len(content), size_bytes_max, path)
            finally:
                # Where it was read to the end this does nothing; otherwise the connection is of no more use.
                body.close()
        if len(content) != facts.size_bytes:
            raise UnknownOutcomeError(f"{path!r}: {self._target!r} sent {len(content)} of {facts.size_bytes} bytes")
        return bytes(content), facts

    async def put(
        self,
        path: str,
        content: bytes,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        condition: Condition | None,
    ) -> None:
        """Puts an object; the server compares its content with a checksum."""
        conditions: dict[str, object] = {}
        if condition is not None:
            conditions = {"IfNoneMatch": "*"} if condition.etag is None else {"IfMatch": condition.etag}
        with faults(self._target, path):
            await self._client.put_object(
                **self._object(path),
                Body=content,
                **headers,
                Metadata=dict(metadata),
                ChecksumSHA256=base64.b64encode(hashlib.sha256(content).digest()).decode(),
                **conditions,
            )

    async def delete(self, path: str) -> None:
        """Removes an object."""
        with faults(self._target, path):
            await self._client.delete_object(**self._object(path))

    async def page(self, folder: str, after: str, limit: int, *, recursive: bool) -> list[Listed]:
        """Objects and folders, in their order."""
        wanted: dict[str, object] = {"Bucket": self._bucket, "Prefix": self._keys.key(folder)}
        if not recursive:
            wanted["Delimiter"] = "/"
        if after:
            wanted["StartAfter"] = self._keys.key(after) + (_LAST if after.endswith("/") and not recursive else "")
        found: list[Listed] = []
        while True:
            with faults(self._target, folder):
                page = await self._client.list_objects_v2(**wanted, MaxKeys=min(_PAGE_MAX, limit - len(found)))
            found.extend(sorted(self._listed(page), key=lambda row: row.path))
            if len(found) >= limit or not page.get("IsTruncated"):
                return found[:limit]
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def _listed(self, page: _Page) -> list[Listed]:
        rows = [
            Listed(self._keys.path(row["Key"]), False, row["Size"], row["LastModified"].timestamp())
            for row in page.get("Contents", ())
        ]
        rows += [Listed(self._keys.path(row["Prefix"]), True) for row in page.get("CommonPrefixes", ())]
        return rows

    async def _nothing(self, path: str) -> tuple[bytes, Facts]:
        facts = await self.facts(path)
        if facts is None:
            raise NoSuchObjectError(f"{path!r}: there is no such object")
        return b"", facts

    def _object(self, path: str) -> dict[str, object]:
        return {"Bucket": self._bucket, "Key": self._keys.key(path)}

    @property
    def _client(self) -> Client:
        assert self._opened is not None, "started before it is used"
        return self._opened


def _facts(answer: _Object) -> Facts:
    fields = cast("Mapping[str, object]", answer)
    if "ETag" not in fields or "ContentLength" not in fields:
        raise EffectFailedError("the server answers without ETag or Content-Length; it does not speak S3")
    return Facts(
        etag=answer["ETag"],
        size_bytes=answer["ContentLength"],
        headers={name: str(fields[name]) for name in HEADERS if name in fields},
        metadata=answer.get("Metadata", {}),
    )


def _range(part: ByteRange) -> str:
    last = "" if part.length is None else str(part.offset + part.length - 1)
    return f"bytes={part.offset}-{last}"


def _status(error: Exception) -> int:
    """The HTTP status that an error of the client is about; 0 for any other."""
    response = cast("Mapping[str, Mapping[str, int]]", getattr(error, "response", {}))
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)

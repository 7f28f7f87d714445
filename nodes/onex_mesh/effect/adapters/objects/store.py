"""What an object store has to do for file operations: whole objects, each put at once, on a condition or without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from onex_mesh.effect.adapters.files.operations import ByteRange
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError

HEADERS = ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl")
"""What is kept with an object for those who fetch it by HTTP; a copy has the same. The names are those of S3's API."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an object without its content."""

    etag: str
    """Differs where the content differs."""
    size_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of `HEADERS`, those that it has."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """Its media type; empty where it has none."""
        return self.headers.get("ContentType", "")


@dataclass(frozen=True, slots=True)
class Listed:
    """One object, or the folder that several have in common."""

    path: str
    """Of a folder, with the slash at its end."""
    is_folder: bool = False
    size_bytes: int = 0
    modified_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one target: all of them below its prefix, by whole segments."""

    _prefix: str
    """As the operator declares it: without a slash at the end."""

    def key(self, path: str) -> str:
        """The key of a path."""
        return f"{self._prefix}/{path}" if self._prefix else path

    def path(self, key: str) -> str:
        """The path of a key of this target."""
        return key.removeprefix(f"{self._prefix}/") if self._prefix else key


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold when an object is put: that there is none, or that it is the one of an etag."""

    etag: str | None
    """None: there is none."""


class ConditionFailedError(Exception):
    """The condition of a put did not hold; nothing was put."""


class NoSuchObjectError(EffectFailedError):
    """There is no object of that key."""


class UnknownOutcomeError(TargetUnavailableError):
    """The store broke off or failed; what was asked of it may have been done."""


class ObjectStore(Protocol):
    """What is below one prefix of one bucket; paths begin there. Its errors are those of the mesh."""

    async def start(self) -> None:
        """Opens what it needs; connects to nothing."""

    async def stop(self) -> None:
        """Closes what it opened."""

    async def check(self) -> None:
        """Finds out whether the bucket is there.

        Raises:
            OnexError: It is not, or the store does not answer.
        """

    async def facts(self, path: str) -> Facts | None:
        """What is known of an object; None where there is none."""

    async def get(self, path: str, part: ByteRange | None, size_bytes_max: int) -> tuple[bytes, Facts]:
        """The content of an object, or a part of it; the size in the facts is that of the content.

        Raises:
            NoSuchObjectError: There is none.
            PayloadTooLargeError: It is larger; it was not read whole.
        """

    async def put(
        self,
        path: str,
        content: bytes,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        condition: Condition | None,
    ) -> None:
        """Puts an object, whole or not at all.

        Raises:
            ConditionFailedError: The condition did not hold.
        """

    async def delete(self, path: str) -> None:
        """Removes an object; nothing where there is none."""

    async def page(self, folder: str, after: str, limit: int, *, recursive: bool) -> list[Listed]:
        """Objects below a folder that stand behind `after`, in the order of the bytes of their paths.

        Args:
            folder: Ends with a slash, or is empty.
            after: A path from the prefix on, of an object or a folder; empty: from the beginning.
            limit: At most so many; fewer only where there are no more.
            recursive: Whether what is in further folders comes one by one, and not as that folder.
        """

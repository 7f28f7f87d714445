"""Contents that the payload store still lacks: results of effects that have happened and cannot be had again."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError
from onex_mesh.runtime.payload_store import PAYLOAD_BYTES_MAX, PayloadStore, location_of

log = structlog.get_logger(__name__)

OWED_BYTES_MAX = PAYLOAD_BYTES_MAX
_WAIT_MIN_S = 0.5
_WAIT_MAX_S = 10.0


class OwedPayloads:
    """Keeps contents in memory and puts them when the store is there again."""

    def __init__(self, store: PayloadStore) -> None:
        self._store = store
        self._contents: dict[str, bytes] = {}
        self._paying: asyncio.Task[None] | None = None

    async def add(self, content: bytes) -> common_pb2.PayloadLocation:
        """Takes a content; tells where it will be.

        Raises:
            DependencyResolutionError: Too much waits already.
        """
        location = await asyncio.to_thread(location_of, content)
        size = sum(len(waiting) for waiting in self._contents.values()) + len(content)
        if size > OWED_BYTES_MAX:
            raise DependencyResolutionError(
                f"the payload store is away, and {size} bytes wait for it; that is more than {OWED_BYTES_MAX}"
            )
        self._contents[location.uri] = content
        log.warning("a result waits for the payload store", uri=location.uri, size_bytes=len(content))
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay(), name="owed-payloads")
        return location

    def get(self, location: common_pb2.PayloadLocation) -> bytes | None:
        """A content that waits."""
        return self._contents.get(location.uri)

    async def close(self) -> None:
        """Tries once more; what is lost then is logged."""
        if self._paying is None:
            return
        self._paying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._paying
        for uri in list(self._contents):
            if not await self._put(uri):
                log.error("a result never reached the payload store", uri=uri)

    async def _pay(self) -> None:
        wait_s = _WAIT_MIN_S
        while self._contents:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _WAIT_MAX_S)
            for uri in list(self._contents):
                if not await self._put(uri):
                    break

    async def _put(self, uri: str) -> bool:
        try:
            await self._store.put(self._contents[uri])
        except OnexError as error:
            log.warning("the payload store still lacks a result", uri=uri, why=error.message)
            return False
        del self._contents[uri]
        return True

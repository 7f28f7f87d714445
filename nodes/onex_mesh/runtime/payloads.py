"""Payloads too large to travel: a node puts its results into the payload store and fetches what it is given.

What travels and is committed instead is the location: content type, size and SHA-256. Contents are kept under their
SHA-256, so a step that is repeated writes the same object.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from google.protobuf.message import Message

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, PayloadTooLargeError, ValidationError
from onex_mesh.runtime.owed_payloads import OwedPayloads
from onex_mesh.runtime.payload import BYTES_TYPE, INLINE_BYTES_MAX, JSON_TYPE, NO_STORE, bytes_payload, content_bytes
from onex_mesh.runtime.payload_cache import PayloadCache
from onex_mesh.runtime.payload_fields import payloads_in
from onex_mesh.runtime.payload_store import PAYLOAD_BYTES_MAX, PayloadStore

log = structlog.get_logger(__name__)

ANSWER_BYTES_MAX = 16 * 1024 * 1024
_WORTH_BYTES = 1024
"""A smaller payload gains nothing by becoming a location."""
_IN_THREAD_BYTES = 64 * 1024
_WAIT_MIN_S = 0.1
_WAIT_MAX_S = 2.0

_Message = TypeVar("_Message", bound=Message)


class Payloads:
    """What a node does with large payloads.

    Args:
        store: Where they are kept; None: nowhere, then they travel as they are or not at all.
        answer_bytes_max: Largest output of a direct call.
        observe: Is told of each put and get: operation, seconds, reason of its error.
    """

    def __init__(
        self,
        store: PayloadStore | None = None,
        *,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        observe: Callable[[str, float, str], None] | None = None,
    ) -> None:
        self._store = store
        self._answer_bytes_max = answer_bytes_max
        self._observe = observe
        self._cache = PayloadCache()
        self._owed = OwedPayloads(store) if store is not None else None

    @property
    def is_configured(self) -> bool:
        """Whether there is a payload store."""
        return self._store is not None

    async def fit_step(self, output: Message, links: int = 1, until: float = 0.0) -> None:
        """Has the largest payloads of a step's output become locations until it fits into a commit.

        Without a store it stays as it is.

        Args:
            output: The output; it is changed.
            links: How many outputs a message has to carry: those of a chain travel together.
            until: How long a store that is away is tried again, on the monotonic clock.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: One is larger than the store takes.
        """
        if self._store is None:
            return None
        wait_s = _WAIT_MIN_S
        while True:
            try:
                return await self._fit(output, min(INLINE_BYTES_MAX, self._answer_bytes_max // (2 * links)))
            except DependencyResolutionError:
                if time.monotonic() + wait_s >= until:
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _WAIT_MAX_S)

    async def fit_answer(self, output: Message) -> None:
        """Has the largest payloads of the output of a direct call become locations until a message can carry it.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: There is no store, or no message can carry it all the same.
        """
        if self._store is not None:
            await self._fit(output, self._answer_bytes_max)
        size = output.ByteSize()
        if size > self._answer_bytes_max:
            how = "" if self._store is not None else f"; {NO_STORE}"
            raise PayloadTooLargeError(
                f"the result has {size} bytes; a message carries at most {self._answer_bytes_max}{how}",
                error_context={"size_bytes": size, "size_bytes_max": self._answer_bytes_max},
            )

    async def fit(self, payload: common_pb2.Payload) -> common_pb2.Payload:
        """The payload, or its location if it is larger than what a commit takes and there is a store.

        Raises:
            DependencyResolutionError: The store is away; trying again may help.
            PayloadTooLargeError: It is larger than the store takes.
        """
        if self._store is None or payload.ByteSize() <= INLINE_BYTES_MAX or payload.HasField("location"):
            return payload
        return await self._kept(payload)

    async def keep_for_sure(self, payload: common_pb2.Payload) -> common_pb2.Payload:
        """The location of a payload that nobody can make again.

        Where the store is away the node keeps the content, and goes on trying for as long as it lives.

        Raises:
            DependencyResolutionError: There is no store, or it is away and too much waits for it.
            PayloadTooLargeError: It is larger than the store takes.
        """
        try:
            return await self._kept(payload)
        except DependencyResolutionError:
            if self._owed is None:
                raise
            return _located(payload, await self._owed.add(await _bytes_of(payload)))

    async def fetched(self, message: _Message, at: str = "") -> _Message:
        """The message with contents in the place of locations; the message itself if it has none.

        JSON comes back as bytes of type application/json.

        Args:
            message: A command or contract; it is not changed.
            at: Path of the message, for errors.

        Raises:
            DependencyResolutionError: The store is away, or there is none; trying again, elsewhere, may help.
            PayloadTooLargeError: They are larger than `PAYLOAD_BYTES_MAX` together; nothing beyond that is read.
            ValidationError: Nothing is there, or its size or digest differs; with the path.
        """
        if not any(payload.HasField("location") for _, payload in payloads_in(message)):
            return message
        whole = type(message)()
        whole.CopyFrom(message)
        left = PAYLOAD_BYTES_MAX
        for path, payload in list(payloads_in(whole, at)):
            if payload.HasField("location"):
                payload.CopyFrom(await self.fetch(payload, path, left))
                left -= len(payload.data)
        return whole

    async def fetch(
        self, payload: common_pb2.Payload, at: str, bytes_max: int = PAYLOAD_BYTES_MAX
    ) -> common_pb2.Payload:
        """The content of one location, as bytes of its content type.

        Args:
            payload: The location.
            at: Its path, for errors.
            bytes_max: Most bytes to take.

        Raises:
            OnexError: As `fetched`.
        """
        location = payload.location
        content = self._cache.get(location)
        if content is None and self._owed is not None:
            content = self._owed.get(location)
        if content is not None and len(content) > bytes_max:
            text = f"{at} has {len(content)} bytes; {bytes_max} are taken"
            raise PayloadTooLargeError(text, error_context={"size_bytes_max": bytes_max})
        if content is None:
            content = await self._read(location, at, bytes_max)
            self._cache.add(location, content)
        return bytes_payload(content, payload.content_type)

    async def close(self) -> None:
        """Tries once more to put what the store still lacks."""
        if self._owed is not None:
            await self._owed.close()

    async def _fit(self, output: Message, bytes_max: int) -> None:
        if output.ByteSize() <= bytes_max:
            return
        for payload in _largest_first(output):
            payload.CopyFrom(await self._kept(payload))
            if output.ByteSize() <= bytes_max:
                return

    async def _kept(self, payload: common_pb2.Payload) -> common_pb2.Payload:
        store = self._store
        if store is None:
            raise DependencyResolutionError(f"there is no payload store: {NO_STORE}")
        content = await _bytes_of(payload)
        began = time.monotonic()
        try:
            location = await store.put(content)
        except OnexError as error:
            self._told("payload_put", began, error.reason)
            raise
        self._told("payload_put", began)
        self._cache.add(location, content)
        return _located(payload, location)

    async def _read(self, location: common_pb2.PayloadLocation, at: str, bytes_max: int) -> bytes:
        if self._store is None:
            raise DependencyResolutionError(
                f"{at} is in a payload store, and this node has none: set ONEX_PAYLOAD_STORE to that of the others",
                error_context={"dependency": "payloads", "uri": location.uri},
            )
        began = time.monotonic()
        try:
            content = await self._store.get(location, bytes_max)
        except ValidationError as error:
            self._told("payload_get", began, error.reason)
            found = tuple((f"{at}.location.{field}", text) for field, text in error.violations)
            raise ValidationError(f"{found[0][0]}: {found[0][1]}", violations=found) from error
        except OnexError as error:
            self._told("payload_get", began, error.reason)
            raise
        self._told("payload_get", began)
        return content

    def _told(self, operation: str, began: float, reason: str = "") -> None:
        if self._observe is not None:
            self._observe(operation, time.monotonic() - began, reason)


def _largest_first(message: Message) -> list[common_pb2.Payload]:
    inline = [payload for _, payload in payloads_in(message) if payload.WhichOneof("content") in ("json", "data")]
    worth = [(payload.ByteSize(), payload) for payload in inline if payload.ByteSize() > _WORTH_BYTES]
    return [payload for _, payload in sorted(worth, key=lambda row: row[0], reverse=True)]


def _located(payload: common_pb2.Payload, location: common_pb2.PayloadLocation) -> common_pb2.Payload:
    default = JSON_TYPE if payload.HasField("json") else BYTES_TYPE
    return common_pb2.Payload(location=location, content_type=payload.content_type or default)


async def _bytes_of(payload: common_pb2.Payload) -> bytes:
    if payload.ByteSize() <= _IN_THREAD_BYTES or payload.HasField("data"):
        return content_bytes(payload)
    return await asyncio.to_thread(content_bytes, payload)

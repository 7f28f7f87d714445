"""Redis streams as targets: a message and the record of its key enter in one transaction, so each enters once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from onex_mesh.effect.adapters.messages import Message, check_message
from onex_mesh.effect.adapters.redis.connection import open_redis, translated
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError

_Field = bytes | bytearray | memoryview | str | int | float
"""What the library takes as a field of a message."""


class RedisStreamAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: RedisStreamTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        # One more than there are calls: a busy target must not look unwell because its check found none free.
        self._redis: Redis = open_redis(name, target, environment, connections_max=target.limits.concurrency + 1)

    async def start(self) -> None:
        """Nothing: connections are made as they are needed."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks the message."""
        message = check_message(request, self._target, size_bytes_max=self._target.limits.size_bytes, has_topics=False)

        async def publish(context: EffectContext) -> EffectValue:
            # The id is the same for all attempts at one request, whether it came with a key or not.
            with translated(self._name, may_repeat=True):
                is_new = await self._publish(message)
            result = {"event_id": message.event.id, "event_type": message.event.type, "stream": self._target.stream}
            # Without a key the id is this request's own, and so is the message that was there already.
            return EffectValue({**result}, replayed=not is_new and bool(context.idempotency_key))

        return EffectPlan(
            run=publish, operation=f"publish {message.event.type}", once=Once.BY_TARGET, is_idempotent=True
        )

    async def check(self) -> None:
        """Asks whether the server takes commands and the key is a stream."""
        with translated(self._name, may_repeat=True):
            self._require_stream(await self._redis.type(self._target.stream))

    async def stop(self) -> None:
        """Closes the pool."""
        await self._redis.aclose()

    async def _publish(self, message: Message) -> bool:
        """Adds the message unless its key is recorded; whether it did."""
        record = record_key(self._target.stream, self._name, message.event.id)
        while True:
            try:
                async with self._redis.pipeline(transaction=True) as pipe:
                    # Whoever writes the record from here on makes EXEC do nothing.
                    await pipe.watch(record)
                    if await pipe.exists(record):
                        return False
                    self._require_stream(await pipe.type(self._target.stream))
                    await self._add(pipe, record, message)
                    return True
            except WatchError:
                # Another node was quicker, or the connection broke and the outcome is unknown: the record tells.
                continue

    async def _add(self, pipe: Pipeline, record: str, message: Message) -> None:
        target = self._target
        fields: dict[_Field, _Field] = {"body": message.encoded.body}
        fields.update(message.encoded.headers)
        pipe.multi()  # type: ignore[no-untyped-call]  # the library says nothing of its types
        pipe.xadd(target.stream, fields, maxlen=target.max_messages, approximate=True)
        pipe.set(record, message.event.type, ex=int(target.keep_keys_s))
        added, _ = await pipe.execute(raise_on_error=False)
        if isinstance(added, ResponseError):
            # Redis does not undo the rest of a transaction when one command fails.
            await self._redis.delete(record)
            raise added

    def _require_stream(self, answer: bytes | str) -> None:
        found = answer.decode() if isinstance(answer, bytes) else answer
        if found not in ("stream", "none"):
            raise EffectFailedError(
                f"{self._name!r}: the key {self._target.stream!r} is a {found}, not a stream",
                error_context={"target": self._name},
            )


def record_key(stream: str, target: str, event_id: str) -> str:
    """Where the server remembers an event. The braces put it into the slot of the stream in a cluster."""
    digest = hashlib.sha256(f"{target}\x00{event_id}".encode()).hexdigest()[:40]
    return f"onex:{{{stream}}}:{digest}"

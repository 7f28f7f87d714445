"""Messages of a Redis stream, through a group that all nodes of the subscription share.

Redis keeps what was handed out and not acknowledged, and to whom. A node that died is followed by the others: what has
stood still for `ack_wait_s` is claimed. A node that lives says that it is at work by claiming its own messages again,
and gives one back by making it look as old as it has to be to be claimed after the delay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import redis.exceptions
import structlog

from onex_mesh.effect.adapters.dead_letter_file import DeadLetterFile
from onex_mesh.effect.adapters.redis.connection import open_redis, translated
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget
from onex_mesh.effect.core.message_ports import Burial, Delivery
from onex_mesh.effect.core.subscription_models import SubscriptionConfig
from onex_mesh.runtime.errors import OnexError

log = structlog.get_logger(__name__)

_WAIT_MS = 500
_CLAIM_EVERY_S = 0.5
"""How often the node looks for messages to claim, while nothing else is to be done or not."""
_BODY_FIELDS = ("body", "event", "data")
_CONNECTIONS_BESIDE = 4

Fields: TypeAlias = "dict[bytes, bytes]"
Entry: TypeAlias = "tuple[bytes, Fields | None]"


class RedisMessages:
    """See `onex_mesh.effect.core.message_ports.MessageSource`.

    Args:
        config: The subscription.
        target: The stream and its server.
        environment: The variables that hold credentials.
        consumer: Name of this node in the group; no other node has it.
    """

    def __init__(
        self, config: SubscriptionConfig, target: RedisStreamTarget, environment: Mapping[str, str], consumer: str
    ) -> None:
        self._config = config
        self._key = target.stream
        self._consumer = consumer
        connections = config.concurrency + _CONNECTIONS_BESIDE
        # Any: what the library's commands return depends on options that its types do not know.
        self._redis: Any = open_redis(config.target, target, environment, connections_max=connections)
        letters = config.dead_letters
        self._file = DeadLetterFile(letters.file) if letters.file is not None else None
        self._has_group = False
        self._cursor: bytes | str = "0-0"
        self._claimed_at = float("-inf")

    async def fetch(self, count: int) -> Sequence[Delivery]:
        """Up to so many messages: those of dead nodes and those given back first; waits half a second for new ones."""
        with translated(self._config.target, may_repeat=True):
            try:
                if not self._has_group:
                    await self._ensure_group()
                claimed = await self._claim(count)
                if claimed:
                    return claimed
                return await self._read(count)
            except redis.exceptions.ResponseError as error:
                if str(error).startswith("NOGROUP"):
                    # The stream was deleted and its group with it.
                    self._has_group = False
                raise

    async def close(self) -> None:
        """Takes the node out of the group where it leaves nothing behind, and closes the connections."""
        try:
            with translated(self._config.target, may_repeat=True):
                rows = await self._redis.xpending_range(
                    self._key, self._config.durable, "-", "+", 1, consumername=self._consumer
                )
                # A consumer is deleted together with what it holds: nobody would ever be given that again.
                if not rows:
                    await self._redis.xgroup_delconsumer(self._key, self._config.durable, self._consumer)
        except OnexError as error:
            log.info("a consumer stays in its group", subscription=self._consumer, why=error.message)
        finally:
            await self._redis.aclose()

    async def _ensure_group(self) -> None:
        start = "0" if self._config.start == "first" else "$"
        try:
            await self._redis.xgroup_create(self._key, self._config.durable, id=start, mkstream=True)
            log.info("made a group", target=self._config.target, stream=self._key, group=self._config.durable)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._has_group = True

    async def _claim(self, count: int) -> Sequence[Delivery]:
        """Messages that have stood still for too long, or were given back and whose delay is over."""
        now = time.monotonic()
        if now - self._claimed_at < _CLAIM_EVERY_S:
            return []
        idle_ms = int(self._config.ack_wait_s * 1000)
        cursor, entries, *_ = await self._redis.xautoclaim(
            self._key, self._config.durable, self._consumer, idle_ms, start_id=self._cursor, count=count
        )
        self._cursor = cursor
        if cursor in (b"0-0", "0-0"):
            # All were looked at. As long as that is not so the next call goes on where this one ended.
            self._claimed_at = now
        held: list[Entry] = entries
        return [
            RedisDelivery(self, entry_id, fields, await self._count_of(entry_id))
            for entry_id, fields in held
            if fields is not None
        ]

    async def _count_of(self, entry_id: bytes) -> int:
        rows = await self._redis.xpending_range(self._key, self._config.durable, entry_id, entry_id, 1)
        return int(rows[0]["times_delivered"]) if rows else 1

    async def _read(self, count: int) -> Sequence[Delivery]:
        """New messages, unless too many are under way."""
        pending = await self._redis.xpending(self._key, self._config.durable)
        room = self._config.pending_max - int(pending["pending"])
        if room <= 0:
            await asyncio.sleep(_WAIT_MS / 1000)
            return []
        answer = await self._redis.xreadgroup(
            self._config.durable, self._consumer, {self._key: ">"}, count=min(count, room), block=_WAIT_MS
        )
        entries: list[Entry] = [entry for _, rows in answer or () for entry in rows]
        return [RedisDelivery(self, entry_id, fields or {}, 1) for entry_id, fields in entries]

    async def acknowledge(self, entry_id: bytes) -> None:
        """Takes a message off the list of what is under way."""
        with translated(self._config.target, may_repeat=True):
            await self._redis.xack(self._key, self._config.durable, entry_id)

    async def age(self, entry_id: bytes, idle_s: float) -> None:
        """Has a message look as if it had been handed out so long ago; what was acknowledged meanwhile stays so."""
        with translated(self._config.target, may_repeat=True):
            await self._redis.xclaim(
                self._key,
                self._config.durable,
                self._consumer,
                0,
                [entry_id],
                idle=int(idle_s * 1000),
                justid=True,
            )

    async def return_later(self, entry_id: bytes, delay_s: float) -> None:
        """Has a message claimed after the delay; one longer than `ack_wait_s` is as long as that."""
        await self.age(entry_id, max(self._config.ack_wait_s - delay_s, 0.0))

    async def bury(self, delivery: RedisDelivery, burial: Burial) -> None:
        """Puts a message where dead letters go, then acknowledges it; a crash in between has it there twice."""
        if self._file is not None:
            await self._file.append(burial, place=delivery.place, headers=delivery.headers, body=delivery.body)
            await self.acknowledge(delivery.entry_id)
            return
        why = {
            "subscription": burial.subscription,
            "reason": burial.reason,
            "message": burial.message,
            "place": delivery.place,
            "deliveries": str(burial.deliveries),
        }
        fields = {**delivery.fields, **{f"onex-{name}".encode(): value.encode() for name, value in why.items()}}
        with translated(self._config.target, may_repeat=True):
            # Not in one transaction: Redis would go on with the acknowledgement where the letter is refused.
            await self._redis.xadd(self._config.dead_letters.stream, fields)
        await self.acknowledge(delivery.entry_id)

    def place_of(self, entry_id: bytes) -> str:
        """Where a message stands."""
        return f"{self._key}:{entry_id.decode()}"


@dataclass(frozen=True, slots=True)
class RedisDelivery:
    """See `onex_mesh.effect.core.message_ports.Delivery`."""

    source: RedisMessages
    entry_id: bytes
    fields: Mapping[bytes, bytes]
    deliveries: int

    @property
    def headers(self) -> Mapping[str, str]:
        """All fields but the body."""
        return {
            name.decode(errors="replace"): value.decode(errors="replace")
            for name, value in self.fields.items()
            if name != self._body_field
        }

    @property
    def body(self) -> bytes:
        """The field `body`; of other producers `event` or `data`."""
        return self.fields.get(self._body_field, b"")

    @property
    def place(self) -> str:
        """Stream and id."""
        return self.source.place_of(self.entry_id)

    async def acknowledge(self) -> None:
        """It is done with."""
        await self.source.acknowledge(self.entry_id)

    async def return_later(self, delay_s: float) -> None:
        """Has it delivered again."""
        await self.source.return_later(self.entry_id, delay_s)

    async def keep(self) -> None:
        """Says that the node is at work on it."""
        await self.source.age(self.entry_id, 0.0)

    async def bury(self, burial: Burial) -> None:
        """Puts it where dead letters go."""
        await self.source.bury(self, burial)

    @property
    def _body_field(self) -> bytes:
        return next((name.encode() for name in _BODY_FIELDS if name.encode() in self.fields), b"body")

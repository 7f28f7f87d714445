"""Brokers and caches: messages and values are counted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

import nats
import redis.asyncio

from onex.v1 import intent_pb2
from tests.nats_server import NatsServer
from tests.proof.case import Counts, NetworkCase, Stage
from tests.redis_server import RedisServer


class NatsCase(NetworkCase):
    """A JetStream stream; each effect has a subject of its own."""

    name = "nats"
    effect_type = "message_publish"
    intent_type = intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")
    server: NatsServer

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """With an empty store."""
        self.server = NatsServer()
        stack.callback(self.server.remove)
        await asyncio.to_thread(self.server.start)
        return self.server.port

    def declaration(self, port: int) -> str:
        """A stream that the node makes."""
        return (
            f"kind: nats\nservers: ['nats://127.0.0.1:{port}']\nstream: ORDERS\nprefix: shop\n"
            "create: {storage: file}\nlimits: {timeout_s: 40}\n"
        )

    def parameters(self, label: str) -> dict[str, object]:
        """A message."""
        return {"event_type": "order.placed", "topic": label, "data": {"label": label}}

    def marker(self, stage: Stage, label: str) -> bytes:
        """The publishing of its subject."""
        return f"PUB shop.{label} ".encode()

    async def count(self, label: str) -> int:
        """Messages under the subject."""
        client = await nats.connect(self.server.url)
        try:
            info = await client.jetstream().stream_info("ORDERS", subjects_filter=f"shop.{label}")
            return (info.state.subjects or {}).get(f"shop.{label}", 0)
        finally:
            await client.close()


class _RedisCase(NetworkCase):
    server: RedisServer

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """An empty one."""
        self.server = RedisServer()
        stack.callback(self.server.remove)
        await asyncio.to_thread(self.server.start)
        return self.server.port

    def client(self) -> redis.asyncio.Redis:
        """Not through the proxy."""
        return redis.asyncio.Redis(port=self.server.port)


class RedisStreamCase(_RedisCase):
    """A stream of Redis."""

    name = "redis_stream"
    effect_type = "message_publish"
    intent_type = intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")

    def declaration(self, port: int) -> str:
        """One stream."""
        return f"kind: redis_stream\nhost: 127.0.0.1\nport: {port}\nstream: orders\nlimits: {{timeout_s: 40}}\n"

    def parameters(self, label: str) -> dict[str, object]:
        """A message."""
        return {"event_type": "order.placed", "data": {"label": label}}

    async def count(self, label: str) -> int:
        """Messages with the label."""
        client = self.client()
        try:
            rows = await client.xrange("orders")
        finally:
            await client.aclose()
        return sum(label.encode() in fields[b"body"] for _, fields in rows)


class RedisCacheCase(_RedisCase):
    """A member of a set of Redis: adding it twice comes to the same."""

    name = "redis_cache"
    effect_type = "cache_update"
    operation = "sadd"
    intent_type = intent_pb2.INTENT_TYPE_CACHE_UPDATE
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1)
    after: ClassVar[Counts] = Counts(then=1, in_the_end=1)
    replays = False

    def declaration(self, port: int) -> str:
        """Keys with a prefix."""
        return f"kind: redis_cache\nhost: 127.0.0.1\nport: {port}\nprefix: 'shop:'\nlimits: {{timeout_s: 40}}\n"

    def parameters(self, label: str) -> dict[str, object]:
        """A member."""
        return {"key": label, "members": ["a-member"]}

    async def count(self, label: str) -> int:
        """Members of the set."""
        client = self.client()
        try:
            return int(await client.scard(f"shop:{label}"))
        finally:
            await client.aclose()

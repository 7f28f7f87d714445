"""HTTP servers: what they did is counted, by the label in the body."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

from onex.v1 import intent_pb2
from tests.http_server import Exchange, HttpServer
from tests.proof.case import Counts, NetworkCase


class ApiCase(NetworkCase):
    """A server that knows nothing of keys: every request is another order."""

    name = "api_plain"
    effect_type = "api_call"
    intent_type = intent_pb2.INTENT_TYPE_API_CALL
    during: ClassVar[Counts] = Counts(then=1, in_the_end=2)
    server: HttpServer
    done: list[str]

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """One that takes orders."""
        self.done = []
        self.server = await stack.enter_async_context(HttpServer(self.answer))
        return self.server.port

    def declaration(self, port: int) -> str:
        """One path."""
        return (
            f"kind: http\nbase_url: http://127.0.0.1:{port}\nallow_private: true\n"
            "allow: [{methods: [POST], path: /orders}]\nlimits: {timeout_s: 40}\n"
        )

    def parameters(self, label: str) -> dict[str, object]:
        """An order."""
        return {"method": "POST", "path": "/orders", "body": {"label": label}}

    async def answer(self, exchange: Exchange) -> None:
        """Takes an order."""
        if exchange.request.method == "POST":
            self.take(exchange.request.headers.get("idempotency-key", ""), json.loads(exchange.request.body)["label"])
        await exchange.reply(201, json.dumps({"number": len(self.done)}).encode(), content_type="application/json")

    def take(self, key: str, label: str) -> None:
        """Does what was asked for."""
        self.done.append(label)

    async def count(self, label: str) -> int:
        """Orders."""
        return self.done.count(label)


class KeyedApiCase(ApiCase):
    """A server that does what it is asked once per Idempotency-Key."""

    name = "api_keyed"
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1)
    keys: set[str]

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """Knows no key yet."""
        self.keys = set()
        return await super().start_server(folder, stack)

    def take(self, key: str, label: str) -> None:
        """Nothing for a key that it knows."""
        if key not in self.keys:
            self.keys.add(key)
            super().take(key, label)

"""A publishing process that dies with SIGKILL, before, while and after it publishes: what the stream then holds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import nats
import pytest
from redis.asyncio import Redis

from tests.effect_engine import effect_world
from tests.inprocess import until
from tests.nats_server import NatsServer
from tests.publisher import publisher
from tests.redis_server import RedisServer

_MESSAGES = 300


class Broker:
    """A server, a target there, and what the stream holds."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.server: NatsServer | RedisServer = NatsServer() if kind == "nats" else RedisServer()

    def target(self) -> str:
        """The declaration."""
        given: dict[str, object] = {"kind": self.kind, "retry": {"max_retries": 3, "initial_backoff_s": 0.01}}
        if isinstance(self.server, NatsServer):
            given |= {"servers": [self.server.url], "stream": "ORDERS", "prefix": "shop", "create": {}}
        else:
            given |= {"host": "127.0.0.1", "port": self.server.port, "stream": "orders"}
        return f"  events: {json.dumps(given)}"

    async def stored(self) -> Counter[str]:
        """How often each event is there, by its id."""
        if isinstance(self.server, NatsServer):
            client = await nats.connect(self.server.url)
            stream = client.jetstream()
            state = (await stream.stream_info("ORDERS")).state
            bodies = [(await stream.get_msg("ORDERS", number)).data for number in range(1, state.last_seq + 1)]
            await client.close()
        else:
            async with Redis(host="127.0.0.1", port=self.server.port, protocol=2) as redis:
                bodies = [fields[b"body"] for _, fields in await redis.xrange("orders")]
        return Counter(str(json.loads(body or b"")["id"]) for body in bodies)

    def has_unread_bytes(self) -> bool:
        """Whether something was sent to the server that it has not read: proc(5), /proc/net/tcp."""
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            port, unread = int(fields[1].rpartition(":")[2], 16), int(fields[4].rpartition(":")[2], 16)
            if port == self.server.port and fields[3] == "01" and unread:
                return True
        return False


@pytest.fixture(params=["nats", "redis_stream"])
def broker(request: pytest.FixtureRequest) -> Generator[Broker, None, None]:
    """A broker of either kind."""
    made = Broker(request.param)
    made.server.start()
    yield made
    made.server.remove()


async def _repeat(folder: Path, broker: Broker, *keys: str) -> list[bool]:
    """Publishes as another node without a common ledger; for each key whether the broker knew it."""
    async with effect_world(folder, broker.target()) as world:
        outputs = [
            await world.effect("message_publish", "events", "", {"event_type": "placed"}, key=key) for key in keys
        ]
    return [output.metadata.replayed for output in outputs]


async def test_killed_before(tmp_path: Path, broker: Broker) -> None:
    """R9: a process that dies before it publishes leaves nothing; the repeat publishes."""
    async with publisher(tmp_path, broker.target(), 1) as process:
        await process.kill()
    assert await _repeat(tmp_path, broker, "k-0") == [False]
    assert await broker.stored() == {"k-0": 1}


async def test_killed_while_the_broker_has_not_answered(tmp_path: Path, broker: Broker) -> None:
    """R9: a process that dies between sending and the answer leaves one message or none; the repeat makes it one."""
    async with publisher(tmp_path, broker.target(), 1) as process:
        broker.server.pause()
        await process.go()
        await until(broker.has_unread_bytes)
        await process.kill()
        broker.server.resume()
    await _repeat(tmp_path, broker, "k-0")
    assert await broker.stored() == {"k-0": 1}


async def test_killed_after(tmp_path: Path, broker: Broker) -> None:
    """R9: a process that dies before its result is recorded leaves a message, and the repeat learns of it."""
    async with publisher(tmp_path, broker.target(), 1) as process:
        await process.go()
        assert await process.said() == "k-0"
        await process.kill()
    assert await _repeat(tmp_path, broker, "k-0") == [True]
    assert await broker.stored() == {"k-0": 1}


async def test_killed_somewhere(tmp_path: Path, broker: Broker) -> None:
    """R9: wherever a process dies, what it acknowledged is there, and two others that repeat all make it once."""
    async with publisher(tmp_path, broker.target(), _MESSAGES) as process:
        await process.go()
        acknowledged = {await process.said() for _ in range(_MESSAGES // 3)}
        await process.kill()
    before = await broker.stored()
    assert acknowledged <= set(before)
    assert set(before.values()) == {1}
    keys = [f"k-{number}" for number in range(_MESSAGES)]
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    await asyncio.gather(*(_repeat(folder, broker, *keys) for folder in folders))
    assert await broker.stored() == dict.fromkeys(keys, 1)


async def test_broker_killed_somewhere(tmp_path: Path, broker: Broker) -> None:
    """R9, R25: likewise where the broker dies and comes back: what it acknowledged it still has, and its keys."""
    async with publisher(tmp_path, broker.target(), _MESSAGES) as process:
        await process.go()
        acknowledged = {await process.said() for _ in range(_MESSAGES // 3)}
        broker.server.kill()
        await process.kill()
        broker.server.start()
    assert acknowledged <= set(await broker.stored())
    keys = [f"k-{number}" for number in range(_MESSAGES)]
    await _repeat(tmp_path, broker, *keys)
    assert await broker.stored() == dict.fromkeys(keys, 1)

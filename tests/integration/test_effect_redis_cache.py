"""Cache updates at a real Redis server."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import MovedError

from onex.v1 import intent_pb2
from onex_mesh.effect.adapters.redis.connection import translated
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, TargetUnavailableError, ValidationError
from tests.effect_engine import World, effect_contract, effect_world, intent
from tests.inprocess import until
from tests.redis_server import RedisServer


@pytest.fixture(params=[False, True], ids=["alone", "cluster"], scope="module")
def either(request: pytest.FixtureRequest) -> Generator[RedisServer, None, None]:
    """A server, alone or as a cluster, for tests that leave it running."""
    started = RedisServer(cluster=request.param)
    started.start()
    yield started
    started.remove()


@pytest.fixture
async def redis(either: RedisServer) -> AsyncGenerator[Redis, None]:
    """A client beside the target, at a server without keys."""
    client = Redis(host="127.0.0.1", port=either.port, protocol=2, decode_responses=True)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def server() -> Generator[RedisServer, None, None]:
    """A server of the test's own."""
    started = RedisServer()
    started.start()
    yield started
    started.remove()


def _world(
    folder: Path, server: RedisServer, *, environment: dict[str, str] | None = None, **settings: object
) -> AbstractAsyncContextManager[World]:
    given = {
        "kind": "redis_cache",
        "host": "127.0.0.1",
        "port": server.port,
        "prefix": "shop:",
        "cluster": server.is_cluster,
        "limits": {"timeout_s": 5, "size_bytes": 5000},
        "value_bytes_max": 1000,
        "retry": {"max_retries": 3, "initial_backoff_s": 0.01},
        **settings,
    }
    return effect_world(folder, f"  cache: {json.dumps(given)}", environment=environment or {})


def _call(operation: str, **parameters: object) -> tuple[str, str, str, dict[str, object]]:
    return "cache_update", "cache", operation, parameters


async def test_values(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R6: text is kept as it is, everything else as JSON; under the prefix of the target; read back as asked."""
    async with _world(tmp_path, either) as world:
        assert await world.result(*_call("set", key="a", value="tea ü")) == {"key": "a", "size_bytes": 6}
        await world.effect(*_call("set", key="b", value={"z": [1, 2.5, True, None], "a": "x"}))
        await world.effect(*_call("set", key="c", value=19.5))
        assert await redis.mget("shop:a") == ["tea ü"]
        assert await redis.get("shop:b") == '{"a":"x","z":[1,2.5,true,null]}'
        assert await redis.get("shop:c") == "19.5"
        assert await redis.ttl("shop:a") == -1
        assert await world.result(*_call("get", key="a")) == {"key": "a", "found": True, "value": "tea ü"}
        found = await world.result(*_call("get", key="b", format="json"))
        assert found == {"key": "b", "found": True, "value": {"a": "x", "z": [1, 2.5, True, None]}}
        assert await world.result(*_call("get", key="nobody")) == {"key": "nobody", "found": False, "value": None}
        await redis.set("shop:big", "12345678901234567890")
        assert (await world.result(*_call("get", key="big", format="json")))["value"] == "12345678901234567890"  # type: ignore[index]


async def test_bytes(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R6: bytes of the contract's body are kept as they are."""
    async with _world(tmp_path, either) as world:
        contract = effect_contract("cache_update", "cache", "set", {"key": "image"})
        contract.io_operation_config.body.data = b"\x89\xff"
        await world.executor.effect(contract, EffectContext())
        found = await world.result(*_call("get", key="image", format="base64"))
        assert found == {"key": "image", "found": True, "value": base64.b64encode(b"\x89\xff").decode()}
        for how in ("text", "json"):
            with pytest.raises(EffectFailedError, match=f"the value is not {how}"):
                await world.effect(*_call("get", key="image", format=how))


async def test_lifetimes(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """A key lives as long as the contract says, else as long as the target says; a set anew has its time anew."""
    async with _world(tmp_path, either, ttl_s=100) as world:
        await world.effect(*_call("set", key="a", value="x"))
        await world.effect(*_call("set", key="b", value="x", ttl_s=0.5))
        await world.effect(*_call("hset", key="c", fields={"f": "x"}))
        await world.effect(*_call("sadd", key="d", members=["x"], ttl_s=1000))
        times = [await redis.pttl(f"shop:{key}") for key in "abcd"]
        assert [0 < found <= most for found, most in zip(times, (100_000, 500, 100_000, 1_000_000), strict=True)] == [
            True
        ] * 4
        assert times[3] > 100_000
        assert await world.result(*_call("expire", key="a", ttl_s=5000)) == {"key": "a", "exists": True}
        assert 100_000 < await redis.pttl("shop:a") <= 5_000_000
        at = datetime.now(UTC) + timedelta(hours=1)
        for _ in range(2):
            await world.effect(*_call("expire", key="a", at=at.isoformat()))
            assert await redis.execute_command("PEXPIRETIME", "shop:a") == round(at.timestamp() * 1000)
        assert await world.result(*_call("expire", key="nobody", ttl_s=5)) == {"key": "nobody", "exists": False}
        await world.effect(*_call("expire", key="a", at="2020-01-01T00:00:00Z"))
        assert await redis.exists("shop:a") == 0


async def test_hashes(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """Fields of a hash are set, read and deleted."""
    async with _world(tmp_path, either) as world:
        assert await world.result(*_call("hset", key="h", fields={"a": "x", "b": {"n": 1}})) == {
            "key": "h",
            "fields": 2,
        }
        assert await redis.hgetall("shop:h") == {"a": "x", "b": '{"n":1}'}
        found = await world.result(*_call("hget", key="h", field="b", format="json"))
        assert found == {"key": "h", "found": True, "value": {"n": 1}}
        assert (await world.result(*_call("hget", key="h", field="c"))) == {"key": "h", "found": False, "value": None}
        assert await world.result(*_call("hdel", key="h", fields=["a", "c"])) == {"key": "h", "removed": 1}
        assert await redis.hgetall("shop:h") == {"b": '{"n":1}'}


async def test_sets(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """Members of a set are added, listed in order and removed."""
    async with _world(tmp_path, either) as world:
        added = await world.result(*_call("sadd", key="s", members=["b", "a", 1, "a"]))
        assert added == {"key": "s", "members": 3}
        listed = await world.result(*_call("smembers", key="s"))
        assert listed == {"key": "s", "members": ["1", "a", "b"], "count": 3}
        assert await world.result(*_call("srem", key="s", members=["a", "x"])) == {"key": "s", "removed": 1}
        assert await redis.smembers("shop:s") == {"1", "b"}
        assert (await world.result(*_call("smembers", key="nobody"))) == {"key": "nobody", "members": [], "count": 0}


async def test_deleting(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """One key or several, wherever in a cluster they are; what is not below the prefix stays."""
    async with _world(tmp_path, either) as world:
        for key in ("a", "b", "c"):
            await world.effect(*_call("set", key=key, value="x"))
        await redis.set("other", "x")
        assert await world.result(*_call("delete", key="a")) == {"deleted": 1}
        assert await world.result(*_call("delete", keys=["a", "b", "c", "c"])) == {"deleted": 2}
        assert await world.result(*_call("delete", keys=["a", "b"])) == {"deleted": 0}
    assert await redis.keys() == ["other"]


async def test_a_repeat_comes_to_the_same(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R9: every writing operation, twice and by two nodes at once, leaves what once leaves."""
    calls = [
        _call("set", key="a", value="x", ttl_s=100),
        _call("hset", key="h", fields={"a": 1, "b": 2}),
        _call("hdel", key="h", fields=["b"]),
        _call("sadd", key="s", members=["x", "y"]),
        _call("srem", key="s", members=["y"]),
        _call("set", key="gone", value="x"),
        _call("delete", key="gone"),
        _call("expire", key="h", ttl_s=100),
    ]
    (tmp_path / "b").mkdir()
    async with _world(tmp_path, either) as one, _world(tmp_path / "b", either) as other:
        for number, call in enumerate(calls):
            await asyncio.gather(*(world.effect(*call, key=f"k-{number}") for world in (one, other, one, other)))
    assert await redis.get("shop:a") == "x"
    assert await redis.hgetall("shop:h") == {"a": "1"}
    assert await redis.smembers("shop:s") == {"x"}
    assert sorted(await redis.keys()) == ["shop:a", "shop:h", "shop:s"]


async def test_intents_and_the_node_cache(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R23, R88: an intent names its operation in the payload; a read may be answered by an earlier response."""
    batch = [
        intent("i-1", intent_pb2.INTENT_TYPE_CACHE_UPDATE, "cache", {"operation": "set", "key": "a", "value": "1"}),
        intent("i-2", intent_pb2.INTENT_TYPE_CACHE_UPDATE, "cache", {"operation": "flushall"}),
        intent(
            "i-3", intent_pb2.INTENT_TYPE_CACHE_UPDATE, "cache", {"operation": "sadd", "key": "s", "members": ["x"]}
        ),
    ]
    async with _world(tmp_path, either) as world:
        results = await world.intents(batch)
        completed, failed = intent_pb2.INTENT_STATUS_COMPLETED, intent_pb2.INTENT_STATUS_FAILED
        assert [result.status for result in results] == [completed, failed, completed]
        assert (await world.effect(*_call("get", key="a"), cache_s=60)).metadata.from_cache is False
        await redis.set("shop:a", "2")
        assert (await world.effect(*_call("get", key="a"), cache_s=60)).metadata.from_cache is True
        assert (await world.result(*_call("get", key="a"))) == {"key": "a", "found": True, "value": "2"}


BAD_KEYS = ["", "a b", "a*", "a?", "a[b]", "a\r\nFLUSHALL", "a\x00", "ü", "x" * 513, "\\", '"', "a\nb"]


@pytest.mark.parametrize("key", BAD_KEYS)
@pytest.mark.parametrize("operation", ["set", "delete", "get", "hset", "smembers"])
async def test_keys_that_are_refused(
    tmp_path: Path, either: RedisServer, redis: Redis, operation: str, key: str
) -> None:
    """R18: blanks, line breaks, wildcards and what is not ASCII make no key."""
    parameters: dict[str, object] = {"set": {"value": "x"}, "hset": {"fields": {"a": 1}}}.get(operation, {})
    async with _world(tmp_path, either) as world:
        with pytest.raises(ValidationError) as failed:
            await world.effect(*_call(operation, key=key, **parameters))
        assert [path.rpartition(".")[2] for path, _ in failed.value.violations] == ["key"]
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    ("operation", "parameters", "field"),
    [
        ("eval", {"key": "a"}, "operation"),
        ("FLUSHALL", {}, "operation"),
        ("", {"key": "a"}, "operation"),
        ("SET", {"key": "a", "value": "x"}, "operation"),
        ("get\r\nFLUSHALL", {"key": "a"}, "operation"),
        ("set", {"key": "a"}, "value"),
        ("set", {"key": "a", "value": None}, "value"),
        ("set", {"value": "x"}, "key"),
        ("set", {"key": "a", "value": "x", "nx": True}, "nx"),
        ("set", {"key": "a", "value": "x", "ttl_s": 0}, "ttl_s"),
        ("set", {"key": "a", "value": "x", "ttl_s": -1}, "ttl_s"),
        ("set", {"key": "a", "value": "x", "ttl_s": 1e12}, "ttl_s"),
        ("set", {"key": ["a", "b"], "value": "x"}, "key"),
        ("delete", {}, "key"),
        ("delete", {"key": "a", "keys": ["b"]}, "key"),
        ("delete", {"keys": []}, "keys"),
        ("delete", {"keys": ["a", "b*"]}, "1"),
        ("delete", {"keys": [f"k{n}" for n in range(1001)]}, "keys"),
        ("expire", {"key": "a"}, "ttl_s"),
        ("expire", {"key": "a", "ttl_s": 1, "at": "2026-01-31T12:00:00Z"}, "ttl_s"),
        ("expire", {"key": "a", "at": "soon"}, "at"),
        ("expire", {"key": "a", "at": "2026-01-31T12:00:00"}, "at"),
        ("hset", {"key": "a", "fields": {}}, "fields"),
        ("hset", {"key": "a", "fields": {"": 1}}, "fields"),
        ("hset", {"key": "a", "fields": {"a\nb": 1}}, "fields"),
        ("hset", {"key": "a", "fields": {"a": None}}, "a"),
        ("hset", {"key": "a", "fields": {f"f{n}": 1 for n in range(1001)}}, "fields"),
        ("hdel", {"key": "a", "fields": "a"}, "fields"),
        ("sadd", {"key": "a", "members": []}, "members"),
        ("sadd", {"key": "a", "members": [None]}, "0"),
        ("hget", {"key": "a"}, "field"),
        ("get", {"key": "a", "format": "pickle"}, "format"),
        ("get", {"key": "a", "value": "x"}, "value"),
    ],
)
async def test_what_is_refused(
    tmp_path: Path, either: RedisServer, redis: Redis, operation: str, parameters: dict[str, object], field: str
) -> None:
    """R18: nothing is sent; the field that is wrong is named."""
    async with _world(tmp_path, either) as world:
        with pytest.raises(ValidationError) as failed:
            await world.effect(*_call(operation, **parameters))
        assert {path.rpartition(".")[2] for path, _ in failed.value.violations} == {field}
    assert await redis.dbsize() == 0


async def test_what_the_target_does_not_list(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R17: operations and keys that the operator did not list are refused."""
    async with _world(tmp_path, either, operations=["set", "get"], keys=["session/*", "rate"]) as world:
        with pytest.raises(ValidationError, match="is not one of get, set"):
            await world.effect(*_call("delete", key="rate"))
        for key in ("sessions/1", "rates", "x/session/1"):
            with pytest.raises(ValidationError, match="is not allowed at this target"):
                await world.effect(*_call("set", key=key, value="x"))
        for key in ("session/1", "session/a/b", "rate"):
            await world.effect(*_call("set", key=key, value="x"))
    assert sorted(await redis.keys()) == ["shop:rate", "shop:session/1", "shop:session/a/b"]


async def test_sizes(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """F22: values, commands and what is read are bounded; what somebody else made too large is not loaded."""
    async with _world(tmp_path, either) as world:
        with pytest.raises(PayloadTooLargeError, match="value of 1001 bytes is more than the 1000"):
            await world.effect(*_call("set", key="a", value="x" * 1001))
        with pytest.raises(PayloadTooLargeError, match="more than the 5000"):
            await world.effect(*_call("hset", key="a", fields={f"f{n}": "x" * 900 for n in range(6)}))
        assert await redis.dbsize() == 0
        await redis.set("shop:a", "x" * 1001)
        await redis.hset("shop:h", "f", "x" * 1001)
        await redis.sadd("shop:s", *range(10_001))
        await redis.sadd("shop:m", *(f"{n:>1000}" for n in range(10)))
        for call in (
            _call("get", key="a"),
            _call("hget", key="h", field="f"),
            _call("smembers", key="s"),
            _call("smembers", key="m"),
        ):
            with pytest.raises(PayloadTooLargeError):
                await world.effect(*call)


async def test_keys_of_another_type(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R15: what the server will not do is final."""
    await redis.set("shop:a", "secret-value")
    async with _world(tmp_path, either) as world:
        for call in (_call("hset", key="a", fields={"f": 1}), _call("sadd", key="a", members=["x"], ttl_s=5)):
            with pytest.raises(EffectFailedError, match="WRONGTYPE") as failed:
                await world.effect(*call, retries=3)
            assert failed.value.error_context["attempts"] == 1
            assert "secret-value" not in failed.value.message


async def test_a_server_that_goes_and_comes_back(tmp_path: Path, server: RedisServer) -> None:
    """R15, R19, R24, R25: refused connections are temporary, and the pool recovers."""
    async with _world(tmp_path, server) as world:
        adapter = world.lanes["cache"].adapter
        await world.effect(*_call("set", key="a", value="x"))
        server.kill()
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_call("set", key="b", value="x"), retries=1)
        assert failed.value.retryable
        assert failed.value.error_context["attempts"] == 2
        with pytest.raises(TargetUnavailableError):
            await adapter.check()
        server.start()
        await adapter.check()
        assert (await world.result(*_call("get", key="a"))) == {"key": "a", "found": True, "value": "x"}
        server.restart()
        await world.effect(*_call("set", key="b", value="x"), retries=3)


async def test_a_cluster_that_goes_and_comes_back(tmp_path: Path) -> None:
    """R19, R24, R25: likewise for a cluster, also if it is down at the start."""
    server = RedisServer(cluster=True)
    try:
        async with _world(tmp_path, server) as world:
            with pytest.raises(TargetUnavailableError):
                await world.effect(*_call("set", key="a", value="x"), retries=0)
            server.start()
            await world.effect(*_call("set", key="a", value="x"), retries=3)
            server.kill()
            with pytest.raises(TargetUnavailableError):
                await world.effect(*_call("get", key="a"), retries=0)
            server.start()
            await world.effect(*_call("get", key="a"), retries=20)
    finally:
        server.remove()


async def test_slots_that_are_elsewhere(tmp_path: Path) -> None:
    """R15: a slot that nobody serves is temporary; one on another node, for a target that is no cluster, is final."""
    server = RedisServer(cluster=True)
    server.start()
    try:
        async with Redis(host="127.0.0.1", port=server.port, protocol=2) as redis:
            await redis.execute_command("CONFIG", "SET", "cluster-require-full-coverage", "no")
            async with _world(tmp_path, server, cluster=False) as world:
                slot = await redis.execute_command("CLUSTER", "KEYSLOT", "shop:a")
                await redis.execute_command("CLUSTER", "DELSLOTS", slot)
                with pytest.raises(TargetUnavailableError, match="ClusterDown"):
                    await world.effect(*_call("set", key="a", value="x"), retries=0)
                await redis.execute_command("CLUSTER", "ADDSLOTS", slot)
                await world.effect(*_call("set", key="a", value="x"), retries=0)
    finally:
        server.remove()
    with (
        pytest.raises(EffectFailedError, match="is a cluster, and the key is on another node"),
        translated("cache", may_repeat=True),
    ):
        raise MovedError("3999 127.0.0.1:6381")


async def test_cancelling_and_time(tmp_path: Path, server: RedisServer) -> None:
    """R15: what ends early takes its connection along, so no answer meets another question."""
    async with _world(tmp_path, server, limits={"concurrency": 1}) as world:
        for key in ("a", "b"):
            await world.effect(*_call("set", key=key, value=key))
        server.pause()
        with pytest.raises(TargetUnavailableError, match="did not answer within") as failed:
            await world.effect(*_call("get", key="a"), retries=0, timeout_s=0.1)
        assert failed.value.retryable
        reading = asyncio.create_task(world.effect(*_call("get", key="a")))
        await until(lambda: world.lanes["cache"].slots.in_use == 1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        server.resume()
        assert (await world.result(*_call("get", key="b"))) == {"key": "b", "found": True, "value": "b"}


async def test_many_at_once(tmp_path: Path, either: RedisServer, redis: Redis) -> None:
    """R10: no more connections than calls at once, and none is left when the target stops."""
    async with _world(tmp_path, either, limits={"concurrency": 3}) as world:
        await asyncio.gather(*(world.effect(*_call("set", key=f"k{number}", value=number)) for number in range(100)))
        named = [row for row in await redis.client_list() if row["name"] == "onex-mesh"]
        assert 1 <= len(named) <= 5
    assert await redis.dbsize() == 100
    until_s = time.monotonic() + 10
    while any(row["name"] == "onex-mesh" for row in await redis.client_list()):
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"prefix": ""}, "prefix"),
        ({"prefix": "a b"}, "prefix"),
        ({"prefix": "onex:{shop}:"}, "prefix"),
        ({"operations": ["eval"]}, "operations"),
        ({"cluster": True, "db": 1}, "db"),
        ({"host": "redis://x"}, "host"),
        ({"keys": ["a b"]}, "keys"),
        ({"username": "x"}, "username"),
    ],
)
async def test_declarations(tmp_path: Path, server: RedisServer, settings: dict[str, object], field: str) -> None:
    """R17: what cannot work is said with its field when the file is read."""
    with pytest.raises(ValidationError, match=field):
        async with _world(tmp_path, server, **settings):
            raise AssertionError("that cannot work")

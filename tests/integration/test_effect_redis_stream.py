"""Messages into a real Redis stream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.asyncio import Redis

from onex.v1 import intent_pb2
from onex_mesh.effect.adapters.redis.stream import record_key
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, TargetUnavailableError, ValidationError
from tests.effect_engine import World, effect_contract, effect_world, intent
from tests.inprocess import until
from tests.redis_server import RedisServer

ORDER = {"event_type": "order_placed", "order_id": "o-1", "data": {"total": "19.90"}}
CERTIFICATES = Path(__file__).parent / "certificates"


@pytest.fixture
def server() -> Generator[RedisServer, None, None]:
    """A server of the test's own."""
    started = RedisServer()
    started.start()
    yield started
    started.remove()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncGenerator[Redis, None]:
    """A client beside the target."""
    client = Redis(host="127.0.0.1", port=server.port, protocol=2, decode_responses=True)
    yield client
    await client.aclose()


def _world(
    folder: Path, server: RedisServer, *, environment: dict[str, str] | None = None, **settings: object
) -> AbstractAsyncContextManager[World]:
    given = {
        "kind": "redis_stream",
        "host": "127.0.0.1",
        "port": server.port,
        "stream": "shop:orders",
        "limits": {"timeout_s": 5, "size_bytes": 3000},
        "retry": {"max_retries": 3, "initial_backoff_s": 0.01},
        **settings,
    }
    return effect_world(folder, f"  events: {json.dumps(given)}", environment=environment or {})


async def _events(redis: Redis) -> list[dict[str, object]]:
    return [json.loads(fields["body"]) for _, fields in await redis.xrange("shop:orders")]


async def test_a_message_is_a_cloud_event(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R6, R22, R90: the whole event as JSON in one field, its content type in another."""
    context = EffectContext(correlation_id="corr-1", issued_at=datetime(2026, 1, 31, 12, tzinfo=UTC))
    async with _world(tmp_path, server) as world:
        result = await world.result("message_publish", "events", "", ORDER, key="k-1", context=context)
    assert result == {"event_id": "k-1", "event_type": "order_placed", "stream": "shop:orders"}
    ((_, fields),) = await redis.xrange("shop:orders")
    assert fields["content-type"] == "application/cloudevents+json"
    assert set(fields) == {"content-type", "body"}
    event = json.loads(fields["body"])
    assert event.pop("traceparent").startswith("00-")
    assert event == {
        "specversion": "1.0",
        "id": "k-1",
        "source": "onex-mesh",
        "type": "order_placed",
        "time": "2026-01-31T12:00:00Z",
        "datacontenttype": "application/json",
        "correlationid": "corr-1",
        "data": {"order_id": "o-1", "total": "19.90"},
    }


async def test_binary_mode(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R6: the attributes are fields of their own, the body is the data; bytes travel as they are."""
    async with _world(tmp_path, server, mode="binary") as world:
        contract = effect_contract("message_publish", "events", "", {"event_type": "a/b", "subject": "ü"}, key="k")
        contract.io_operation_config.body.data = b"\x89\x00"
        await world.executor.effect(contract, EffectContext())
    async with Redis(host="127.0.0.1", port=server.port, protocol=2) as raw:
        ((_, fields),) = await raw.xrange("shop:orders")
    assert fields[b"body"] == b"\x89\x00"
    assert fields[b"ce-type"] == b"a/b"
    assert fields[b"ce-subject"] == b"%C3%BC"
    assert fields[b"ce-datacontenttype"] == b"application/octet-stream"


async def test_the_same_key_is_added_once(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R9: nodes without a common ledger, one after the other; a direct call without a key is an event of its own."""
    for replayed in (False, True, True):
        async with _world(tmp_path, server) as world:
            output = await world.effect("message_publish", "events", "", ORDER, key="k-1")
            assert output.metadata.replayed is replayed
    async with _world(tmp_path, server) as world:
        for key in ("k-2", "", ""):
            await world.effect("message_publish", "events", "", ORDER, key=key)
    ids = [event["id"] for event in await _events(redis)]
    assert ids[:2] == ["k-1", "k-2"]
    assert len(set(ids)) == len(ids) == 4


async def test_keys_end_after_their_time(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R9: the server remembers a key as long as the target says, in the slot of the stream."""
    async with _world(tmp_path, server, keep_keys_s=120) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
    record = record_key("shop:orders", "events", "k-1")
    assert 110 < await redis.ttl(record) <= 120
    assert record.startswith("onex:{shop:orders}:")


async def test_two_nodes_at_once_under_one_key(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R9: of nodes that publish at the same time one adds the message, the others find its key."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    async with _world(folders[0], server) as a, _world(folders[1], server) as b, _world(folders[2], server) as c:
        for number in range(30):
            outputs = await asyncio.gather(
                *(world.effect("message_publish", "events", "", ORDER, key=f"k-{number}") for world in (a, b, c))
            )
            assert sorted(output.metadata.replayed for output in outputs) == [False, True, True]
    assert [event["id"] for event in await _events(redis)] == [f"k-{number}" for number in range(30)]


async def test_a_record_that_appears_before_the_transaction(
    tmp_path: Path, server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9: another node that is quicker by a moment makes the whole transaction do nothing."""
    async with _world(tmp_path, server) as world:
        adapter = world.lanes["events"].adapter
        record = record_key("shop:orders", "events", "k")
        looks = adapter._require_stream  # type: ignore[attr-defined]
        quicker = asyncio.Event()

        def look(answer: bytes) -> None:
            looks(answer)
            if not quicker.is_set():
                quicker.set()
                # Between the look at the record and the transaction.
                _set_beside(server.port, f"SET {record} other\r\n".encode())

        monkeypatch.setattr(adapter, "_require_stream", look)
        output = await world.effect("message_publish", "events", "", ORDER, key="k")
    assert output.metadata.replayed
    assert await redis.exists("shop:orders") == 0


def _set_beside(port: int, command: bytes) -> None:
    """Sends a command without the event loop."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(command)
        assert connection.recv(100).startswith(b"+OK")


async def test_trimming(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """About as many messages are kept as the target says; the oldest go."""
    async with _world(tmp_path, server, max_messages=10, limits={"concurrency": 8}) as world:
        for start in range(0, 400, 40):
            await asyncio.gather(
                *(
                    world.effect("message_publish", "events", "", ORDER, key=f"k-{number}")
                    for number in range(start, start + 40)
                )
            )
    kept = await redis.xlen("shop:orders")
    assert 10 <= kept < 400


async def test_a_server_that_goes_and_comes_back(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R15, R19, R24, R25: refused connections are temporary; what was added and its key survive together."""
    async with _world(tmp_path, server) as world:
        adapter = world.lanes["events"].adapter
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.kill()
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=1)
        assert failed.value.retryable
        assert failed.value.error_context["attempts"] == 2
        with pytest.raises(TargetUnavailableError):
            await adapter.check()
        server.start()
        await adapter.check()
        assert (await world.effect("message_publish", "events", "", ORDER, key="k-1")).metadata.replayed
        await world.effect("message_publish", "events", "", ORDER, key="k-2")
        server.restart()
        await world.effect("message_publish", "events", "", ORDER, key="k-3", retries=3)
    assert [event["id"] for event in await _events(redis)] == ["k-1", "k-2", "k-3"]


async def test_a_connection_that_breaks_before_the_answer(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R9, R19: the outcome is unknown; the repeat looks at the record."""
    async with _world(tmp_path, server, limits={"timeout_s": 60}, retry={"max_retries": 20}) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        publishing = asyncio.create_task(world.effect("message_publish", "events", "", ORDER, key="k-2"))
        await until(lambda: world.lanes["events"].slots.in_use == 1)
        await asyncio.sleep(0)
        server.kill()
        server.start()
        await publishing
    assert [event["id"] for event in await _events(redis)] == ["k-1", "k-2"]


async def test_a_server_that_does_not_answer(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R15, R19: an attempt ends with its time, and so does its connection: no answer meets another question."""
    async with _world(tmp_path, server, limits={"concurrency": 1}) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        with pytest.raises(TargetUnavailableError, match="did not answer within") as failed:
            await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=1, timeout_s=0.1)
        assert failed.value.retryable
        server.resume()
        for number in (2, 3, 4):
            output = await world.effect("message_publish", "events", "", ORDER, key=f"k-{number}")
            assert output.metadata.attempts == 1 or output.metadata.replayed
    assert [event["id"] for event in await _events(redis)] == ["k-1", "k-2", "k-3", "k-4"]


async def test_cancelling_reaches_the_connection(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """The connection of a cancelled effect is closed: what it had not sent yet never happens."""
    async with _world(tmp_path, server, limits={"concurrency": 1}) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        publishing = asyncio.create_task(world.effect("message_publish", "events", "", ORDER, key="k-2"))
        await until(lambda: world.lanes["events"].slots.in_use == 1)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        server.resume()
        await world.effect("message_publish", "events", "", ORDER, key="k-3")
    assert [event["id"] for event in await _events(redis)] == ["k-1", "k-3"]


async def test_answers_that_pass(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R15: a replica that takes no writes, a full memory and a busy script are temporary, and nothing is half done."""
    async with _world(tmp_path, server, breaker={"failure_threshold": 100}) as world:

        async def refused() -> TargetUnavailableError:
            with pytest.raises(TargetUnavailableError) as failed:
                await world.effect("message_publish", "events", "", ORDER, key="k", retries=1)
            assert failed.value.retryable
            assert failed.value.error_context["attempts"] == 2
            assert "19.90" not in failed.value.message
            return failed.value

        await redis.config_set("maxmemory", 1)
        assert "OutOfMemory" in str(await refused())
        await redis.config_set("maxmemory", 0)
        await redis.replicaof("127.0.0.1", 1)
        await redis.config_set("replica-serve-stale-data", "yes")
        assert "ReadOnly" in str(await refused())
        await redis.replicaof("NO", "ONE")
        await redis.config_set("busy-reply-threshold", 1)
        endless = asyncio.create_task(redis.eval("while true do end", 0))  # type: ignore[arg-type]
        async with Redis(host="127.0.0.1", port=server.port, protocol=2) as killer:

            async def is_busy() -> bool:
                try:
                    await killer.get("x")
                except Exception as error:  # noqa: BLE001  # whatever it answers
                    return "BUSY" in str(error)
                return False

            async with asyncio.timeout(10):
                while not await is_busy():  # noqa: ASYNC110  # another process is asked
                    await asyncio.sleep(0.01)
            assert "BUSY" in str(await refused())
            await killer.script_kill()
        await asyncio.gather(endless, return_exceptions=True)
        output = await world.effect("message_publish", "events", "", ORDER, key="k")
        assert not output.metadata.replayed
    assert [event["id"] for event in await _events(redis)] == ["k"]


async def test_a_key_that_is_no_stream(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R9, R24: nothing is recorded for a message that could not be added."""
    await redis.set("shop:orders", "x")
    async with _world(tmp_path, server) as world:
        with pytest.raises(EffectFailedError, match="is a string, not a stream"):
            await world.effect("message_publish", "events", "", ORDER, key="k")
        with pytest.raises(EffectFailedError, match="is a string, not a stream"):
            await world.lanes["events"].adapter.check()
        await redis.delete("shop:orders")
        assert not (await world.effect("message_publish", "events", "", ORDER, key="k")).metadata.replayed
        # It becomes something else between the look and the transaction.
        await redis.delete("shop:orders")
        await redis.set("shop:orders", "x")
        world.lanes["events"].adapter._require_stream = lambda _: None  # type: ignore[attr-defined]
        with pytest.raises(EffectFailedError, match="WRONGTYPE"):
            await world.effect("message_publish", "events", "", ORDER, key="k-2")
        assert await redis.exists(record_key("shop:orders", "events", "k-2")) == 0


async def test_logins(tmp_path: Path) -> None:
    """R17: a password from the environment or a file, a user with rights; wrong and stale ones are refused for good."""
    acl = "user shop on >right ~shop:* ~onex:* +@all -xadd\nuser default on >base ~* +@all"
    server = RedisServer(acl)
    server.start()
    try:
        (tmp_path / "password").write_text("base\n")
        async with _world(tmp_path, server, password_file="password") as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
        login = {"username": "shop", "password_env": "SECRET"}
        async with _world(tmp_path, server, environment={"SECRET": "right"}, **login) as world:
            with pytest.raises(EffectFailedError, match="does not permit this") as failed:
                await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=3)
            assert failed.value.error_context["attempts"] == 1
        for environment, settings in (({"SECRET": "wrong-secret"}, login), ({}, {})):
            async with _world(tmp_path, server, environment=environment, **settings) as world:
                with pytest.raises(EffectFailedError, match="refused the credentials") as failed:
                    await world.effect("message_publish", "events", "", ORDER, key="k-3", retries=3)
                assert failed.value.error_context["attempts"] == 1
                assert "wrong-secret" not in str(failed.value)
                with pytest.raises(EffectFailedError, match="refused the credentials"):
                    await world.lanes["events"].adapter.check()
    finally:
        server.remove()


async def test_a_user_with_the_rights_that_are_needed(tmp_path: Path) -> None:
    """R17: the commands that docs/effect.md names are enough."""
    commands = "+watch +unwatch +exists +type +multi +exec +xadd +set +del +client|setname"
    server = RedisServer(f"user shop on >right ~orders ~onex:{{orders}}:* {commands}\nuser default on nopass ~* +@all")
    server.start()
    try:
        login = {"username": "shop", "password_env": "SECRET", "stream": "orders"}
        async with _world(tmp_path, server, environment={"SECRET": "right"}, **login) as world:
            await world.lanes["events"].adapter.check()
            for replayed in (False, True):
                output = await world.effect("message_publish", "events", "", ORDER, key="k")
                assert output.metadata.replayed is replayed
    finally:
        server.remove()


async def test_tls(tmp_path: Path) -> None:
    """The server's certificate and name are verified."""
    server = RedisServer()
    server.start()
    tls_port = _tls(server)
    try:
        trusting = {"ca_file": str(CERTIFICATES / "ca.pem")}
        async with _world(tmp_path, server, host="localhost", port=tls_port, tls=trusting) as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
        async with _world(tmp_path, server, host="localhost", port=tls_port, tls={}) as world:
            with pytest.raises(EffectFailedError, match="not trusted"):
                await world.effect("message_publish", "events", "", ORDER, key="k", retries=0)
        with pytest.raises(ValidationError, match="cannot be used"):
            async with _world(tmp_path, server, tls={"ca_file": "nowhere.pem"}):
                raise AssertionError("there is no such file")
    finally:
        server.remove()


def _tls(server: RedisServer) -> int:
    """Has the server listen with TLS beside its port, and returns where."""
    other = RedisServer()
    port = other.port
    other.remove()
    server.stop()
    server.configure(
        f"tls-port {port}\ntls-cert-file {CERTIFICATES / 'server.pem'}\n"
        f"tls-key-file {CERTIFICATES / 'server-key.pem'}\n"
        f"tls-ca-cert-file {CERTIFICATES / 'ca.pem'}\ntls-auth-clients no"
    )
    server.start()
    return port


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "event_type"),
        ({"event_type": "a\r\nXADD x"}, "event_type"),
        ({"event_type": "a", "topic": "elsewhere"}, "topic"),
        ({"event_type": "a", "subject": "x\ny"}, "subject"),
        ({"event_type": "other"}, "event_type"),
        ({"event_type": "a", "timestamp": "now"}, "timestamp"),
    ],
)
async def test_what_is_refused(
    tmp_path: Path, server: RedisServer, redis: Redis, parameters: dict[str, object], field: str
) -> None:
    """R18: nothing is sent; the field that is wrong is named."""
    async with _world(tmp_path, server, event_types=["a", "a\\r"]) as world:
        with pytest.raises(ValidationError) as failed:
            await world.effect("message_publish", "events", "", parameters, key="k")
        assert [path.rpartition(".")[2] for path, _ in failed.value.violations] == [field]
    assert await redis.dbsize() == 0


async def test_too_large(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """F22: a message beyond the target's size is refused before it is sent."""
    async with _world(tmp_path, server) as world:
        with pytest.raises(PayloadTooLargeError, match="more than the 3000"):
            await world.effect("message_publish", "events", "", ORDER | {"data": "x" * 3000}, key="k")
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("stream", ["{a}", "a b", "a\nb", "", "x" * 201])
async def test_declarations(tmp_path: Path, server: RedisServer, stream: str) -> None:
    """R17: a stream's name cannot leave its slot or hold what is not printable."""
    with pytest.raises(ValidationError, match=r"targets\.events\.stream"):
        async with _world(tmp_path, server, stream=stream):
            raise AssertionError("that is no name")


async def test_intents(tmp_path: Path, server: RedisServer, redis: Redis) -> None:
    """R86, R88: intents of one batch are added in their order; one that is refused stops no other."""
    batch = [
        intent(f"i-{number}", intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, "events", {"event_type": event_type})
        for number, event_type in enumerate(("first", "not allowed", "third"))
    ]
    async with _world(tmp_path, server) as world:
        results = await world.intents(batch)
        again = await world.intents(batch)
    completed, failed = intent_pb2.INTENT_STATUS_COMPLETED, intent_pb2.INTENT_STATUS_FAILED
    assert [result.status for result in results] == [completed, failed, completed]
    assert [result.replayed for result in again] == [True, False, True]
    assert [event["type"] for event in await _events(redis)] == ["first", "third"]

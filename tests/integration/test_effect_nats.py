"""Messages into a real JetStream stream."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import nats
import pytest
from nats.js import JetStreamContext

from onex.v1 import intent_pb2
from onex_mesh.effect.adapters.nats.subjects import covers
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import MemoryLedger, World, effect_contract, effect_world, intent
from tests.inprocess import until
from tests.nats_server import NatsServer

ORDER = {"event_type": "order_placed", "order_id": "o-1", "data": {"total": "19.90"}}


@pytest.fixture
def server() -> Generator[NatsServer, None, None]:
    """A server of the test's own."""
    started = NatsServer()
    started.start()
    yield started
    started.remove()


def _target(server: NatsServer, **settings: object) -> str:
    given = {
        "kind": "nats",
        "servers": [server.url],
        "stream": "ORDERS",
        "prefix": "shop",
        "create": {"duplicate_window_s": 120},
        "limits": {"timeout_s": 5, "size_bytes": 3000},
        "retry": {"max_retries": 3, "initial_backoff_s": 0.01},
        **settings,
    }
    return f"  events: {json.dumps({name: value for name, value in given.items() if value is not None})}"


def _world(
    folder: Path,
    server: NatsServer,
    *,
    memory: MemoryLedger | None = None,
    environment: dict[str, str] | None = None,
    **settings: object,
) -> AbstractAsyncContextManager[World]:
    return effect_world(folder, _target(server, **settings), ledger=memory, environment=environment or {})


@asynccontextmanager
async def _jetstream(server: NatsServer, **login: str) -> AsyncGenerator[JetStreamContext, None]:
    client = await nats.connect(server.url, **login)
    yield client.jetstream()
    await client.close()


class KeyPair(Protocol):
    """An nkey."""

    public_key: bytes

    def sign(self, data: bytes) -> bytes:
        """The signature of bytes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the stream keeps it."""

    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, object]:
        """The event of a structured message."""
        event: dict[str, object] = json.loads(self.body)
        return event


async def _stored(server: NatsServer, **login: str) -> list[Stored]:
    async with _jetstream(server, **login) as stream:
        state = (await stream.stream_info("ORDERS")).state
        found = [await stream.get_msg("ORDERS", number) for number in range(1, state.last_seq + 1)]
    return [Stored(row.subject or "", dict(row.headers or {}), row.data or b"") for row in found]


async def test_a_message_is_a_cloud_event(tmp_path: Path, server: NatsServer) -> None:
    """R6, R22, R90: the whole event as JSON; its id is the key, its time that of the action."""
    context = EffectContext(correlation_id="corr-1", issued_at=datetime(2026, 1, 31, 12, tzinfo=UTC))
    async with _world(tmp_path, server, source="/shop/orders") as world:
        result = await world.result(
            "message_publish", "events", "", ORDER | {"subject": "o-1"}, key="k-1", context=context
        )
    assert result == {
        "event_id": "k-1",
        "event_type": "order_placed",
        "subject": "shop.order_placed",
        "stream": "ORDERS",
        "sequence": 1,
    }
    (message,) = await _stored(server)
    assert message.subject == "shop.order_placed"
    assert message.headers["content-type"] == "application/cloudevents+json"
    assert message.headers["Nats-Msg-Id"] == "k-1"
    event = message.event
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", str(event.pop("traceparent")))
    assert event == {
        "specversion": "1.0",
        "id": "k-1",
        "source": "/shop/orders",
        "type": "order_placed",
        "subject": "o-1",
        "time": "2026-01-31T12:00:00Z",
        "datacontenttype": "application/json",
        "correlationid": "corr-1",
        "data": {"order_id": "o-1", "total": "19.90"},
    }


async def test_the_trace_goes_on(tmp_path: Path, server: NatsServer) -> None:
    """R22: a message belongs to the trace of the request that led to it."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    context = EffectContext(correlation_id="corr-1", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    async with _world(tmp_path, server) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k", context=context)
    (message,) = await _stored(server)
    assert re.fullmatch(rf"00-{trace}-(?!00f067aa0ba902b7)[0-9a-f]{{16}}-01", str(message.event["traceparent"]))


async def test_binary_mode(tmp_path: Path, server: NatsServer) -> None:
    """R22: the attributes are headers, percent-encoded where they are not ASCII; the body is the data."""
    parameters = {"event_type": "order.placed", "subject": 'Bücher "neu" 100%', "data": {"b": 1, "a": [True, None]}}
    async with _world(tmp_path, server, mode="binary") as world:
        await world.effect(
            "message_publish", "events", "", parameters | {"timestamp": "2026-01-31T13:00:00+01:00"}, key="k"
        )
    (message,) = await _stored(server)
    assert json.loads(message.body) == {"a": [True, None], "b": 1}
    assert message.subject == "shop.order.placed"
    assert message.headers.pop("ce-traceparent").startswith("00-")
    assert message.headers == {
        "ce-specversion": "1.0",
        "ce-id": "k",
        "ce-source": "onex-mesh",
        "ce-type": "order.placed",
        "ce-subject": "B%C3%BCcher%20%22neu%22%20100%25",
        "ce-time": "2026-01-31T12:00:00Z",
        "ce-datacontenttype": "application/json",
        "ce-correlationid": "corr-1",
        "Nats-Msg-Id": "k",
        "Nats-Expected-Stream": "ORDERS",
    }


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_bytes_travel_as_they_are(tmp_path: Path, server: NatsServer, mode: str) -> None:
    """R6: bytes of the contract's body are the data."""
    async with _world(tmp_path, server, mode=mode) as world:
        contract = effect_contract(
            "message_publish", "events", "", {"event_type": "image", "content_type": "image/png"}, key="k"
        )
        contract.io_operation_config.body.data = b"\x89PNG\x00"
        await world.executor.effect(contract, EffectContext())
    (message,) = await _stored(server)
    if mode == "binary":
        assert message.body == b"\x89PNG\x00"
        assert message.headers["ce-datacontenttype"] == "image/png"
    else:
        assert message.event["datacontenttype"] == "image/png"
        assert base64.b64decode(str(message.event["data_base64"])) == b"\x89PNG\x00"


async def test_the_same_key_is_stored_once(tmp_path: Path, server: NatsServer) -> None:
    """R9: nodes without a common ledger, one after the other: the stream keeps the first, repeats are replayed."""
    sequences = []
    for _ in range(3):
        async with _world(tmp_path, server) as world:
            output = await world.effect("message_publish", "events", "", ORDER, key="k-1")
            sequences.append((output.metadata.replayed, output.operation_result.json.struct_value["sequence"]))
    assert sequences == [(False, 1), (True, 1), (True, 1)]
    async with _world(tmp_path, server) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-2")
        await world.effect("message_publish", "events", "", ORDER)
        await world.effect("message_publish", "events", "", ORDER)
    ids = [message.event["id"] for message in await _stored(server)]
    assert ids[:2] == ["k-1", "k-2"]
    assert len(set(ids)) == len(ids) == 4


async def test_two_nodes_at_once_under_one_key(tmp_path: Path, server: NatsServer) -> None:
    """R9: of two nodes that publish at the same time one stores the message, the other gets its place."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    async with _world(folders[0], server) as one, _world(folders[1], server) as other:
        for number in range(20):
            outputs = await asyncio.gather(
                *(world.effect("message_publish", "events", "", ORDER, key=f"k-{number}") for world in (one, other))
            )
            assert sorted(output.metadata.replayed for output in outputs) == [False, True]
    assert [message.event["id"] for message in await _stored(server)] == [f"k-{number}" for number in range(20)]


async def _forgets_all(server: NatsServer) -> None:
    """Returns when the stream has forgotten the ids that it knows now."""
    async with _jetstream(server) as stream:
        await stream.publish("shop.probe", b"{}", headers={"Nats-Msg-Id": "probe"})
        # Ids are forgotten in the order in which they came: once this one is, the earlier ones are.
        async with asyncio.timeout(10):
            while (await stream.publish("shop.probe", b"{}", headers={"Nats-Msg-Id": "probe"})).duplicate:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(("with_ledger", "published"), [(True, 1), (False, 2)])
async def test_a_repeat_after_the_stream_has_forgotten(
    tmp_path: Path, server: NatsServer, with_ledger: bool, published: int
) -> None:
    """R9: the ledger answers a repeat that comes after the duplicate window; without the ledger it is stored again."""
    ledger = MemoryLedger()
    settings = {"create": {"duplicate_window_s": 0.1}, "ledger": with_ledger}
    async with _world(tmp_path, server, memory=ledger, **settings) as world:
        first = await world.effect("message_publish", "events", "", ORDER, key="k")
    await _forgets_all(server)
    async with _world(tmp_path, server, memory=ledger, **settings) as world:
        again = await world.effect("message_publish", "events", "", ORDER, key="k")
    assert again.metadata.replayed is with_ledger
    assert (again.operation_result == first.operation_result) is with_ledger
    subjects = [message.subject for message in await _stored(server)]
    assert subjects.count("shop.order_placed") == published


async def test_a_stream_that_forgets_before_the_record_is_written(tmp_path: Path, server: NatsServer) -> None:
    """R9: what the guarantees say is not covered: no recorded result, and a repeat after the duplicate window."""
    settings = {"create": {"duplicate_window_s": 0.1}}
    async with _world(tmp_path, server, **settings) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k")
    await _forgets_all(server)
    async with _world(tmp_path, server, **settings) as world:
        assert not (await world.effect("message_publish", "events", "", ORDER, key="k")).metadata.replayed
    ids = [message.headers["Nats-Msg-Id"] for message in await _stored(server)]
    assert ids.count("k") == 2


async def test_a_server_that_goes_and_comes_back(tmp_path: Path, server: NatsServer) -> None:
    """R15, R19, R24, R25: refused connections are temporary; a connection that broke is made anew without a restart."""
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
        await world.effect("message_publish", "events", "", ORDER, key="k-2")
        server.restart()
        await world.effect("message_publish", "events", "", ORDER, key="k-3", retries=3)
    assert [message.event["id"] for message in await _stored(server)] == ["k-1", "k-2", "k-3"]


async def test_a_server_that_is_down_at_the_start(tmp_path: Path, server: NatsServer) -> None:
    """R24: the node starts without it, and the stream is made when it is there."""
    server.stop()
    async with _world(tmp_path, server) as world:
        with pytest.raises(TargetUnavailableError, match="cannot be reached"):
            await world.effect("message_publish", "events", "", ORDER, key="k", retries=0)
        server.start()
        await world.effect("message_publish", "events", "", ORDER, key="k")
    assert len(await _stored(server)) == 1


async def test_a_connection_that_breaks_before_the_answer(tmp_path: Path, server: NatsServer) -> None:
    """R9, R19: who waits for an acknowledgement learns at once that the connection broke; the repeat is stored once."""
    async with _world(tmp_path, server, limits={"timeout_s": 60}, retry={"max_retries": 20}) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        publishing = asyncio.create_task(world.effect("message_publish", "events", "", ORDER, key="k-2"))
        await until(lambda: world.lanes["events"].slots.in_use == 1)
        await asyncio.sleep(0)
        server.kill()
        server.start()
        output = await publishing
        assert output.metadata.attempts > 1
    assert [message.event["id"] for message in await _stored(server)] == ["k-1", "k-2"]


async def test_a_server_that_does_not_answer(tmp_path: Path, server: NatsServer) -> None:
    """R15, R19: an attempt ends with its time and may be repeated under the same id, also without a key."""
    async with _world(tmp_path, server) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        with pytest.raises(TargetUnavailableError, match="did not answer within") as failed:
            await world.effect("message_publish", "events", "", ORDER, retries=1, timeout_s=0.1)
        assert failed.value.retryable
        assert failed.value.error_context["attempts"] == 2
        server.resume()
        await world.lanes["events"].adapter.check()
    ids = [message.event["id"] for message in await _stored(server)]
    assert ids[0] == "k-1"
    assert len(ids) == 2  # both attempts arrived, one was stored


async def test_cancelling_ends_the_wait(tmp_path: Path, server: NatsServer) -> None:
    """A cancelled effect waits for nothing any more; the connection goes on to serve others."""
    async with _world(tmp_path, server) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.pause()
        publishing = asyncio.create_task(world.effect("message_publish", "events", "", ORDER, key="k-2"))
        await until(lambda: world.lanes["events"].slots.in_use == 1)
        before = asyncio.all_tasks()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert len(asyncio.all_tasks()) < len(before)
        assert world.audit.records[-1].outcome == "cancelled"
        server.resume()
        await world.effect("message_publish", "events", "", ORDER, key="k-3")


async def test_stopping_closes_the_connection(tmp_path: Path, server: NatsServer) -> None:
    """R10: nothing is left open, and a stopped target connects no more."""
    before = asyncio.all_tasks()
    async with _world(tmp_path, server) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        adapter = world.lanes["events"].adapter
    with pytest.raises(TargetUnavailableError, match="was closed"):
        await adapter.check()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("config", "settings", "environment"),
    [
        ("authorization { user: shop, password: right }", {"username": "shop", "password_env": "SECRET"}, "right"),
        ("authorization { token: right }", {"token_env": "SECRET"}, "right"),
        ("authorization { token: right }", {"token_file": "token"}, "right"),
    ],
)
async def test_logins(tmp_path: Path, config: str, settings: dict[str, object], environment: str) -> None:
    """R17: user and password, or a token, from the environment or a file; wrong ones are refused for good."""
    server = NatsServer(config)
    server.start()
    try:
        (tmp_path / "token").write_text(environment + "\n")
        async with _world(tmp_path, server, environment={"SECRET": environment}, **settings) as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
        (tmp_path / "token").write_text("wrong-secret")
        with pytest.raises(ValidationError, match="refused the credentials") as failed:
            async with _world(tmp_path, server, environment={"SECRET": "wrong-secret"}, **settings):
                raise AssertionError("it let us in")
        assert "wrong-secret" not in str(failed.value)
    finally:
        server.remove()


async def test_credentials_that_become_stale(tmp_path: Path) -> None:
    """R15, R24: a login that is refused later is a failure that is not tried again, and the check says so."""
    server = NatsServer("authorization { token: first }")
    server.start()
    try:
        async with _world(tmp_path, server, environment={"SECRET": "first"}, token_env="SECRET") as world:
            await world.effect("message_publish", "events", "", ORDER, key="k-1")
            server.stop()
            server.configure("authorization { token: second }")
            server.start()
            await until(lambda: not world.lanes["events"].adapter._connection._link.is_up)  # type: ignore[attr-defined]
            with pytest.raises(EffectFailedError, match="refused the credentials") as failed:
                await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=3)
            assert failed.value.error_context["attempts"] == 1
            with pytest.raises(EffectFailedError, match="refused the credentials"):
                await world.lanes["events"].adapter.check()
    finally:
        server.remove()


async def test_a_missing_permission(tmp_path: Path) -> None:
    """R15: the server does not answer what it does not permit; the effect fails at once and for good all the same."""
    users = """authorization { users: [
        { user: root, password: root },
        { user: shop, password: right, permissions: { publish: { deny: ["shop.secret"] } } }
    ] }"""
    server = NatsServer(users)
    server.start()
    try:
        login = {"username": "shop", "password_env": "SECRET"}
        async with _world(tmp_path, server, environment={"SECRET": "right"}, **login) as world:
            with pytest.raises(EffectFailedError, match="does not permit") as failed:
                await world.effect("message_publish", "events", "", {"event_type": "secret"}, key="k", retries=3)
            assert failed.value.error_context["attempts"] == 1
            await world.effect("message_publish", "events", "", {"event_type": "open"}, key="k")
        assert [row.subject for row in await _stored(server, user="root", password="root")] == ["shop.open"]
    finally:
        server.remove()


async def test_nkeys_and_creds(tmp_path: Path) -> None:
    """R17: an nkey seed signs the server's challenge; what is no seed or no creds file is said at the start."""
    nkeys = pytest.importorskip("nkeys")
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    server = NatsServer(f"authorization {{ users: [{{ nkey: {public} }}] }}")
    server.start()
    try:
        async with _world(tmp_path, server, environment={"SEED": seed.decode()}, nkey_seed_env="SEED") as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
        other = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER).decode()
        with pytest.raises(ValidationError, match="refused the credentials"):
            async with _world(tmp_path, server, environment={"SEED": other}, nkey_seed_env="SEED"):
                raise AssertionError("it let us in")
        with pytest.raises(ValidationError, match="the nkey seed is none"):
            async with _world(tmp_path, server, environment={"SEED": "SUNOSEED"}, nkey_seed_env="SEED"):
                raise AssertionError("that is no seed")
        (tmp_path / "user.creds").write_text("nothing")
        with pytest.raises(ValidationError, match="has no part 'BEGIN NATS USER JWT'"):
            async with _world(tmp_path, server, creds_file="user.creds"):
                raise AssertionError("that is no file of credentials")
    finally:
        server.remove()


def _jwt(signer: KeyPair, subject: KeyPair, **facts: object) -> str:
    """A JSON web token as NATS takes it, version 2: signed with an nkey."""
    claims = {
        "jti": subject.public_key.decode(),
        "iat": 1_700_000_000,
        "iss": signer.public_key.decode(),
        "name": "test",
        "sub": subject.public_key.decode(),
        "nats": {"version": 2, **facts},
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)
    ]
    parts.append(base64.urlsafe_b64encode(signer.sign(b".".join(parts))).rstrip(b"="))
    return b".".join(parts).decode()


async def test_a_creds_file(tmp_path: Path) -> None:
    """R17: a user's JWT and seed, as the tools of NATS write them, let in where operator and account vouch for him."""
    nkeys = pytest.importorskip("nkeys")
    prefixes = {
        "operator": nkeys.PREFIX_BYTE_OPERATOR,
        "system": nkeys.PREFIX_BYTE_ACCOUNT,
        "account": nkeys.PREFIX_BYTE_ACCOUNT,
        "user": nkeys.PREFIX_BYTE_USER,
        "stranger": nkeys.PREFIX_BYTE_USER,
    }
    seeds = {
        name: nkeys.encode_seed(bytes([number + 1] * 32), prefix)
        for number, (name, prefix) in enumerate(prefixes.items())
    }
    pairs = {name: nkeys.from_seed(bytearray(seed)) for name, seed in seeds.items()}
    names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
    storage = ("mem_storage", "disk_storage", "streams", "consumer")
    limits = dict.fromkeys((*names, *storage), -1) | {"wildcards": True}
    system_limits = dict.fromkeys(names, -1) | {"wildcards": True}
    operator = _jwt(pairs["operator"], pairs["operator"], type="operator")
    account = _jwt(pairs["operator"], pairs["account"], type="account", limits=limits)
    system = _jwt(pairs["operator"], pairs["system"], type="account", limits=system_limits)
    server = NatsServer(
        f"operator: {operator}\nsystem_account: {pairs['system'].public_key.decode()}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {pairs['account'].public_key.decode()}: {account},"
        f" {pairs['system'].public_key.decode()}: {system} }}"
    )
    server.start()

    def creds(name: str) -> None:
        user = _jwt(pairs["account"], pairs["user"], type="user", subs=-1, data=-1, payload=-1)
        (tmp_path / "user.creds").write_text(
            f"-----BEGIN NATS USER JWT-----\n{user}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seeds[name].decode()}\n------END USER NKEY SEED------\n"
        )

    try:
        creds("user")
        async with _world(tmp_path, server, creds_file="user.creds") as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
            output = await world.effect("message_publish", "events", "", ORDER, key="k-2")
            assert not output.metadata.replayed
        creds("stranger")
        with pytest.raises(ValidationError, match="refused the credentials"):
            async with _world(tmp_path, server, creds_file="user.creds"):
                raise AssertionError("it let us in")
    finally:
        server.remove()


async def test_several_servers(tmp_path: Path, server: NatsServer) -> None:
    """R25: of several servers the one that is there is found."""
    other = NatsServer()
    try:
        async with _world(tmp_path, server, servers=[other.url, server.url]) as world:
            for number in range(5):
                await world.effect("message_publish", "events", "", ORDER, key=f"k-{number}", retries=0)
                server.restart()
                await until(lambda: not world.lanes["events"].adapter._connection._link.is_up)  # type: ignore[attr-defined]
    finally:
        other.remove()
    assert len(await _stored(server)) == 5


CERTIFICATES = Path(__file__).parent / "certificates"


async def test_tls(tmp_path: Path) -> None:
    """The server's certificate is verified; without TLS at the server nothing is sent, least of all a password."""
    secured = NatsServer(
        f'tls {{ cert_file: "{CERTIFICATES / "server.pem"}", key_file: "{CERTIFICATES / "server-key.pem"}" }}'
    )
    plain = NatsServer("authorization { token: right }")
    secured.start()
    plain.start()
    trusting = {"tls": {"ca_file": str(CERTIFICATES / "ca.pem")}}
    try:
        async with _world(tmp_path, secured, servers=[f"tls://localhost:{secured.port}"], **trusting) as world:
            await world.effect("message_publish", "events", "", ORDER, key="k")
        with pytest.raises(ValidationError, match="not trusted"):
            async with _world(tmp_path, secured, servers=[f"tls://localhost:{secured.port}"]):
                raise AssertionError("nobody vouches for that certificate")
        with pytest.raises(ValidationError, match="offers no TLS"):
            async with _world(tmp_path, plain, environment={"SECRET": "right"}, token_env="SECRET", **trusting):
                raise AssertionError("the token went out in plain text")
        with pytest.raises(ValidationError, match="cannot be used"):
            async with _world(tmp_path, secured, tls={"ca_file": "nowhere.pem"}):
                raise AssertionError("there is no such file")
    finally:
        secured.remove()
        plain.remove()


async def test_streams_that_do_not_fit(tmp_path: Path, server: NatsServer) -> None:
    """R18: a stream that is missing or takes other subjects is said at the start; one that exists is never changed."""
    with pytest.raises(ValidationError, match="there is no stream 'ORDERS'"):
        async with _world(tmp_path, server, create=None):
            raise AssertionError("there is no stream")
    async with _jetstream(server) as stream:
        await stream.add_stream(name="ORDERS", subjects=["shop.*"], max_msgs=7)
    with pytest.raises(ValidationError, match=r"does not take shop\.>, only shop\.\*"):
        async with _world(tmp_path, server):
            raise AssertionError("some of its messages would go nowhere")
    async with _world(tmp_path, server, subjects=["*"]) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k")
        async with _jetstream(server) as stream:
            assert (await stream.stream_info("ORDERS")).config.max_msgs == 7
    async with _world(tmp_path, server, subjects=["*"], create=None) as world:
        async with _jetstream(server) as stream:
            await stream.delete_stream("ORDERS")
        with pytest.raises(TargetUnavailableError, match="no stream takes the message"):
            await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=1)
        with pytest.raises(EffectFailedError, match="there is no stream"):
            await world.lanes["events"].adapter.check()


async def test_a_stream_that_goes_with_its_server(tmp_path: Path, server: NatsServer) -> None:
    """R25: a stream in memory is made anew after its server was restarted."""
    async with _world(tmp_path, server, create={"storage": "memory"}) as world:
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        server.restart()
        await world.effect("message_publish", "events", "", ORDER, key="k-2")
    assert [message.event["id"] for message in await _stored(server)] == ["k-2"]


async def test_a_stream_as_the_target_says(tmp_path: Path, server: NatsServer) -> None:
    """The stream is made with the limits that are declared; a full one that discards nothing refuses for now."""
    create = {
        "max_messages": 1,
        "discard": "new",
        "max_age_s": 3600,
        "storage": "memory",
        "subjects": ["shop.>", "x.*"],
    }
    async with _world(tmp_path, server, create=create) as world:
        async with _jetstream(server) as stream:
            config = (await stream.stream_info("ORDERS")).config
            assert (config.max_msgs, config.max_age, config.storage, config.duplicate_window) == (
                1,
                3600,
                "memory",
                120,
            )
            assert config.subjects == ["shop.>", "x.*"]
        await world.effect("message_publish", "events", "", ORDER, key="k-1")
        with pytest.raises(TargetUnavailableError, match="maximum messages exceeded") as failed:
            await world.effect("message_publish", "events", "", ORDER, key="k-2", retries=0)
        assert failed.value.retryable


async def test_a_server_without_jetstream(tmp_path: Path) -> None:
    """R24: it is unhealthy, and the effects fail as temporary."""
    server = NatsServer(jetstream=False)
    server.start()
    try:
        async with _world(tmp_path, server) as world:
            with pytest.raises(TargetUnavailableError):
                await world.effect("message_publish", "events", "", ORDER, key="k", retries=0)
            with pytest.raises(TargetUnavailableError):
                await world.lanes["events"].adapter.check()
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "event_type"),
        ({"event_type": ""}, "event_type"),
        ({"event_type": "a b"}, "event_type"),
        ({"event_type": "a\r\nNats-Rollup: all"}, "event_type"),
        ({"event_type": "order.*"}, "event_type"),
        ({"event_type": "order.>"}, "event_type"),
        ({"event_type": ">"}, "event_type"),
        ({"event_type": "order..placed"}, "event_type"),
        ({"event_type": ".order"}, "event_type"),
        ({"event_type": "order."}, "event_type"),
        ({"event_type": "$JS.API.STREAM.DELETE.ORDERS"}, "event_type"),
        ({"event_type": "x" * 201}, "event_type"),
        ({"event_type": 7}, "event_type"),
        ({"event_type": "a", "topic": "eu.*"}, "topic"),
        ({"event_type": "a", "topic": "eu.>"}, "topic"),
        ({"event_type": "a", "topic": "eu placed"}, "topic"),
        ({"event_type": "a", "topic": "eu\r\nPUB x 0\r\n"}, "topic"),
        ({"event_type": "a", "topic": "../other"}, "topic"),
        ({"event_type": "a", "topic": "x" * 255}, "topic"),
        ({"event_type": "a", "subject": "a\r\nb"}, "subject"),
        ({"event_type": "a", "subject": "a\u0085b"}, "subject"),
        ({"event_type": "a", "subject": "x" * 201}, "subject"),
        ({"event_type": "a", "timestamp": "yesterday"}, "timestamp"),
        ({"event_type": "a", "timestamp": "2026-01-31T12:00:00"}, "timestamp"),
        ({"event_type": "a", "content_type": "text/plain"}, "content_type"),
    ],
)
async def test_what_is_refused(tmp_path: Path, server: NatsServer, parameters: dict[str, object], field: str) -> None:
    """R18: nothing is sent; the field that is wrong is named."""
    async with _world(tmp_path, server) as world:
        with pytest.raises(ValidationError) as failed:
            await world.effect("message_publish", "events", "", parameters, key="k")
        assert [path.rpartition(".")[2] for path, _ in failed.value.violations] == [field]
    assert await _stored(server) == []


async def test_what_the_target_does_not_list(tmp_path: Path, server: NatsServer) -> None:
    """R17: types and subjects that the operator did not list are refused."""
    async with _world(tmp_path, server, event_types=["order_*", "ping"], subjects=["eu.*", "order_placed"]) as world:
        for parameters, field in (
            ({"event_type": "invoice", "topic": "eu.x"}, "event_type"),
            ({"event_type": "pings", "topic": "eu.x"}, "event_type"),
            ({"event_type": "order_paid"}, "event_type"),
            ({"event_type": "ping", "topic": "us.x"}, "topic"),
            ({"event_type": "ping", "topic": "eu.x.y"}, "topic"),
        ):
            with pytest.raises(ValidationError, match="is not allowed at this target") as failed:
                await world.effect("message_publish", "events", "", parameters, key="k")
            assert [path.rpartition(".")[2] for path, _ in failed.value.violations] == [field]
        await world.effect("message_publish", "events", "", {"event_type": "order_placed"}, key="k-1")
        await world.effect("message_publish", "events", "", {"event_type": "ping", "topic": "eu.x"}, key="k-2")
    assert [message.subject for message in await _stored(server)] == ["shop.order_placed", "shop.eu.x"]


async def test_too_large_and_too_deep(tmp_path: Path, server: NatsServer) -> None:
    """F22: a message beyond the size of the target or the server, or of too many levels, is not sent."""
    deep: object = "x"
    for _ in range(70):
        deep = [deep]
    async with _world(tmp_path, server) as world:
        with pytest.raises(PayloadTooLargeError, match="more than the 3000"):
            await world.effect("message_publish", "events", "", ORDER | {"data": "x" * 3000}, key="k")
        with pytest.raises(ValidationError, match="nested deeper than 60"):
            await world.effect("message_publish", "events", "", ORDER | {"data": deep}, key="k")
    async with _world(tmp_path, server, limits={"size_bytes": 3_000_000}) as world:
        with pytest.raises(PayloadTooLargeError, match="the server takes no message of that size"):
            await world.effect("message_publish", "events", "", ORDER | {"data": "x" * 2_000_000}, key="k")
    assert await _stored(server) == []


async def test_intents(tmp_path: Path, server: NatsServer) -> None:
    """R86, R88: intents of one batch are stored in their order; one that is refused stops no other."""
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
    assert [message.event["type"] for message in await _stored(server)] == ["first", "third"]


@pytest.mark.parametrize(
    ("pattern", "subject", "is_covered"),
    [
        (">", "a", True),
        (">", "a.b", True),
        ("a.>", "a", False),
        ("a.>", "a.b.c", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a.>", False),
        ("a.>", "a.>", True),
        ("a.>", "a.*", True),
        ("a.b", "a.*", False),
        ("*", "*", True),
        ("a.b", "a.b", True),
        ("a.b", "a", False),
    ],
)
def test_patterns(pattern: str, subject: str, is_covered: bool) -> None:
    """A pattern covers subjects and patterns as NATS matches them."""
    assert covers(pattern, subject) is is_covered

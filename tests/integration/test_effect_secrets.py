"""No credential and no body in anything that a node writes: logs at their most talkative, the audit file, listings,
metrics, errors and etcd, over success and failure of every kind of target whose server is installed."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from onex.v1 import effect_pb2, effect_pb2_grpc, node_pb2, node_pb2_grpc
from onex_mesh.effect.core.target_models import BUILT_IN_MODELS
from tests.effect_engine import effect_contract
from tests.http_server import Exchange, HttpServer
from tests.mail_server import CA_FILE, Mailbox, mail_server
from tests.mesh import MeshProcesses
from tests.nats_server import NatsServer
from tests.postgres import PostgresServer
from tests.redis_server import RedisServer
from tests.s3_server import S3Server

SECRET = "planted-secret"
BODY = "planted-body"


@dataclass(slots=True)
class Case:
    """What is done to one kind of target."""

    targets: str
    environment: dict[str, str] = field(default_factory=dict)
    works: list[tuple[str, str, str, Mapping[str, object]]] = field(default_factory=list)
    fails: list[tuple[str, str, str, Mapping[str, object]]] = field(default_factory=list)
    """Effects: type, target, operation, parameters."""


async def _http(folder: Path, stack: AsyncExitStack) -> Case:
    async def echo(exchange: Exchange) -> None:
        """A server that repeats what it was told, credentials included."""
        request = exchange.request
        said = f"{request.headers} {request.body!r}".encode()
        match request.target:
            case "/ok":
                await exchange.reply(200, b'{"fine": true}', content_type="application/json")
            case "/refused":
                await exchange.reply(401, said)
            case "/away":
                await exchange.reply(503, said)
            case "/broken":
                exchange.reset()
            case _:
                exchange.writer.write(b"HTTP/1.1 2xx " + said.replace(b"\n", b"") + b"\r\n\r\n")

    server = await stack.enter_async_context(HttpServer(echo))
    paths = ("/ok", "/refused", "/away", "/broken", "/malformed")
    routes = ", ".join(f"{{methods: [POST], path: {path}}}" for path in paths)
    calls = [("api_call", "shop", "POST", {"path": path, "body": {"card": BODY}}) for path in paths]
    return Case(
        f"  shop: {{kind: http, base_url: '{server.url}', allow: [{routes}], allow_private: true,\n"
        "         bearer_token_env: PLANTED_TOKEN, header_env: {x-api-key: PLANTED_KEY}}\n",
        {"PLANTED_TOKEN": f"{SECRET}-bearer", "PLANTED_KEY": f"{SECRET}-api-key"},
        calls[:1],
        [
            *calls[1:],
            ("api_call", "shop", "POST", {"path": "/nowhere", "body": BODY, "headers": {"x-card": f"{BODY}\r\n"}}),
        ],
    )


def _table(name: str, dsn: str, more: str = "") -> str:
    return (
        f"  {name}:\n    kind: database\n    dsn: {dsn}\n{more}"
        "    tables: {orders: {columns: [id, total, note], key: [id]}}\n"
        "    ddl: ['CREATE TABLE IF NOT EXISTS orders (id VARCHAR(60) PRIMARY KEY, total INTEGER NOT NULL, note"
        " VARCHAR(60) CHECK (length(note) < 50))']\n"
    )


async def _database(folder: Path, stack: AsyncExitStack) -> Case:
    server = PostgresServer()
    stack.callback(server.remove)
    server.start()
    row = {"id": BODY, "total": 1, "note": BODY}
    works, fails = [], []
    for name in ("files_db", "server_db"):
        works.append(("database_write", name, "insert", {"table": "orders", "data": row}))
        works.append(("database_read", name, "", {"table": "orders", "where": {"id": BODY}}))
        for wrong in ({}, {"total": BODY}, {"id": f"{BODY}-2", "note": BODY * 5}, {"total": None, "id": f"{BODY}-3"}):
            data = {**row, **wrong}
            fails.append(("database_write", name, "insert", {"table": "orders", "data": data}))
    fails.append(("database_write", "away_db", "insert", {"table": "orders", "data": row}))
    return Case(
        _table("files_db", "sqlite:///shop.db")
        + _table("server_db", server.dsn, "    password_env: PLANTED_DB\n")
        + _table("away_db", "postgresql://shop@127.0.0.1:1/shop", "    password_file: db-password\n"),
        {"PLANTED_DB": f"{SECRET}-database", "db-password": f"{SECRET}-database-file"},
        works,
        fails,
    )


async def _file(folder: Path, stack: AsyncExitStack) -> Case:
    return Case(
        "  files: {kind: file, root: files}\n",
        {},
        [
            ("file_operation", "files", "write", {"path": "a", "content": BODY}),
            ("file_operation", "files", "append", {"path": "b", "content": BODY}),
            ("file_operation", "files", "read", {"path": "a"}),
        ],
        [
            ("file_operation", "files", "read", {"path": "a", "format": "json"}),
            ("file_operation", "files", "write", {"path": "a/b", "content": BODY}),
            ("file_operation", "files", "write", {"path": "../x", "content": BODY}),
        ],
    )


async def _event_log(folder: Path, stack: AsyncExitStack) -> Case:
    return Case(
        "  events: {kind: event_log, path: events.jsonl}\n",
        {},
        [("message_publish", "events", "", {"event_type": "shop.sold", "data": {"card": BODY}})],
        [("message_publish", "events", "", {"event_type": "", "data": {"card": BODY}})],
    )


async def _smtp(folder: Path, stack: AsyncExitStack) -> Case:
    box = Mailbox(users={"shop": f"{SECRET}-mail"}, refused={"nobody@example.org"})
    await stack.enter_async_context(mail_server(box, tls="starttls", needs_login=True))
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / "hello.txt.j2").write_text("Subject: Hello\nDear {{ name }}\n", encoding="utf-8")
    rest = (
        f"host: 127.0.0.1, port: {box.port}, tls: starttls, ca_file: '{CA_FILE}', username: shop,\n"
        "         templates: templates, sender: shop@example.org, recipient_domains: [example.org]"
    )
    mail = {"template": "hello", "to": "a@example.org", "data": {"name": BODY}}
    return Case(
        f"  mail: {{kind: smtp, {rest}, password_env: PLANTED_MAIL}}\n"
        f"  wrong_mail: {{kind: smtp, {rest}, password_env: PLANTED_WRONG_MAIL}}\n",
        {"PLANTED_MAIL": f"{SECRET}-mail", "PLANTED_WRONG_MAIL": f"{SECRET}-wrong-mail"},
        [("notification", "mail", "", mail)],
        [
            ("notification", "wrong_mail", "", mail),
            ("notification", "mail", "", {**mail, "to": "nobody@example.org"}),
            ("notification", "mail", "", {**mail, "data": {"nothing": BODY}}),
        ],
    )


async def _apprise(folder: Path, stack: AsyncExitStack) -> Case:
    async def hook(exchange: Exchange) -> None:
        is_good = exchange.request.target.endswith("good")
        await exchange.reply(200 if is_good else 500, f"{exchange.request.target} {exchange.request.body!r}".encode())

    server = await stack.enter_async_context(HttpServer(hook))
    (folder / "notices").mkdir(exist_ok=True)
    (folder / "notices" / "hello.txt.j2").write_text("Title: Hello\nDear {{ name }}\n", encoding="utf-8")
    notice = {"template": "hello", "data": {"name": BODY}}
    return Case(
        "  chat: {kind: apprise, templates: notices, services: [{name: good, url_env: PLANTED_GOOD},"
        " {name: bad, url_env: PLANTED_BAD}, {name: away, url_env: PLANTED_AWAY}]}\n",
        {
            "PLANTED_GOOD": f"json://{SECRET}-user:{SECRET}-word@127.0.0.1:{server.port}/{SECRET}-path/good",
            "PLANTED_BAD": f"json://127.0.0.1:{server.port}/{SECRET}-path/bad",
            "PLANTED_AWAY": f"json://127.0.0.1:1/{SECRET}-path/away",
        },
        [("notification", "chat", "", {**notice, "to": "good"})],
        [("notification", "chat", "", {**notice, "to": name}) for name in ("bad", "away", "nobody")],
    )


async def _nats(folder: Path, stack: AsyncExitStack) -> Case:
    server = NatsServer(f"authorization {{ user: shop, password: {SECRET}-nats }}\n")
    stack.callback(server.remove)
    server.start()
    rest = f"servers: ['{server.url}'], username: shop, stream: SHOP, prefix: shop, create: {{}}"
    away = rest.replace(server.url, "nats://127.0.0.1:1")
    message = {"event_type": "order.sold", "data": {"card": BODY}}
    return Case(
        f"  stream: {{kind: nats, {rest}, password_env: PLANTED_NATS}}\n"
        f"  away_stream: {{kind: nats, {away}, password_env: PLANTED_AWAY}}\n",
        {"PLANTED_NATS": f"{SECRET}-nats", "PLANTED_AWAY": f"{SECRET}-away-nats"},
        [("message_publish", "stream", "", message)],
        [
            ("message_publish", "away_stream", "", message),
            ("message_publish", "stream", "", {**message, "event_type": "no > way"}),
        ],
    )


async def _redis_stream(folder: Path, stack: AsyncExitStack) -> Case:
    server = RedisServer(f"user shop on >{SECRET}-redis ~* &* +@all\n")
    stack.callback(server.remove)
    server.start()
    rest = f"host: 127.0.0.1, port: {server.port}, username: shop, stream: shop"
    message = {"event_type": "order.sold", "data": {"card": BODY}}
    return Case(
        f"  queue: {{kind: redis_stream, {rest}, password_env: PLANTED_REDIS}}\n"
        f"  wrong_queue: {{kind: redis_stream, {rest}, password_env: PLANTED_WRONG_REDIS}}\n",
        {"PLANTED_REDIS": f"{SECRET}-redis", "PLANTED_WRONG_REDIS": f"{SECRET}-wrong-redis"},
        [("message_publish", "queue", "", message)],
        [("message_publish", "wrong_queue", "", message)],
    )


async def _redis_cache(folder: Path, stack: AsyncExitStack) -> Case:
    server = RedisServer(f"user shop on >{SECRET}-cache ~* &* +@all\n")
    stack.callback(server.remove)
    server.start()
    rest = f"host: 127.0.0.1, port: {server.port}, username: shop, prefix: 'shop:'"
    write = {"key": "a", "value": {"card": BODY}}
    return Case(
        f"  cache: {{kind: redis_cache, {rest}, password_env: PLANTED_CACHE}}\n"
        f"  away_cache: {{kind: redis_cache, host: 127.0.0.1, port: 1, prefix: 'shop:', password_env: PLANTED_AWAY}}\n",
        {"PLANTED_CACHE": f"{SECRET}-cache", "PLANTED_AWAY": f"{SECRET}-away-cache"},
        [("cache_update", "cache", "set", write), ("cache_update", "cache", "get", {"key": "a"})],
        [
            ("cache_update", "away_cache", "set", write),
            ("cache_update", "cache", "hset", {"key": "a", "fields": {"card": BODY}}),
            ("cache_update", "cache", "eval", {"key": "a", "value": BODY}),
        ],
    )


async def _object_store(folder: Path, stack: AsyncExitStack) -> Case:
    server = S3Server()
    stack.callback(server.kill)
    server.start()
    server.make_bucket("shop")
    rest = f"store: s3, endpoint_url: '{server.url}', access_key_env: PLANTED_ID, secret_key_env: PLANTED_S3"
    write = {"path": "a", "content": BODY}
    return Case(
        f"  bucket: {{kind: object_store, bucket: shop, {rest}}}\n"
        f"  no_bucket: {{kind: object_store, bucket: nowhere, {rest}}}\n",
        {"PLANTED_ID": f"{SECRET}-key-id", "PLANTED_S3": f"{SECRET}-s3"},
        [("file_operation", "bucket", "write", write)],
        [("file_operation", "no_bucket", "write", write), ("file_operation", "bucket", "read", {"path": "nothing"})],
    )


CASES: Mapping[str, Callable[[Path, AsyncExitStack], object]] = {
    "http": _http,
    "database": _database,
    "file": _file,
    "event_log": _event_log,
    "smtp": _smtp,
    "apprise": _apprise,
    "nats": _nats,
    "redis_stream": _redis_stream,
    "redis_cache": _redis_cache,
    "object_store": _object_store,
}


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack, None]:
    """What the servers of a test stand on."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.mark.parametrize(
    ("kind", "log_format"), [*((kind, "json") for kind in sorted(CASES)), ("http", "console"), ("database", "console")]
)
async def test_nothing_that_is_written_holds_it(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch, kind: str, log_format: str
) -> None:
    """R11, R17, R20: effects of each kind that work and that fail; then everything that the node wrote is searched for
    the credentials, and its log and its audit file for the bodies."""
    case = await CASES[kind](tmp_path, stack)  # type: ignore[misc]  # each is a coroutine function
    assert isinstance(case, Case)
    for name, value in case.environment.items():
        if name.isupper():
            monkeypatch.setenv(name, value)
        else:
            (tmp_path / name).write_text(value, encoding="utf-8")
    targets = tmp_path / "targets.yaml"
    targets.write_text(f"audit: {{path: audit.jsonl}}\ntargets:\n{case.targets}", encoding="utf-8")
    settings = {"log_level": "debug", "log_format": log_format}
    written: dict[str, str] = {}
    async with MeshProcesses(
        tmp_path, targets=targets, orchestrators=0, computes=0, reducers=0, settings=settings
    ) as mesh:
        stub = effect_pb2_grpc.EffectServiceStub(mesh.channel("effect"))
        for number, effect in enumerate(case.works):
            await _execute(stub, f"works-{number}", *effect)
        for number, effect in enumerate(case.fails):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await _execute(stub, f"fails-{number}", *effect)
            written[f"error {number}"] = f"{failed.value.details()} {failed.value.trailing_metadata()}"
        listed = await stub.ListTargets(effect_pb2.ListTargetsRequest())
        health = await node_pb2_grpc.NodeServiceStub(mesh.channel("effect")).GetHealth(node_pb2.GetHealthRequest())
        written["listing"] = str(listed)
        written["health"] = str(health)
        (node,) = mesh.effects
        written["metrics"] = await asyncio.to_thread(_page, f"http://{node.metrics_address}/metrics")
        client = await mesh.etcd_client()
        rows, _ = await client.prefix(mesh.keys.root)
        written["etcd"] = " ".join(f"{bytes(row.key)!r} {bytes(row.value)!r}" for row in rows)
        await client.close()
        await node.stop()
        written["log"] = node.log()
    written["audit"] = (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    assert [where for where, text in written.items() if SECRET in text] == []
    assert [where for where in ("log", "audit", "listing", "health", "metrics") if BODY in written[where]] == []
    records = [json.loads(line) for line in written["audit"].splitlines()]
    assert {record["outcome"] for record in records} >= {"completed"}
    assert len([record for record in records if record["outcome"] == "completed"]) == len(case.works)


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as page:  # noqa: S310  # the node's own page
        return str(page.read().decode())


async def _execute(
    stub: effect_pb2_grpc.EffectServiceStub,
    key: str,
    effect_type: str,
    target: str,
    operation: str,
    parameters: Mapping[str, object],
) -> None:
    contract = effect_contract(effect_type, target, operation, parameters, key=key)
    contract.retry_config.max_retries = 1
    contract.retry_config.initial_backoff.FromMilliseconds(5)
    await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=40)


APP = """\
from onex_mesh.app import App

app = App("leaky")


@app.effect("leak")
async def leak(parameters: dict, context) -> str:
    credential = "planted-secret-of-the-app"
    raise RuntimeError("it did not work")
"""


async def test_local_variables_stay_where_they_are(tmp_path: Path) -> None:
    """R20: a handler's error is in the log with where it happened, and without the variables that it had."""
    (tmp_path / "leaky.py").write_text(APP, encoding="utf-8")
    async with MeshProcesses(
        tmp_path,
        app="leaky:app",
        app_dir=tmp_path,
        orchestrators=0,
        computes=0,
        reducers=0,
        settings={"log_format": "console"},
    ) as mesh:
        stub = effect_pb2_grpc.EffectServiceStub(mesh.channel("effect"))
        with pytest.raises(grpc.aio.AioRpcError, match="raised RuntimeError; the node's log has the cause"):
            await _execute(stub, "k", "leak", "app", "", {"card": BODY})
        (node,) = mesh.effects
        await node.stop()
        assert "it did not work" in node.log()
        assert SECRET not in node.log()
        assert BODY not in node.log()


def test_every_kind_is_tried() -> None:
    """R11: a kind that is added is added here, too."""
    assert set(BUILT_IN_MODELS) == set(CASES)

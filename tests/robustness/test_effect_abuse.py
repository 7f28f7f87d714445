"""A contract that tries each trick, sent over gRPC to a real node with all kinds of targets: refused with its reason
before anything is touched, counted at the servers and in the folder afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import grpc
import pytest

from onex.v1 import effect_pb2
from onex_mesh.runtime.errors import from_rpc_error
from tests.effect_engine import effect_contract
from tests.proof.apis import ApiCase
from tests.proof.brokers import NatsCase, RedisCacheCase, RedisStreamCase
from tests.proof.databases import PostgresCase, SqliteCase
from tests.proof.folders import EventLogCase
from tests.proof.notices import MailCase, NoticeCase
from tests.proof.objects import ObjectAppendCase
from tests.proof.world import CASES, ProofWorld, proof_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes on the wire."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes((length & 127 | 128,)), length >> 7
    return bytes((number << 3 | 2,)) + size + bytes((length,)) + content


def _deep_request(levels: int) -> bytes:
    """An API call whose body is so many lists in each other; the libraries of a client would not make it."""
    value = _field(3, b"x")
    for _ in range(levels):
        value = _field(6, _field(1, value))
    body = _field(1, _field(1, b"body") + _field(2, value))
    contract = effect_contract("api_call", "api_plain", "", {"method": "POST", "path": "/orders"}, key="deep")
    request = effect_pb2.ExecuteEffectRequest(contract=contract).SerializeToString()
    # A message that comes in two parts is merged.
    return request + _field(1, _field(3, _field(3, body)))


def _row(**data: object) -> dict[str, object]:
    return {"data": {"order_id": "abuse", "total": 1, **data}}


def _mail(**changes: object) -> dict[str, object]:
    return {"template": "plain", "to": "anna@customers.example", "data": {"subject": "s", "text": "t"}, **changes}


Trick = tuple[str, str, str, dict[str, object], str]
"""Target, type, operation, parameters, reason."""

INVALID = "VALIDATION_FAILED"
_DATABASE: list[Trick] = [
    (target, "database_write", operation, parameters, INVALID)
    for target in ("orders_sqlite", "orders_postgres")
    for operation, parameters in (
        ("insert", {**_row(), "table": "orders; DROP TABLE orders"}),
        ("insert", {**_row(), "table": "onex_effects"}),
        ("insert", _row(**{"total) VALUES (1); DROP TABLE orders --": 1})),
        ("update", {"data": {"total": 1}, "where": {"1=1 OR order_id": "x"}}),
        ("update", {"data": {"total": 1}}),
        ("delete", {}),
        ("DROP", {"table": "orders"}),
        ("insert", _row(total="1); DROP TABLE orders --")),
    )
]
_API: list[Trick] = [
    ("api_plain", "api_call", "", {"method": "POST", "path": "/orders", **changes}, INVALID)
    for changes in (
        {"path": "http://169.254.169.254/latest/meta-data"},
        {"path": "//169.254.169.254/orders"},
        {"path": "/orders/../admin"},
        {"path": "/orders/%2e%2e/admin"},
        {"path": "/admin"},
        {"path": "@[::1]/orders"},
        {"path": "http://2130706433/orders"},
        {"method": "DELETE"},
        {"headers": {"x-a": "b\r\nhost: elsewhere"}},
        {"headers": {"host": "elsewhere"}},
        {"path": "/orders\r\nx-a: b"},
    )
]
_FILES: list[Trick] = [
    (target, "file_operation", operation, {"path": path, "content": "x"}, INVALID)
    for target, operation in (("file_write", "write"), ("file_append", "append"), ("objects", "append"))
    for path in ("../out.txt", "/etc/out.txt", "a/../../out.txt", "a\x00b", "..", "a//../../b", "C:/../..")
    if not (target == "objects" and path == "C:/../..")
]
_FILES += [
    ("file_copy", "file_operation", "copy", {"path": "a.txt", "destination": "../out.txt"}, INVALID),
    ("file_move", "file_operation", "move", {"path": "a.txt", "destination": "/tmp/out.txt"}, INVALID),
    ("file_write", "file_operation", "write", {"path": "link/out.txt", "content": "x"}, "EFFECT_FAILED"),
    ("file_write", "file_operation", "write", {"path": ".onex-journal", "content": "x"}, INVALID),
]
_MAIL: list[Trick] = [
    ("mail", "notification", "", _mail(**changes), INVALID)
    for changes in (
        {"to": "anna@customers.example\r\nBcc: eve@elsewhere.example"},
        {"to": "anna@customers.example, eve@elsewhere.example"},
        {"data": {"subject": "s\r\nBcc: eve@elsewhere.example", "text": "t"}},
        {"template": "../plain"},
        {"template": "{{ 7 * 7 }}"},
        {"bcc": "eve@elsewhere.example"},
    )
]
_MAIL += [("notices", "notification", "", {"template": "../plain", "to": "chat", "data": {}}, INVALID)]
_MAIL += [("notices", "notification", "", {"template": "plain", "to": "json://127.0.0.1/", "data": {}}, INVALID)]
_BROKERS: list[Trick] = [
    ("nats", "message_publish", "", {"event_type": "a.b", "topic": "x.>", "data": 1}, INVALID),
    ("nats", "message_publish", "", {"event_type": "a.b", "topic": "x\r\nPUB y 1", "data": 1}, INVALID),
    ("redis_stream", "message_publish", "", {"event_type": "a\r\nb", "data": 1}, INVALID),
    ("event_log", "message_publish", "", {"event_type": "a\nb", "data": 1}, INVALID),
    ("redis_cache", "cache_update", "eval", {"key": "a", "value": "return 1"}, INVALID),
    ("redis_cache", "cache_update", "flushall", {}, INVALID),
    ("redis_cache", "cache_update", "sadd", {"key": "a\r\nFLUSHALL", "members": ["x"]}, INVALID),
]
_SIZES: list[Trick] = [
    ("redis_stream", "message_publish", "", {"event_type": "a", "data": "x" * 2_000_000}, "PAYLOAD_TOO_LARGE"),
    ("file_write", "file_operation", "write", {"path": "a", "content": "x" * 2_000_000}, "PAYLOAD_TOO_LARGE"),
    ("elsewhere", "api_call", "", {"method": "POST", "path": "/orders"}, "TARGET_NOT_FOUND"),
    ("mail", "api_call", "", {"method": "POST", "path": "/orders"}, INVALID),
]
TRICKS = (*_DATABASE, *_API, *_FILES, *_MAIL, *_BROKERS, *_SIZES)


@dataclass(slots=True)
class Seen:
    """What came of all tricks."""

    reasons: list[str] = field(default_factory=list)
    left: dict[str, object] = field(default_factory=dict)
    """What is at the targets afterwards, by name."""
    deep: str = ""
    """The status of a body that is nested too deeply."""
    missing: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All tricks, one after the other."""
    return asyncio.run(_all_tricks(tmp_path_factory.mktemp("abuse")))


async def _all_tricks(folder: Path) -> Seen:
    found = Seen()
    async with proof_world(folder, CASES, effects=1) as world:
        found.missing = world.missing
        outside = folder / "outside"
        outside.mkdir()
        (folder / "file_write/link").symlink_to(outside)
        for target, effect_type, operation, parameters, _ in TRICKS:
            if target in world.missing:
                found.reasons.append("missing")
            else:
                found.reasons.append(await _reason(world, effect_type, target, operation, parameters))
        found.deep = await _status_of_deep(world)
        assert await world.targets(world.mesh.effects[0])
        await _look(world, found.left)
        found.left["outside"] = [path.name for path in outside.iterdir()]
        found.left["stray"] = [str(path) for path in (folder / "out.txt", Path("/etc/out.txt")) if path.exists()]
    return found


async def _reason(
    world: ProofWorld, effect_type: str, target: str, operation: str, parameters: dict[str, object]
) -> str:
    contract = effect_contract(effect_type, target, operation, parameters, key="abuse")
    contract.retry_config.max_retries = 0
    stub = world.effects(world.mesh.effects[0])
    try:
        await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=30)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return "done"


async def _status_of_deep(world: ProofWorld) -> str:
    call = world.channel(world.mesh.effects[0]).unary_unary("/onex.v1.EffectService/ExecuteEffect")
    try:
        await call(_deep_request(5_000), timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def _look(world: ProofWorld, left: dict[str, object]) -> None:
    """What every target holds."""
    for case in world.cases.values():
        match case:
            case PostgresCase():
                connection = await asyncpg.connect(case.server.dsn)
                left[case.name] = await connection.fetchval("SELECT count(*) FROM orders")
                await connection.close()
            case ApiCase():
                left[case.name] = [row.target for row in case.server.requests]
            case MailCase():
                left[case.name] = case.box.mails
            case NoticeCase():
                left[case.name] = case.bodies
            case RedisStreamCase() | RedisCacheCase():
                client = case.client()
                left[case.name] = await client.dbsize()
                await client.aclose()
            case ObjectAppendCase():
                left[case.name] = await asyncio.to_thread(case.server.keys, "papers")
            case SqliteCase() | EventLogCase() | NatsCase():
                left[case.name] = await case.count("abuse")
            case _:
                folder = world.folder / case.name
                left[case.name] = [path.name for path in folder.iterdir()] if folder.exists() else []
    left["file_write"] = [path.name for path in (world.folder / "file_write").iterdir() if path.name != "link"]


@pytest.mark.parametrize(
    "number", range(len(TRICKS)), ids=[f"{row[0]}-{row[2] or row[1]}-{number}" for number, row in enumerate(TRICKS)]
)
def test_a_trick_is_refused(seen: Seen, number: int) -> None:
    """R7, R18, R154: refused with its reason."""
    target, _, _, parameters, reason = TRICKS[number]
    if target in seen.missing:
        pytest.skip(seen.missing[target])
    assert seen.reasons[number] == reason, str(parameters)[:200]


def test_a_body_that_is_nested_too_deeply(seen: Seen) -> None:
    """R18: five thousand lists in each other end the call, not the node."""
    assert seen.deep not in ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_nothing_was_done(seen: Seen) -> None:
    """R7, R18: after all of them every target is as empty as it was, and nothing lies outside the roots."""
    assert {name: what for name, what in seen.left.items() if what} == {}

"""API calls to real HTTP servers, also to those that misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    CircuitOpenError,
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import MemoryLedger, World, effect_world, intent
from tests.http_server import Exchange, HttpServer, Script, answer, in_turn
from tests.inprocess import until

JSON = {"content_type": "application/json"}


def _world(
    folder: Path, server: HttpServer | str, *, ledger: MemoryLedger | None = None, **settings: str
) -> AbstractAsyncContextManager[World]:
    url = server if isinstance(server, str) else server.url
    extra = "".join(f"\n    {name}: {value}" for name, value in settings.items())
    return effect_world(
        folder,
        f"""\
  shop:
    kind: http
    base_url: {url}/v1
    allow_private: true
    allow:
      - {{methods: [GET, HEAD], path: "/**"}}
      - {{methods: [POST, PUT, PATCH, DELETE], path: "/orders/**"}}
    headers: {{x-shop: main}}
    bearer_token_env: SHOP_TOKEN
    header_env: {{x-api-key: SHOP_KEY}}
    limits: {{timeout_s: 2, size_bytes: 4000}}
    retry: {{max_retries: 3, initial_backoff_s: 0.01, max_backoff_s: 0.02}}
    retry_after_max_s: 5{extra}
""",
        environment={"SHOP_TOKEN": "tok-secret", "SHOP_KEY": "key-secret"},
        ledger=ledger,
    )


def _post(**parameters: object) -> tuple[str, str, str, dict[str, object]]:
    return "api_call", "shop", "POST", {"path": "/orders", **parameters}


async def test_a_call_and_what_it_sends(tmp_path: Path) -> None:
    """R6, R9, R22: method, path, query, headers and body; the target's credentials, the key and the correlation id."""
    script = answer(201, b'{"id": 7, "price": 19.99}', **JSON, etag="e1")
    parameters = {
        "query": {"tag": ["a b", "c"], "dry": True},
        "headers": {"x-mine": "1"},
        "body": {"a": [1, {"b": None}]},
    }
    async with HttpServer(script) as server, _world(tmp_path, server) as world:
        context = EffectContext(correlation_id="corr ä 1")
        result = await world.result(*_post(**parameters), key="order_7", context=context)
    assert result == {
        "status": 201,
        "headers": {"content-type": "application/json", "etag": "e1"},
        "body": {"id": 7, "price": 19.99},
    }
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/orders?dry=true&tag=a+b&tag=c")
    assert json.loads(request.body) == {"a": [1, {"b": None}]}
    headers = request.headers
    assert headers["authorization"] == "Bearer tok-secret"
    assert (headers["x-api-key"], headers["x-shop"], headers["x-mine"]) == ("key-secret", "main", "1")
    assert headers["idempotency-key"] == "order_7"
    assert headers["x-correlation-id"] == "corr%20%C3%A4%201"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"hello \xc3\xa4", "text/plain; charset=utf-8", {"body": "hello ä"}),
        (b"\x00\x01", "image/png", {"body_base64": "AAE="}),
        (b"", "application/json", {"body": None}),
        (b"{broken", "application/json", {"body": "{broken"}),
        (b'{"id": 9007199254740993, "n": 0.12345678901234567890}', "application/json", {
            "body": {"id": "9007199254740993", "n": "0.12345678901234567890"}
        }),
        (b"[" * 100 + b"]" * 100, "application/json", {"body": "[" * 100 + "]" * 100}),
    ],
)  # fmt: skip
async def test_bodies_of_every_kind(tmp_path: Path, body: bytes, content_type: str, expected: object) -> None:
    """F22: JSON, text, bytes; numbers that a double cannot hold come as text, what is too deep or broken as text."""
    async with (
        HttpServer(answer(200, body, content_type=content_type)) as server,
        _world(tmp_path, server) as world,
    ):
        result = await world.result("api_call", "shop", "GET", {"path": "/x"})
        assert isinstance(result, dict)
        assert {key: value for key, value in result.items() if key.startswith("body")} == expected


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_passes_is_tried_again(tmp_path: Path, status: int) -> None:
    """R8, R15: 429, 502, 503 and 504 are temporary."""
    async with (
        HttpServer(in_turn(answer(status), answer(status), answer(200))) as server,
        _world(tmp_path, server) as world,
    ):
        output = await world.effect(*_post(), key="k")
        assert output.metadata.attempts == 3
        assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


@pytest.mark.parametrize(("method", "key", "attempts"), [("PUT", "", 2), ("POST", "k", 2), ("POST", "", 1)])
async def test_other_server_errors_only_where_a_repeat_is_safe(
    tmp_path: Path, method: str, key: str, attempts: int
) -> None:
    """R15: 500 then 200: repeated for an idempotent method or where a key was sent, otherwise raised."""
    async with HttpServer(in_turn(answer(500), answer(200))) as server, _world(tmp_path, server) as world:
        call = world.effect("api_call", "shop", method, {"path": "/orders/1"}, key=key)
        if attempts == 2:
            assert (await call).metadata.attempts == 2
        else:
            with pytest.raises(TargetUnavailableError, match="answered 500"):
                await call
        assert len(server.requests) == attempts


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
async def test_refusals_are_final(tmp_path: Path, status: int) -> None:
    """R15, R20: 4xx is EFFECT_FAILED with the status and a bounded body; credentials in it are blotted out."""
    body = b"no, tok-secret and key-secret " + b"x" * 3000
    async with HttpServer(answer(status, body)) as server, _world(tmp_path, server) as world:
        with pytest.raises(EffectFailedError, match=f"answered {status}") as failed:
            await world.effect(*_post(), key="k")
        assert len(server.requests) == 1
    context = failed.value.error_context
    assert context["status"] == status
    assert len(str(context["body"])) == 500
    assert str(context["body"]).startswith("no, *** and *** xxx")


async def test_retry_after_is_respected(tmp_path: Path) -> None:
    """R15: the server's wait is the shortest one; a longer one than the target allows ends the effect at once."""
    script = in_turn(answer(429, retry_after="1"), answer(200))
    async with HttpServer(script) as server, _world(tmp_path, server) as world:
        began = time.monotonic()
        output = await world.effect(*_post(), key="k")
        assert output.metadata.attempts == 2
        assert time.monotonic() - began >= 1.0
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1))
    for value in ("3600", later):
        async with HttpServer(answer(503, retry_after=value)) as server, _world(tmp_path, server) as world:
            with pytest.raises(TargetUnavailableError) as failed:
                await world.effect(*_post(), key="k")
            assert not failed.value.retryable
            assert float(str(failed.value.error_context["retry_after_s"])) > 3500
            assert len(server.requests) == 1


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    """R7: no answer of a server leads the node to another host."""
    async with HttpServer(answer(200)) as elsewhere:
        script = answer(302, location=f"{elsewhere.url}/stolen")
        async with HttpServer(script) as server, _world(tmp_path, server) as world:
            with pytest.raises(EffectFailedError, match="redirects are not followed"):
                await world.effect("api_call", "shop", "GET", {"path": "/x"})
        assert elsewhere.requests == []


async def test_proxies_of_the_environment_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R7: HTTP_PROXY does not decide where a call goes."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with HttpServer(answer(200)) as server, _world(tmp_path, server) as world:
        await world.effect("api_call", "shop", "GET", {"path": "/x"})
        assert len(server.requests) == 1


async def _huge(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        exchange.writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await exchange.writer.drain()


async def test_a_huge_response_is_cut_off(tmp_path: Path) -> None:
    """R154: a response without end is refused once it is larger than the target's bound."""
    async with HttpServer(_huge) as server, _world(tmp_path, server) as world:
        with pytest.raises(EffectFailedError, match="larger than 4000 bytes"):
            await world.effect("api_call", "shop", "GET", {"path": "/x"})


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _drip(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    while True:
        exchange.writer.write(b"x")
        await exchange.writer.drain()
        await asyncio.sleep(0.02)


async def _malformed(exchange: Exchange) -> None:
    exchange.writer.write(b"this is not HTTP\r\n\r\n")
    await exchange.writer.drain()


async def _reset_in_headers(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nx-y: ")
    await exchange.writer.drain()
    exchange.reset()


async def _reset_in_body(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome")
    await exchange.writer.drain()
    exchange.reset()


async def _end_in_body(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n")
    await exchange.writer.drain()
    exchange.writer.close()


async def _wrong_length(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nsome")
    await exchange.writer.drain()


async def _wrong_chunk(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nsome\r\n")
    await exchange.writer.drain()


async def _headers_without_end(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\n" + b"x-y: z\r\n" * 50_000)
    await exchange.writer.drain()


@pytest.mark.parametrize(
    "script",
    [
        _reset,
        _reset_in_headers,
        _reset_in_body,
        _end_in_body,
        _malformed,
        _wrong_length,
        _wrong_chunk,
        _headers_without_end,
        _drip,
    ],
)
async def test_broken_connections(tmp_path: Path, script: Script) -> None:
    """R15, R25: a reset, nonsense, an answer that drips for ever: temporary, repeated with a key, not without."""
    async with HttpServer(in_turn(script, answer(200))) as server, _world(tmp_path, server) as world:
        output = await world.effect(*_post(), key="k", timeout_s=0.3)
        assert output.metadata.attempts == 2
    async with HttpServer(in_turn(script, answer(200))) as server, _world(tmp_path, server) as world:
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_post(), timeout_s=0.3)
        assert not failed.value.retryable
        assert len(server.requests) == 1


async def test_a_connection_that_is_reset_at_once(tmp_path: Path) -> None:
    """R15, R25: taken and thrown away before the request was read: of unknown outcome to the node."""
    taken = 0

    async def throw_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        writer.transport.abort()

    listening = await asyncio.start_server(throw_away, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening, _world(tmp_path, url) as world:
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_post())
        assert (failed.value.retryable, taken) == (False, 1)
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_post(), key="k")
        assert (failed.value.retryable, taken) == (True, 5)


async def test_an_idle_connection_that_the_server_closed(tmp_path: Path) -> None:
    """R10, R15: is noticed before a request is sent on it, so a call without a key does not fail."""
    async with HttpServer(answer(200)) as server, _world(tmp_path, server) as world:

        async def close_after(exchange: Exchange) -> None:
            await exchange.reply(200)
            exchange.writer.close()

        server.script = close_after
        await world.effect(*_post())
        await until(lambda: server.closed == 1)
        assert (await world.effect(*_post())).metadata.attempts == 1
        assert server.connections == 2


async def test_a_server_that_is_down_opens_the_breaker_and_comes_back(tmp_path: Path) -> None:
    """R8, R24, R25: refused connections open the breaker and fail the check; a probe closes it when all is well."""
    async with HttpServer(answer(200)) as server:
        port = server.port
    breaker = "{failure_threshold: 2, recovery_s: 0.1}"
    async with _world(tmp_path, server.url, breaker=breaker) as world:
        for _ in range(2):
            with pytest.raises(TargetUnavailableError) as failed:
                await world.effect(*_post(), retries=0)
            assert failed.value.retryable
        with pytest.raises(CircuitOpenError):
            await world.effect(*_post(), retries=0)
        with pytest.raises(TargetUnavailableError, match="takes no connections"):
            await world.lanes["shop"].adapter.check()
        async with HttpServer(answer(200), port=port):
            await world.lanes["shop"].adapter.check()
            output = await world.effect(*_post(), retries=10)
            assert output.operation_result.json.struct_value["status"] == 200


async def test_the_health_path_is_asked(tmp_path: Path) -> None:
    """R24: with a health path a 5xx answer to it means unwell."""
    async with HttpServer(in_turn(answer(503), answer(404))) as server:
        async with _world(tmp_path, server, health_path="/health") as world:
            with pytest.raises(TargetUnavailableError, match="answered 503"):
                await world.lanes["shop"].adapter.check()
            await world.lanes["shop"].adapter.check()
        assert [request.target for request in server.requests] == ["/v1/health", "/v1/health"]


async def test_a_recorded_call_is_not_made_again(tmp_path: Path) -> None:
    """R9: a repeat under the same key, on another node, is answered by the ledger; the server sees one call."""
    ledger = MemoryLedger()
    async with HttpServer(answer(200, b'{"n": 1}', **JSON)) as server:
        for replayed in (False, True):
            async with _world(tmp_path, server, ledger=ledger) as world:
                output = await world.effect(*_post(), key="order_1")
                assert output.metadata.replayed == replayed
                assert output.operation_result.json.struct_value["body"]["n"] == 1
        assert len(server.requests) == 1


async def test_reads_are_cached(tmp_path: Path) -> None:
    """R23: the second GET within the ttl does not reach the server."""
    async with HttpServer(answer(200)) as server, _world(tmp_path, server) as world:
        for _ in range(2):
            await world.effect("api_call", "shop", "GET", {"path": "/x"}, cache_s=60)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("operation", "parameters", "field"),
    [
        ("GET", {"path": "http://evil.example/"}, "path"),
        ("GET", {"path": "//evil.example/"}, "path"),
        ("GET", {"path": "/../admin"}, "path"),
        ("GET", {"path": "/a/%2e%2e/admin"}, "path"),
        ("GET", {"path": "/a%2fb"}, "path"),
        ("GET", {"path": "/a\\b"}, "path"),
        ("GET", {"path": "/a%252e"}, "path"),
        ("GET", {"path": "/a?b=1"}, "path"),
        ("GET", {"path": "/a#b"}, "path"),
        ("GET", {"path": "/a@b:80 HTTP/1.1\r\nx: y"}, "path"),
        ("GET", {"path": "relative"}, "path"),
        ("POST", {"path": "/customers"}, "path"),
        ("POST", {"path": "/orders-old"}, "path"),
        ("TRACE", {"path": "/orders"}, "path"),
        ("GET", {"path": "/x", "body": 1}, "body"),
        ("GET", {"path": "/x", "headers": {"x-a": "b\r\nhost: evil"}}, "headers.'x-a'"),
        ("GET", {"path": "/x", "headers": {"x a": "b"}}, "headers.'x a'"),
        ("GET", {"path": "/x", "headers": {"Host": "evil"}}, "headers.'Host'"),
        ("GET", {"path": "/x", "headers": {"authorization": "mine"}}, "headers.'authorization'"),
        ("GET", {"path": "/x", "headers": {"X-Api-Key": "mine"}}, "headers.'X-Api-Key'"),
        ("GET", {"path": "/x", "headers": {"Transfer-Encoding": "chunked"}}, "headers.'Transfer-Encoding'"),
        ("GET", {"path": "/x", "url": "http://evil.example"}, "url"),
    ],
)
async def test_no_contract_leads_elsewhere(
    tmp_path: Path, operation: str, parameters: dict[str, object], field: str
) -> None:
    """R7, R18: other hosts, paths and methods than listed, smuggled headers: refused, the server sees nothing."""
    async with HttpServer(answer(200)) as server, _world(tmp_path, server) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect("api_call", "shop", operation, parameters)
        assert f"io_operation_config.parameters.{field}" in [path for path, _ in refused.value.violations]
        assert server.requests == []


async def test_a_body_that_is_too_large(tmp_path: Path) -> None:
    """R154: a request body beyond the bound is refused before anything is sent."""
    async with HttpServer(answer(200)) as server, _world(tmp_path, server) as world:
        with pytest.raises(PayloadTooLargeError):
            await world.effect(*_post(body="x" * 5000))
        assert server.requests == []


async def test_an_intent_calls_an_api(tmp_path: Path) -> None:
    """R74, R76: an API_CALL intent: method, path, query, headers and body in its payload."""
    async with HttpServer(answer(202)) as server, _world(tmp_path, server) as world:
        payload = {"method": "PUT", "path": "/orders/1", "query": {"v": 2}, "body": {"a": 1}}
        (result,) = await world.intents([intent("i", intent_pb2.INTENT_TYPE_API_CALL, "shop", payload)])
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED
        assert result.result.json.struct_value["status"] == 202
        (request,) = server.requests
        assert (request.method, request.target, request.body) == ("PUT", "/v1/orders/1?v=2", b'{"a": 1}')
        assert request.headers["idempotency-key"].startswith("intent-")


async def test_connections_are_pooled_and_bounded(tmp_path: Path) -> None:
    """R10, R154: many calls share the connections that the target allows."""
    open_now: set[asyncio.StreamWriter] = set()

    async def note(exchange: Exchange) -> None:
        open_now.add(exchange.writer)
        await asyncio.sleep(0.002)
        await exchange.reply(200)

    async with HttpServer(note) as server, _world(tmp_path, server) as world:
        await asyncio.gather(*(world.effect("api_call", "shop", "GET", {"path": "/x"}) for _ in range(40)))
        assert len(server.requests) == 40
    assert len(open_now) <= 8


async def test_credentials_that_are_missing_or_malformed(tmp_path: Path) -> None:
    """R17: told when the target opens, without the value."""
    text = "  t: {kind: http, base_url: 'http://h', allow: [{methods: [GET], path: /x}], bearer_token_env: T}"
    with pytest.raises(ValidationError, match="the variable T is not set"):
        async with effect_world(tmp_path, text, environment={}):
            pass
    with pytest.raises(ValidationError, match="not visible ASCII") as refused:
        async with effect_world(tmp_path, text, environment={"T": "a\r\nb"}):
            pass
    assert "a\r\n" not in str(refused.value)

"""What API calls send and what they return: routes, bodies, response mapping, traces, caches, redirects."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, TargetUnavailableError, ValidationError
from tests.effect_engine import effect_contract, intent, plain
from tests.http_server import Exchange, HttpServer, answer, in_turn
from tests.http_world import http_world

JSON = {"content_type": "application/json"}
ROUTES = """
      - {name: get_order, methods: [GET], path: "/orders/{id}", parameters: {id: {type: integer}}, query: [verbose]}
      - {name: cancel, methods: [POST], path: "/orders/{id}:cancel", content_types: [application/vnd.shop+json]}
      - {name: order, methods: [PUT, DELETE], path: "/customers/{customer}/orders/{id}"}
      - {name: upload, methods: [POST], path: /files, content_types: [image/png, text/csv]}
      - {name: search, methods: [POST], path: /search}"""


@pytest.mark.parametrize(
    ("operation", "parameters", "line"),
    [
        ("GET", {"path": "/orders/7"}, "GET /orders/7"),
        ("", {"route": "get_order", "path_parameters": {"id": 7}}, "GET /orders/7"),
        ("", {"path": "/orders/{id}", "path_parameters": {"id": "-7"}}, "GET /orders/-7"),
        ("GET", {"path": "/orders/7", "query": {"verbose": True}}, "GET /orders/7?verbose=true"),
        ("", {"route": "cancel", "path_parameters": {"id": "a b"}}, "POST /orders/a%20b:cancel"),
        (
            "PUT",
            {"route": "order", "path_parameters": {"customer": "Jürgen & Söhne?", "id": "x;y#z"}},
            "PUT /customers/J%C3%BCrgen%20%26%20S%C3%B6hne%3F/orders/x%3By%23z",
        ),
        ("delete", {"path": "/customers/c@x/orders/1"}, "DELETE /customers/c@x/orders/1"),
    ],
)
async def test_templates(tmp_path: Path, operation: str, parameters: dict[str, object], line: str) -> None:
    """R6, R7: by the route's name, its template, or a path; parameters are percent-encoded, one segment each."""
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url, allow=ROUTES) as world:
        await world.effect("api_call", "shop", operation, parameters)
        (request,) = server.requests
        assert f"{request.method} {request.target}" == line


@pytest.mark.parametrize(
    ("operation", "parameters", "field", "problem"),
    [
        ("GET", {"path": "/orders/seven"}, "path", "not allowed"),
        ("GET", {"path": "/orders/7/lines"}, "path", "not allowed"),
        ("PUT", {"path": "/orders/7"}, "path", "not allowed"),
        ("POST", {"path": "/orders/%2e%2e:cancel"}, "path", "not allowed"),
        ("GET", {"path": "/orders/7/../../admin"}, "path", "leads elsewhere"),
        ("GET", {"path": "/orders//7"}, "path", "empty segment"),
        ("GET", {"path": "/orders/..;/admin"}, "path", "leads elsewhere"),
        ("GET", {"path": "/orders/%c0%ae"}, "path", "not UTF-8"),
        ("GET", {"path": "/orders/%0d%0ax"}, "path", "control characters"),
        ("", {"route": "get_order"}, "path_parameters.id", "is required"),
        ("", {"route": "get_order", "path_parameters": {"id": "x"}}, "path_parameters.id", "not of type integer"),
        ("", {"route": "get_order", "path_parameters": {"id": 1, "z": 1}}, "path_parameters.z", "no such parameter"),
        ("", {"route": "cancel", "path_parameters": {"id": ".."}}, "path_parameters.id", "leads elsewhere"),
        ("", {"route": "cancel", "path_parameters": {"id": "a/b"}}, "path_parameters.id", "leads elsewhere"),
        ("", {"route": "cancel", "path_parameters": {"id": "%2e%2e%2f"}}, "path_parameters.id", "percent sign"),
        ("", {"route": "cancel", "path_parameters": {"id": "a\r\nHost: b"}}, "path_parameters.id", "control"),
        ("", {"route": "cancel", "path_parameters": {"id": True}}, "path_parameters.id.str", "string"),
        ("POST", {"route": "get_order", "path_parameters": {"id": 1}}, "method", "POST is not one of GET"),
        ("", {"route": "nothing"}, "route", "not allowed"),
        ("POST", {"path": "/orders/{id}", "path_parameters": {"id": 1}}, "path", "not allowed"),
        ("GET", {"path": "/orders/7", "path_parameters": {"id": 1}}, "path_parameters", "belong to"),
        ("", {"route": "get_order", "path": "/orders/7"}, "path", "either path or route"),
        ("GET", {}, "path", "either path or route"),
        ("GET", {"path": "/orders/7", "query": {"debug": 1}}, "query.'debug'", "not listed"),
        ("POST", {"path": "/search", "query": {"q": "a\r\nb"}}, "query.'q'", "line breaks"),
        ("POST", {"path": "/search", "query": {"q\n": "a"}}, "query.'q\\n'", "line breaks"),
        ("POST", {"path": "/search", "query": {"q": "x" * 9000}}, "query", "longer than"),
        ("POST", {"path": "/search", "headers": {"traceparent": "x"}}, "headers.'traceparent'", "set by the node"),
        ("POST", {"path": "/search", "headers": {"Content-Length": "9"}}, "headers.'Content-Length'", "set by"),
        ("POST", {"path": "/search", "headers": {"Content-Type": "a/b"}}, "headers.'Content-Type'", "set by"),
        ("POST", {"path": "/search", "headers": {"X-Original-URL": "/x"}}, "headers.'X-Original-URL'", "set by"),
        ("POST", {"path": "/search", "headers": {"Idempotency-Key": "k"}}, "headers.'Idempotency-Key'", "set by"),
        ("POST", {"path": "/search", "headers": {"x-a": "1", "X-A": "2"}}, "headers.'x-a'", "given twice"),
        ("POST", {"path": "/search", "headers": {"x-a": "b\nc"}}, "headers.'x-a'", "line breaks"),
        ("POST", {"path": "/search", "headers": {"x-a": " b"}}, "headers.'x-a'", "blanks around"),
        ("POST", {"path": "/search", "headers": {"x-a:b\r\nc": "d"}}, "headers.'x-a:b\\r\\nc'", "not a header"),
        ("POST", {"path": "/search", "body": 1, "form": {}}, "body", "given more than once: body, form"),
        ("POST", {"path": "/search", "content_type": "application/xml"}, "content_type", "without a body"),
        ("POST", {"path": "/search", "body": 1, "content_type": "a/b\r\nx: y"}, "content_type", "not a media type"),
        ("POST", {"path": "/search", "body": 1, "content_type": "text/xml"}, "content_type", "is not JSON"),
        ("POST", {"path": "/search", "form": {"a": 1}, "content_type": "text/xml"}, "content_type", "a form is"),
        ("POST", {"path": "/search", "body_base64": "%%"}, "body_base64", "is not Base64"),
        ("POST", {"path": "/files", "body": {"a": 1}}, "content_type", "is not one of image/png, text/csv"),
        ("GET", {"path": "/orders/7", "form": {"a": 1}}, "body", "GET has none"),
        ("POST", {"path": "/search", "response": {"result": "a"}}, "response", "not a JSON pointer"),
        ("POST", {"path": "/search", "response": {"headers": ["Set-Cookie"]}}, "response.headers", "belongs to"),
    ],
)  # fmt: skip
async def test_what_is_refused(
    tmp_path: Path, operation: str, parameters: dict[str, object], field: str, problem: str
) -> None:
    """R7, R18: each with its field and its reason, and nothing is sent."""
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url, allow=ROUTES) as world:
        with pytest.raises(ValidationError, match=problem) as refused:
            await world.effect("api_call", "shop", operation, parameters)
        assert server.connections == 0
    fields = [path.removeprefix("io_operation_config.parameters.") for path, _ in refused.value.violations]
    assert [path for path in fields if path == field or path.startswith(f"{field}.")] != []


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value} if levels % 2 else [value]
    return value


async def test_deep_bodies(tmp_path: Path) -> None:
    """R154: a body that is nested too deep is refused, one at the bound is sent."""
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url) as world:
        await world.effect("api_call", "shop", "POST", {"path": "/x", "body": _nested(45)})
        assert len(server.requests) == 1
        intents = [intent("deep", intent_pb2.INTENT_TYPE_API_CALL, "shop", {"method": "POST", "path": "/x"})]
        level = intents[0].payload
        for _ in range(70):
            level = level.get_or_create_struct("body" if level is intents[0].payload else "a")
        (result,) = await world.intents(intents)
        assert result.error.reason == "VALIDATION_FAILED"
        assert "deep" in result.error.message
        assert len(server.requests) == 1


async def test_deep_answers(tmp_path: Path) -> None:
    """R154: an answer that is nested without end comes as text; as the source of a result it is refused."""
    body = b"[" * 100_000
    async with HttpServer(answer(200, body, **JSON)) as server, http_world(tmp_path, server.url) as world:
        result = await world.result("api_call", "shop", "GET", {"path": "/x"})
        assert isinstance(result, dict)
        assert result["body"] == body.decode()
        with pytest.raises(EffectFailedError, match="is not JSON"):
            await world.effect("api_call", "shop", "GET", {"path": "/x", "response": {"result": "/0"}})


async def test_bodies(tmp_path: Path) -> None:
    """R6: JSON, a form, bytes from the parameters or beside them; each with its type."""
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url, allow=ROUTES) as world:
        form = {"b": ["1 2", "ä&"], "a": True, "none": None}
        await world.effect("api_call", "shop", "POST", {"path": "/search", "form": form})
        png = {"path": "/files", "content_type": "image/png", "body_base64": base64.b64encode(b"\x89PNG").decode()}
        await world.effect("api_call", "shop", "POST", png)
        cancel = {"path": "/orders/7:cancel", "content_type": "application/vnd.shop+json", "body": {"why": "late"}}
        await world.effect("api_call", "shop", "POST", cancel)
        contract = effect_contract("api_call", "shop", "POST", {"path": "/files", "content_type": "text/csv"})
        contract.io_operation_config.body.data = b"a,b\r\n1,2\r\n"
        await world.executor.effect(contract, EffectContext())
        await world.effect("api_call", "shop", "POST", {"path": "/search"})
        assert [(request.headers.get("content-type"), request.body) for request in server.requests] == [
            ("application/x-www-form-urlencoded", b"a=true&b=1+2&b=%C3%A4%26"),
            ("image/png", b"\x89PNG"),
            ("application/vnd.shop+json", b'{"why": "late"}'),
            ("text/csv", b"a,b\r\n1,2\r\n"),
            (None, b""),
        ]


MAPPED = """
      - methods: [GET, POST]
        path: /x
        response:
          success: [200, 404]
          failure: [202]
          temporary: [409]
          result: {id: /data/0/id, note: {pointer: /note, required: false}}
          headers: [X-Total, ETag]"""


async def test_a_mapped_answer(tmp_path: Path) -> None:
    """R13: chosen fields and headers; a contract may choose others; what is missing is told."""
    body = json.dumps({"data": [{"id": 7}], "price": 9.5}).encode()
    script = answer(200, body, x_total="3", etag="e", **JSON)
    async with HttpServer(script) as server, http_world(tmp_path, server.url, allow=MAPPED) as world:
        result = await world.result("api_call", "shop", "GET", {"path": "/x"})
        assert result == {"status": 200, "headers": {"x-total": "3", "etag": "e"}, "body": {"id": 7, "note": None}}
        other = {"path": "/x", "response": {"result": "/price", "headers": []}}
        assert await world.result("api_call", "shop", "GET", other) == {"status": 200, "headers": {}, "body": 9.5}
        missing = {"path": "/x", "response": {"result": {"a": "/data/1/id"}}}
        with pytest.raises(EffectFailedError, match="has no /data/1/id"):
            await world.effect("api_call", "shop", "GET", missing)


async def test_statuses_that_are_declared(tmp_path: Path) -> None:
    """R15: a success that is no 2xx, a 2xx that is none, and one to try again even without a key."""
    script = in_turn(answer(404, b'{"data": [{"id": 0}]}', **JSON), answer(202), answer(409), answer(409), answer(200))
    async with HttpServer(script) as server, http_world(tmp_path, server.url, allow=MAPPED) as world:
        assert await world.result("api_call", "shop", "GET", {"path": "/x"}) == {
            "status": 404,
            "headers": {},
            "body": {"id": 0, "note": None},
        }
        with pytest.raises(EffectFailedError, match="answered 202"):
            await world.effect("api_call", "shop", "POST", {"path": "/x"}, key="k")
        with pytest.raises(EffectFailedError, match="is not JSON"):
            await world.effect("api_call", "shop", "POST", {"path": "/x"})
        assert len(server.requests) == 5


async def test_traces_and_correlation(tmp_path: Path) -> None:
    """R22: the trace that came with a request is continued; each attempt is a span of its own."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    script = in_turn(answer(503), answer(200))
    async with HttpServer(script) as server, http_world(tmp_path, server.url) as world:
        context = EffectContext(correlation_id="c", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
        await world.effect("api_call", "shop", "GET", {"path": "/x"}, context=context)
        sent = [request.headers["traceparent"].split("-") for request in server.requests]
        assert [(row[0], row[1], row[3]) for row in sent] == [("00", trace, "01")] * 2
        assert len({row[2] for row in sent} | {"00f067aa0ba902b7"}) == 3


async def test_what_a_contract_may_say_better(tmp_path: Path) -> None:
    """R6: the media type that it accepts, once."""
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url) as world:
        for headers in ({}, {"Accept": "text/csv", "User-Agent": "shop"}):
            await world.effect("api_call", "shop", "GET", {"path": "/x", "headers": headers})
        sent = [(request.headers["accept"], request.headers["user-agent"]) for request in server.requests]
        assert sent == [("*/*", "onex-mesh"), ("text/csv", "shop")]


async def test_calls_share_no_cookies(tmp_path: Path) -> None:
    """R7: what a server hands to one call is not sent with the next one."""
    script = answer(200, set_cookie="session=1; Path=/", www_authenticate="Basic")
    async with HttpServer(script) as server, http_world(tmp_path, server.url) as world:
        for _ in range(2):
            await world.effect("api_call", "shop", "GET", {"path": "/x"})
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]
        assert server.connections == 1


async def test_the_header_of_the_key(tmp_path: Path) -> None:
    """R9: under the name that the API gives it; reads have none."""
    settings = "idempotency_header: X-Request-Key"
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url, settings) as world:
        await world.effect("api_call", "shop", "POST", {"path": "/x"}, key="k")
        await world.effect("api_call", "shop", "GET", {"path": "/x"}, key="k")
        with pytest.raises(ValidationError, match="set by the node or by the target"):
            await world.effect("api_call", "shop", "POST", {"path": "/x", "headers": {"x-request-key": "j"}})
        assert [request.headers.get("x-request-key") for request in server.requests] == ["k", None]
        assert "idempotency-key" not in server.requests[0].headers


async def test_only_reads_are_cached(tmp_path: Path) -> None:
    """R23: GET and HEAD as long as the contract allows, each call apart; a POST is made however long that is."""
    script = in_turn(
        answer(503), *(answer(200, str(number).encode(), content_type="text/plain") for number in range(9))
    )
    async with HttpServer(script) as server, http_world(tmp_path, server.url) as world:
        with pytest.raises(TargetUnavailableError):
            await world.effect("api_call", "shop", "GET", {"path": "/x"}, cache_s=60, retries=0)
        for path, cached in (("/x", False), ("/x", True), ("/y", False)):
            output = await world.effect("api_call", "shop", "GET", {"path": path}, cache_s=60)
            assert output.metadata.from_cache == cached
        for method, path in (("HEAD", "/x"), ("POST", "/x"), ("POST", "/x")):
            output = await world.effect("api_call", "shop", method, {"path": path}, cache_s=60)
            assert not output.metadata.from_cache
        assert [request.method for request in server.requests] == ["GET", "GET", "GET", "HEAD", "POST", "POST"]


async def _bomb(exchange: Exchange) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        data = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_SYNC_FLUSH)
        exchange.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await exchange.writer.drain()
        await asyncio.sleep(0)


async def _announced(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
    await exchange.writer.drain()


@pytest.mark.parametrize("script", [_bomb, _announced])
async def test_what_would_be_too_large_is_not_read(tmp_path: Path, script: object) -> None:
    """R154: a gzip bomb, and a length that is announced; the connection is closed, not drained."""
    async with HttpServer(script) as server:  # type: ignore[arg-type]  # one of the two above
        async with http_world(tmp_path, server.url, "limits: {size_bytes: 5000, timeout_s: 30}") as world:
            with pytest.raises(EffectFailedError, match="larger than 5000 bytes"):
                await world.effect("api_call", "shop", "POST", {"path": "/x"}, key="k")
        assert len(server.requests) == 1


async def test_a_packed_answer(tmp_path: Path) -> None:
    """R13: gzip is asked for and unpacked; another encoding is refused."""
    script = in_turn(
        answer(200, gzip.compress(b'{"a": 1}'), content_encoding="gzip", **JSON),
        answer(200, b"x", content_encoding="br"),
    )
    async with HttpServer(script) as server, http_world(tmp_path, server.url) as world:
        result = plain(await world.effect("api_call", "shop", "GET", {"path": "/x"}))
        assert isinstance(result, dict)
        assert result["body"] == {"a": 1}
        with pytest.raises(TargetUnavailableError, match="'br', which was not asked for"):
            await world.effect("api_call", "shop", "POST", {"path": "/x"})
        assert server.requests[0].headers["accept-encoding"] == "gzip"
        assert len(server.requests) == 2


async def test_requests_at_the_bound(tmp_path: Path) -> None:
    """R154: one byte more is refused with nothing sent."""
    settings = "limits: {size_bytes: 100}"
    async with HttpServer(answer(200)) as server, http_world(tmp_path, server.url, settings) as world:
        body = base64.b64encode(bytes(100)).decode()
        await world.effect("api_call", "shop", "POST", {"path": "/x", "body_base64": body})
        body = base64.b64encode(bytes(101)).decode()
        with pytest.raises(PayloadTooLargeError, match="101 bytes"):
            await world.effect("api_call", "shop", "POST", {"path": "/x", "body_base64": body})
        assert len(server.requests) == 1


SAME_ORIGIN = "redirects: same_origin"


async def test_redirects_within_the_host(tmp_path: Path) -> None:
    """R7: GET follows to listed paths where the target says so; the base path and the credentials stay."""
    script = in_turn(answer(302, location="/v1/b?x=1"), answer(307, location="c"), answer(200, b"ok"))
    async with (
        HttpServer(script) as server,
        http_world(tmp_path, f"{server.url}/v1", SAME_ORIGIN, "headers: {x-shop: main}") as world,
    ):
        await world.effect("api_call", "shop", "GET", {"path": "/a", "query": {"q": 1}})
        assert [request.target for request in server.requests] == ["/v1/a?q=1", "/v1/b?x=1", "/v1/c"]
        assert {request.headers["x-shop"] for request in server.requests} == {"main"}


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("{elsewhere}/stolen", "to another host"),
        ("//{host}/stolen", "to another host"),
        ("https://127.0.0.1/v1/a", "to another host"),
        ("http://169.254.169.254/latest/meta-data", "to another host"),
        ("http://2130706433/v1/a", "to another host"),
        ("http://[::1]/v1/a", "to another host"),
        ("http://user:pass@127.0.0.1:{port}/v1/a", "to another host"),
        ("file:///etc/passwd", "to another host"),
        ("http://127.0.0.1:x/", "no URL"),
        ("/admin", "not allowed"),
        ("/v1/../admin", "not allowed"),
        ("/v1/%2e%2e/admin", "not allowed"),
        ("/v1//evil", "not allowed"),
        ("/v1/private", "not allowed"),
    ],
)
async def test_redirects_that_lead_elsewhere(tmp_path: Path, location: str, problem: str) -> None:
    """R7: another host, port or scheme, an unlisted path: refused with nothing sent there, also where redirects are
    followed."""
    allow = '[{methods: [GET], path: "/{a}", parameters: {a: {pattern: a|b}}}]'
    async with HttpServer(answer(200)) as elsewhere, HttpServer(answer(404)) as server:
        host = f"127.0.0.1:{elsewhere.port}"
        server.script = answer(302, location=location.format(elsewhere=elsewhere.url, host=host, port=server.port))
        async with http_world(tmp_path, f"{server.url}/v1", SAME_ORIGIN, allow=allow) as world:
            with pytest.raises(EffectFailedError, match=problem):
                await world.effect("api_call", "shop", "GET", {"path": "/a"})
        assert len(server.requests) == 1
        assert elsewhere.connections == 0


async def test_redirects_that_never_end_or_would_repeat(tmp_path: Path) -> None:
    """R7, R15: five at most; a POST is not sent again."""
    async with HttpServer(answer(307, location="/x")) as server, http_world(tmp_path, server.url, SAME_ORIGIN) as world:
        with pytest.raises(EffectFailedError, match="more than 5 redirects"):
            await world.effect("api_call", "shop", "GET", {"path": "/x"})
        assert len(server.requests) == 6
        with pytest.raises(EffectFailedError, match="redirects are not followed"):
            await world.effect("api_call", "shop", "POST", {"path": "/x"}, key="k")
        assert len(server.requests) == 7


async def test_a_slow_server_does_not_hold_a_slot(tmp_path: Path) -> None:
    """R154: an answer that drips byte by byte, or headers that do, end with the time of the attempt, not of a read."""

    async def drip(exchange: Exchange) -> None:
        if exchange.request.target == "/body":
            exchange.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        else:
            exchange.writer.write(b"HTTP/1.1 200 OK\r\nx-y: ")
        while True:
            exchange.writer.write(b"x")
            await exchange.writer.drain()
            await asyncio.sleep(0.02)

    settings = "limits: {timeout_s: 0.3, concurrency: 1}"
    async with HttpServer(drip) as server, http_world(tmp_path, server.url, settings) as world:
        for path in ("/body", "/head"):
            with pytest.raises(TargetUnavailableError, match=r"did not answer within 0\.3 s"):
                await world.effect("api_call", "shop", "GET", {"path": path}, retries=0)
        server.script = answer(200)
        assert (await world.effect("api_call", "shop", "GET", {"path": "/x"})).metadata.attempts == 1

"""API calls over HTTP/2, to servers that behave and to those that do not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from h2.errors import ErrorCodes

from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError
from tests.http2_server import Http2Script, Http2Server, Stream
from tests.http_server import HttpServer, answer
from tests.http_world import http_world
from tests.inprocess import until

CERTIFICATES = Path(__file__).parent / "certificates"
CA = f"tls: {{ca_file: {CERTIFICATES / 'ca.pem'}}}"
HTTP2 = "protocol: http2"
NEGOTIATE = "protocol: negotiate"


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server-key.pem")
    return context


async def _ok(stream: Stream) -> None:
    await stream.reply(200, b'{"n": 1}', content_type="application/json")


def _in_turn(*scripts: Http2Script) -> Http2Script:
    remaining = list(scripts)

    async def run(stream: Stream) -> None:
        await (remaining.pop(0) if len(remaining) > 1 else remaining[0])(stream)

    return run


@pytest.mark.parametrize("protocol", [HTTP2, NEGOTIATE])
async def test_a_call_over_tls(tmp_path: Path, protocol: str) -> None:
    """R6, R22: HTTP/2 where the server offers it; method, path, body, key and trace as over HTTP/1.1."""
    async with Http2Server(_ok, _tls()) as server, http_world(tmp_path, server.url, CA, protocol) as world:
        call = ("api_call", "shop", "POST", {"path": "/x", "query": {"q": "a b"}, "body": {"a": 1}})
        result = await world.result(*call, key="k")
        assert result == {"status": 200, "headers": {"content-type": "application/json"}, "body": {"n": 1}}
        (request,) = server.requests
        assert (request.method, request.target, request.body) == ("POST", "/x?q=a+b", b'{"a": 1}')
        assert request.headers[":authority"] == f"127.0.0.1:{server.port}"
        assert request.headers["idempotency-key"] == "k"
        assert request.headers["traceparent"].startswith("00-")
        assert not {"connection", "host", "transfer-encoding"} & request.headers.keys()


async def test_without_tls_by_prior_knowledge(tmp_path: Path) -> None:
    """R6: `http2` needs no TLS."""
    async with Http2Server(_ok) as server, http_world(tmp_path, server.url, HTTP2) as world:
        await world.effect("api_call", "shop", "GET", {"path": "/x"})
        assert len(server.requests) == 1


async def test_what_a_server_does_not_offer(tmp_path: Path) -> None:
    """R6: `negotiate` falls back to HTTP/1.1, `http2` does not; nothing was sent then."""
    async with HttpServer(answer(200), tls=_tls()) as server:
        async with http_world(tmp_path, server.url, CA, NEGOTIATE) as world:
            calls = (world.effect("api_call", "shop", "GET", {"path": "/x"}) for _ in range(5))
            outputs = await asyncio.gather(*calls)
            assert [output.metadata.attempts for output in outputs] == [1] * 5
        async with http_world(tmp_path, server.url, CA, HTTP2) as world:
            with pytest.raises(TargetUnavailableError, match="does not offer HTTP/2") as failed:
                await world.effect("api_call", "shop", "POST", {"path": "/x"}, retries=0)
            assert failed.value.retryable
        assert len(server.requests) == 5


async def test_calls_share_a_connection(tmp_path: Path) -> None:
    """R10: many calls at once, one connection."""
    together: list[Stream] = []
    everyone = asyncio.Event()

    async def wait(stream: Stream) -> None:
        together.append(stream)
        if len(together) == 8:
            everyone.set()
        await everyone.wait()
        await stream.reply(200)

    async with Http2Server(wait, _tls()) as server, http_world(tmp_path, server.url, CA, NEGOTIATE) as world:
        await asyncio.gather(*(world.effect("api_call", "shop", "GET", {"path": "/x"}) for _ in range(8)))
        assert server.connections == 1
        assert len(server.requests) == 8


async def _refuse(stream: Stream) -> None:
    await stream.reset(ErrorCodes.REFUSED_STREAM)


async def _go_away_before(stream: Stream) -> None:
    await stream.go_away(0)


async def _break(stream: Stream) -> None:
    await stream.reset(ErrorCodes.INTERNAL_ERROR)


async def _break_in_body(stream: Stream) -> None:
    await stream.begin(200)
    await stream.send(b"some")
    await stream.reset(ErrorCodes.CANCEL)


async def _go_away_after(stream: Stream) -> None:
    await stream.go_away(stream.stream_id)


async def _nonsense(stream: Stream) -> None:
    await stream.nonsense()


@pytest.mark.parametrize("script", [_refuse, _go_away_before])
async def test_requests_that_were_not_looked_at(tmp_path: Path, script: Http2Script) -> None:
    """R15: a stream that was refused, a connection that ended before it: sent again, also without a key."""
    async with Http2Server(_in_turn(script, _ok)) as server, http_world(tmp_path, server.url, HTTP2) as world:
        output = await world.effect("api_call", "shop", "POST", {"path": "/x", "body": 1})
        assert output.metadata.attempts == 2
        assert len(server.requests) == 2


@pytest.mark.parametrize("script", [_break, _break_in_body, _go_away_after, _nonsense])
async def test_what_breaks_off(tmp_path: Path, script: Http2Script) -> None:
    """R15, R25: of unknown outcome: a POST is repeated with a key, not without."""
    async with Http2Server(_in_turn(script, _ok)) as server, http_world(tmp_path, server.url, HTTP2) as world:
        assert (await world.effect("api_call", "shop", "POST", {"path": "/x"}, key="k")).metadata.attempts == 2
        assert [request.headers["idempotency-key"] for request in server.requests] == ["k", "k"]
    async with Http2Server(_in_turn(script, _ok)) as server, http_world(tmp_path, server.url, HTTP2) as world:
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect("api_call", "shop", "POST", {"path": "/x"})
        assert not failed.value.retryable
        assert len(server.requests) == 1


async def _endless(stream: Stream) -> None:
    await stream.begin(200)
    while True:
        await until(lambda: stream.window_bytes >= 1_000)
        await stream.send(bytes(1_000))
        await asyncio.sleep(0)


async def test_a_huge_answer_is_given_up(tmp_path: Path) -> None:
    """R154: the stream is reset at the bound, so the server stops, and its connection goes on with other calls."""
    script = _in_turn(_endless, _endless, _ok)
    settings = ("limits: {size_bytes: 50000, timeout_s: 30}", HTTP2)
    async with Http2Server(script) as server, http_world(tmp_path, server.url, *settings) as world:
        for _ in range(2):
            with pytest.raises(EffectFailedError, match="larger than 50000 bytes"):
                await world.effect("api_call", "shop", "GET", {"path": "/x"})
        await world.effect("api_call", "shop", "GET", {"path": "/x"})
        await until(lambda: len(server.resets) == 2)
        assert server.resets == [(1, ErrorCodes.CANCEL), (3, ErrorCodes.CANCEL)]
        assert server.connections == 1


async def test_a_call_that_takes_too_long_or_is_cancelled(tmp_path: Path) -> None:
    """R25: the server is told, other calls on the connection go on, and new ones take another: it may be dead."""
    silent = asyncio.Event()

    async def script(stream: Stream) -> None:
        if stream.request.target != "/quick":
            await silent.wait()
        await stream.reply(200)

    async with Http2Server(script) as server, http_world(tmp_path, server.url, HTTP2) as world:
        other = asyncio.create_task(world.effect("api_call", "shop", "GET", {"path": "/other"}))
        await until(lambda: len(server.requests) == 1)
        with pytest.raises(TargetUnavailableError, match="did not answer"):
            await world.effect("api_call", "shop", "POST", {"path": "/slow"}, timeout_s=0.2)
        await until(lambda: len(server.resets) == 1)
        cancelled = asyncio.create_task(world.effect("api_call", "shop", "POST", {"path": "/cancelled"}))
        await until(lambda: len(server.requests) == 3)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await until(lambda: len(server.resets) == 2)
        await world.effect("api_call", "shop", "GET", {"path": "/quick"})
        silent.set()
        assert (await other).metadata.attempts == 1
        assert [code for _, code in server.resets] == [ErrorCodes.CANCEL] * 2
        assert server.connections == 3

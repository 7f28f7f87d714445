"""Object stores that are down, slow, overloaded, forbidding, or that lack what an operation needs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from onex_mesh.runtime.errors import (
    EffectFailedError,
    OnexError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import World, effect_world
from tests.http_server import Exchange, HttpServer, Script, answer, in_turn
from tests.inprocess import until
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

_ENVIRONMENT = {**os.environ, "S3_KEY": ACCESS_KEY, "S3_SECRET": SECRET_KEY}
_KEYS = "access_key_env: S3_KEY, secret_key_env: S3_SECRET"


@pytest.fixture
def own_s3() -> Generator[S3Server, None, None]:
    """A server that the test may stop."""
    server = S3Server()
    server.start()
    server.make_bucket("bucket")
    yield server
    server.kill()


def _world(folder: Path, url: str, more: str = "") -> AbstractAsyncContextManager[World]:
    limits = "limits: {size_bytes: 2000, timeout_s: 10}"
    return effect_world(
        folder,
        f"  objects: {{kind: object_store, store: s3, bucket: bucket, endpoint_url: '{url}', {limits}, {_KEYS}{more}}}",
        environment=_ENVIRONMENT,
    )


def _error(status: int, code: str, **headers: str) -> Script:
    """An answer as S3 gives it; the text says what no caller should see."""
    text = f"<Error><Code>{code}</Code><Message>{SECRET_KEY}</Message></Error>"

    async def run(exchange: Exchange) -> None:
        # The client looks for the bucket's region with HEAD, whose answers have no body.
        body = b"" if exchange.request.method == "HEAD" else text.encode()
        await exchange.reply(status, body, content_type="application/xml", **headers)

    return run


def _put(**parameters: object) -> dict[str, object]:
    return {"path": "a", "content": "x", **parameters}


async def _effect(
    world: World,
    operation: str,
    parameters: dict[str, object],
    *,
    key: str = "",
    retries: int = 0,
    timeout_s: float = 0.0,
) -> int:
    """The number of attempts that it took."""
    output = await world.effect(
        "file_operation", "objects", operation, parameters, key=key, retries=retries, timeout_s=timeout_s
    )
    return output.metadata.attempts


async def test_a_server_that_is_down_and_back(tmp_path: Path, own_s3: S3Server) -> None:
    """R19, R24: refused connections are temporary and the target is unwell; once it is back, everything works again."""
    async with _world(tmp_path, own_s3.url) as world:
        await _effect(world, "write", _put())
        await world.lanes["objects"].adapter.check()
        own_s3.kill()
        for operation, parameters in (("write", _put()), ("append", _put()), ("read", {"path": "a"})):
            with pytest.raises(TargetUnavailableError, match="'objects' cannot be reached") as failed:
                await _effect(world, operation, parameters)
            assert failed.value.retryable
        with pytest.raises(TargetUnavailableError):
            await world.lanes["objects"].adapter.check()
        own_s3.start()
        own_s3.make_bucket("bucket")
        await world.lanes["objects"].adapter.check()
        await _effect(world, "append", _put())
        assert own_s3.get("bucket", "a").content == b"x"


async def test_a_server_that_stands_still(tmp_path: Path, own_s3: S3Server) -> None:
    """R15, R19: the contract's timeout ends the call; meanwhile the node goes on."""
    async with _world(tmp_path, own_s3.url) as world:
        await _effect(world, "write", _put())
        own_s3.pause()
        waiting = asyncio.ensure_future(_effect(world, "write", _put(content="y"), timeout_s=0.3))
        ticks = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 3
        with pytest.raises(TargetUnavailableError, match=r"did not answer within 0\.3 s"):
            await waiting
        own_s3.resume()
        assert await world.result("file_operation", "objects", "read", {"path": "a"}) in ("x", "y")


async def test_cancellation_reaches_the_connection(tmp_path: Path) -> None:
    """R15: who gives up leaves no request behind: the connection is closed while the server still works on it."""

    async def hang(exchange: Exchange) -> None:
        # Until the connection ends.
        await exchange.writer.drain()

    async with HttpServer(hang) as server, _world(tmp_path, server.url) as world:
        waiting = asyncio.ensure_future(_effect(world, "read", {"path": "a"}))
        await until(lambda: bool(server.requests))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: server.closed == 1)


@pytest.mark.parametrize(
    "overloaded",
    [
        _error(503, "SlowDown"),
        _error(503, "ServiceUnavailable", retry_after="0"),
        _error(429, "TooManyRequests"),
        answer(503),
    ],
)
async def test_an_overloaded_store_is_asked_again(tmp_path: Path, overloaded: Script) -> None:
    """R14, R19: SlowDown and its like are temporary for every operation, key or not: nothing was done."""
    script = in_turn(overloaded, overloaded, answer(200, ETag='"1"'))
    async with HttpServer(script) as server, _world(tmp_path, server.url) as world:
        assert await _effect(world, "write", _put(), retries=3) == 3
        assert [request.method for request in server.requests] == ["PUT", "PUT", "PUT"]


async def test_an_unknown_outcome(tmp_path: Path) -> None:
    """R14: after a 500 or a reset only what may be done twice, or has a key, is tried again."""

    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    absent = _error(404, "NoSuchKey")
    for broken in (_error(500, "InternalError"), reset):
        async with HttpServer(broken) as server, _world(tmp_path, server.url) as world:
            for operation, parameters in (("read", {"path": "a"}), ("write", _put()), ("delete", {"path": "a"})):
                with pytest.raises(TargetUnavailableError) as failed:
                    await _effect(world, operation, parameters)
                assert failed.value.retryable, operation
        # The probe of conditions, the read of what is there, then the put that breaks.
        proven = (
            answer(200),
            _error(412, "PreconditionFailed"),
            _error(412, "PreconditionFailed"),
            answer(204),
            absent,
        )
        for key in ("", "k1"):
            async with HttpServer(in_turn(*proven, broken)) as server, _world(tmp_path, server.url) as world:
                with pytest.raises(TargetUnavailableError) as failed:
                    await _effect(world, "append", _put(), key=key)
                assert failed.value.retryable == bool(key)


@pytest.mark.parametrize(
    ("refusal", "problem"),
    [
        (_error(403, "AccessDenied"), "access is denied .AccessDenied."),
        (_error(403, "InvalidAccessKeyId"), "access is denied .InvalidAccessKeyId."),
        (_error(403, "SignatureDoesNotMatch"), "access is denied .SignatureDoesNotMatch."),
        (_error(400, "ExpiredToken"), "access is denied .ExpiredToken."),
        (_error(404, "NoSuchBucket"), "its bucket does not exist"),
        (_error(400, "InvalidArgument"), "the request was refused: InvalidArgument"),
        (_error(501, "NotImplemented"), "does not offer what this needs: NotImplemented"),
        (_error(301, "PermanentRedirect"), "in another region, or at another endpoint"),
        (_error(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"), "in another region"),
        (answer(307, location="http://127.0.0.1:9/elsewhere"), "in another region, or at another endpoint"),
        (_error(307, "TemporaryRedirect", location="http://127.0.0.1:9/elsewhere"), "in another region"),
    ],
)
async def test_what_is_refused_for_good(tmp_path: Path, refusal: Script, problem: str) -> None:
    """R20, R17: a refusal fails the effect at once and says why, with the server's code and never with its text."""
    async with HttpServer(refusal) as server, _world(tmp_path, server.url) as world:
        for operation, parameters in (("read", {"path": "a"}), ("write", _put()), ("list", {"path": ""})):
            with pytest.raises(EffectFailedError, match=problem) as failed:
                await _effect(world, operation, parameters, retries=3)
            assert not failed.value.retryable
            assert SECRET_KEY not in str(failed.value.error_context) + failed.value.message
            assert ACCESS_KEY not in str(failed.value.error_context) + failed.value.message
        with pytest.raises(EffectFailedError):
            await world.lanes["objects"].adapter.check()
        assert {request.headers["host"] for request in server.requests} == {server.url.removeprefix("http://")}


async def test_a_bucket_that_is_not_there(tmp_path: Path, own_s3: S3Server) -> None:
    """R20, R24: no operation makes a bucket, each says that there is none; so does the check."""
    targets = f"  objects: {{kind: object_store, store: s3, bucket: nowhere, endpoint_url: '{own_s3.url}', {_KEYS}}}"
    async with effect_world(tmp_path, targets, environment=_ENVIRONMENT) as world:
        for operation, parameters in (
            ("read", {"path": "a"}),
            ("write", _put()),
            ("append", _put()),
            ("delete", {"path": "a"}),
            ("list", {"path": ""}),
            ("copy", {"path": "a", "destination": "b"}),
        ):
            with pytest.raises(EffectFailedError, match="its bucket does not exist"):
                await _effect(world, operation, parameters)
        with pytest.raises(EffectFailedError, match="its bucket does not exist"):
            await world.lanes["objects"].adapter.check()


async def test_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    """R9: a store that lets a conditional put pass is found out; what needs one is refused with that reason."""
    async with HttpServer(answer(200, ETag='"1"')) as server, _world(tmp_path, server.url) as world:
        for operation, parameters in (
            ("append", _put()),
            ("write", _put(overwrite=False)),
            ("copy", {"path": "a", "destination": "b"}),
            ("move", {"path": "a", "destination": "b"}),
        ):
            with pytest.raises(EffectFailedError, match="has no conditional puts"):
                await _effect(world, operation, parameters)
        # Nothing was put but the probe, and that was removed.
        assert {request.target.partition("?")[0].rpartition("-")[0] for request in server.requests} == {
            "/bucket/.onex-probe"
        }
        assert [request.method for request in server.requests] == ["PUT", "PUT", "DELETE"] * 4
        await _effect(world, "write", _put())


async def test_a_store_that_is_said_to_have_none(tmp_path: Path, own_s3: S3Server) -> None:
    """R9: with `conditional_writes: false` the same is refused without asking the store."""
    async with _world(tmp_path, own_s3.url, ", conditional_writes: false") as world:
        await _effect(world, "write", _put())
        asked = own_s3.asked()
        for operation, parameters in (("append", _put()), ("copy", {"path": "a", "destination": "b"})):
            with pytest.raises(EffectFailedError, match="has no conditional puts"):
                await _effect(world, operation, parameters)
        assert own_s3.asked() == asked
        await _effect(world, "move", {"path": "a", "destination": "b", "overwrite": True})
        assert own_s3.keys("bucket") == ["b"]


async def test_a_server_that_does_not_speak_s3(tmp_path: Path) -> None:
    """R20: answers without what S3 promises, or that are not its XML, fail the effect and say so."""
    async with HttpServer(answer(200, b"<html>hello")) as server, _world(tmp_path, server.url) as world:
        with pytest.raises(EffectFailedError, match="it does not speak S3"):
            await _effect(world, "read", {"path": "a"})
        with pytest.raises(TargetUnavailableError, match=r"'objects' answered 500$"):
            await _effect(world, "list", {"path": ""})


async def test_content_that_is_too_large_or_too_short(tmp_path: Path) -> None:
    """R154: an object that is larger than it may be is not read; one that ends early is tried again."""

    async def short(exchange: Exchange) -> None:
        exchange.writer.write(b'HTTP/1.1 200 X\r\ncontent-length: 100\r\netag: "1"\r\n\r\nhalf')
        await exchange.writer.drain()
        exchange.writer.close()

    async with HttpServer(answer(200, b"x" * 2001, etag='"1"')) as server, _world(tmp_path, server.url) as world:
        for operation, parameters in (
            ("read", {"path": "a"}),
            ("copy", {"path": "a", "destination": "b", "overwrite": True}),
        ):
            with pytest.raises(PayloadTooLargeError):
                await _effect(world, operation, parameters)
    script = in_turn(short, answer(200, b"whole", etag='"1"'))
    async with HttpServer(script) as server, _world(tmp_path, server.url) as world:
        assert await _effect(world, "read", {"path": "a"}, retries=1) == 2


async def test_the_environment_does_not_decide(
    tmp_path: Path, own_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17: neither a proxy nor an endpoint nor credentials out of the node's environment are used."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    async with _world(tmp_path, own_s3.url) as world:
        await _effect(world, "write", _put())
    async with HttpServer(answer(200)) as server:
        async with _world(tmp_path, server.url) as world:
            await _effect(world, "write", _put())
        anonymous = f"  objects: {{kind: object_store, store: s3, bucket: bucket, endpoint_url: '{server.url}'"
        async with effect_world(tmp_path, f"{anonymous}, credentials: anonymous}}") as world:
            await _effect(world, "write", _put())
        async with effect_world(tmp_path, f"{anonymous}, credentials: chain}}") as world:
            await _effect(world, "write", _put())
        signed = [request.headers.get("authorization", "") for request in server.requests]
        assert [f"Credential={name}/" in row for name, row in zip((ACCESS_KEY, "", "other"), signed, strict=True)] == [
            True,
            False,
            True,
        ]
        assert signed[1] == ""


async def test_addressing_and_region(tmp_path: Path) -> None:
    """R17: the bucket stands in the path or in the name of the host, as declared; the region is signed."""
    async with HttpServer(answer(200)) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        for style, host, target in (
            ("auto", f"localhost:{server.port}", "/bucket/a"),
            ("path", f"localhost:{server.port}", "/bucket/a"),
            ("virtual", f"bucket.localhost:{server.port}", "/a"),
        ):
            server.requests.clear()
            async with _world(tmp_path, url, f", addressing_style: {style}, region: eu-west-3") as world:
                try:
                    await _effect(world, "write", _put())
                except OnexError:
                    # Not every machine resolves names below localhost.
                    assert style == "virtual"
                    continue
            (request,) = server.requests
            assert (request.headers["host"], request.target) == (host, target)
            assert "/eu-west-3/s3/" in request.headers["authorization"]
            assert "x-amz-checksum-sha256" in request.headers


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("access_key_env: S3_KEY, secret_key_env: NOT_SET", "the variable NOT_SET is not set"),
        ("access_key_file: absent, secret_key_env: S3_SECRET", "absent cannot be read"),
        (f"{_KEYS}, ca_file: absent.pem", "absent.pem is not a file"),
    ],
)
async def test_credentials_that_are_missing(tmp_path: Path, fields: str, problem: str) -> None:
    """R17: told at the start, with the name of what is missing."""
    with pytest.raises(ValidationError, match=problem):
        async with effect_world(
            tmp_path,
            f"  objects: {{kind: object_store, store: s3, bucket: bucket, {fields}}}",
            environment=_ENVIRONMENT,
        ):
            pass


async def test_credentials_of_files(tmp_path: Path) -> None:
    """R17: keys and a session token may stand in files; they are sent as S3 wants them and shown nowhere."""
    for name, text in (("id", "file-key"), ("secret", "file-secret"), ("token", "file-token")):
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    async with HttpServer(answer(200)) as server:
        targets = (
            f"  objects: {{kind: object_store, store: s3, bucket: bucket, endpoint_url: '{server.url}',"
            " access_key_file: id, secret_key_file: secret, session_token_file: token}"
        )
        async with effect_world(tmp_path, targets) as world:
            await _effect(world, "write", _put())
        (request,) = server.requests
        assert "Credential=file-key/" in request.headers["authorization"]
        assert request.headers["x-amz-security-token"] == "file-token"
        assert "file-secret" not in str(request.headers)


@pytest.mark.parametrize(
    ("store", "module"), [(f"s3, bucket: bucket, {_KEYS}", "s3fs"), ("memory, bucket: bucket", "fsspec")]
)
async def test_a_library_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, module: str
) -> None:
    """R17: the error names the extra that brings it."""
    for name in list(sys.modules):
        if name.startswith("onex_mesh.effect.adapters.objects."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValidationError, match=r"install onex-mesh\[objects\]"):
        async with effect_world(tmp_path, f"  objects: {{kind: object_store, store: {store}}}"):
            pass

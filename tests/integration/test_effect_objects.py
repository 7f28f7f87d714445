"""File operations on object stores: moto's S3 server, and memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from onex.v1 import common_pb2, intent_pb2
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    ValidationError,
)
from tests.effect_engine import MemoryLedger, World, effect_contract, effect_world, intent
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

_ENVIRONMENT = {**os.environ, "S3_KEY": ACCESS_KEY, "S3_SECRET": SECRET_KEY}


@pytest.fixture(scope="session")
def s3() -> Generator[S3Server, None, None]:
    """A server for the tests that leave it as it is; each has a bucket of its own."""
    server = S3Server()
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The declaration of a store with an empty bucket."""
    bucket = "b-" + tmp_path.name.replace("_", "-").lower()[-40:].strip("-")
    if request.param == "memory":
        return f"store: memory, bucket: {bucket}"
    server = request.getfixturevalue("s3")
    server.make_bucket(bucket)
    return _s3(server, bucket)


def _s3(server: S3Server, bucket: str) -> str:
    keys = "access_key_env: S3_KEY, secret_key_env: S3_SECRET"
    return f"store: s3, bucket: {bucket}, endpoint_url: '{server.url}', {keys}"


def _world(
    folder: Path, store: str, more: str = "", ledger: MemoryLedger | None = None
) -> AbstractAsyncContextManager[World]:
    limits = "limits: {size_bytes: 2000, timeout_s: 20}"
    return effect_world(
        folder,
        f"  objects: {{kind: object_store, prefix: shop/in, {limits}, {store}{more}}}",
        environment=_ENVIRONMENT,
        ledger=ledger,
    )


async def _do(world: World, operation: str, path: str, key: str = "", **parameters: object) -> object:
    return await world.result("file_operation", "objects", operation, {"path": path, **parameters}, key=key)


async def _replayed(world: World, operation: str, key: str, **parameters: object) -> bool:
    output = await world.effect("file_operation", "objects", operation, parameters, key=key)
    return output.metadata.replayed


async def _all(world: World) -> dict[str, object]:
    """Every object that can be named, and its text."""
    page = await _do(world, "list", "", recursive=True)
    assert isinstance(page, dict)
    return {row["name"]: await _do(world, "read", row["name"]) for row in page["entries"]}


async def test_the_operations(tmp_path: Path, store: str) -> None:
    """R6: what each operation returns, and what is there afterwards."""
    async with _world(tmp_path, store) as world:
        assert await _do(world, "write", "a/hello.txt", content="grüße") == {"path": "a/hello.txt", "size_bytes": 7}
        assert await _do(world, "read", "a/hello.txt") == "grüße"
        assert await _do(world, "append", "a/hello.txt", content="!") == {"path": "a/hello.txt", "appended_bytes": 1}
        assert await _do(world, "append", "log", content="x") == {"path": "log", "appended_bytes": 1}
        await _do(world, "write", "a/n.json", content={"b": [1, None], "a": "x"})
        assert await _do(world, "read", "a/n.json", format="json") == {"a": "x", "b": [1, None]}
        assert await _do(world, "copy", "log", destination="a/log 2") == {
            "path": "log",
            "destination": "a/log 2",
            "size_bytes": 1,
        }
        await _do(world, "move", "log", destination="z")
        assert await _all(world) == {
            "a/hello.txt": "grüße!",
            "a/log 2": "x",
            "a/n.json": '{"a": "x", "b": [1, null]}',
            "z": "x",
        }
        assert await _do(world, "delete", "z") == {"path": "z", "deleted": True}
        assert await _do(world, "delete", "z") == {"path": "z", "deleted": False}
        for operation, parameters in (("read", {}), ("copy", {"destination": "b"}), ("move", {"destination": "b"})):
            with pytest.raises(EffectFailedError, match="'z': there is no such object"):
                await _do(world, operation, "z", **parameters)


async def test_parts_and_sizes(tmp_path: Path, store: str) -> None:
    """R6, R154: parts are read by offset and length; what is larger than the target takes is neither put nor read."""
    async with _world(tmp_path, store) as world:
        await _do(world, "write", "f", content="0123456789" * 150)
        assert await _do(world, "read", "f", offset=8, length=4) == "8901"
        assert await _do(world, "read", "f", offset=1498, length=100, format="bytes") == b"89"
        assert await _do(world, "read", "f", offset=1500) == ""
        assert await _do(world, "read", "f", length=0) == ""
        for offset, length in ((0, 0), (5, 5)):
            with pytest.raises(EffectFailedError, match="there is no such object"):
                await _do(world, "read", "absent", offset=offset, length=length)
        with pytest.raises(PayloadTooLargeError):
            await _do(world, "append", "f", content="x" * 501)
        with pytest.raises(PayloadTooLargeError):
            await _do(world, "write", "f", content="x" * 2001)
        assert await _do(world, "read", "f") == "0123456789" * 150


async def test_pages(tmp_path: Path, store: str) -> None:
    """R6, R154: pages as for folders; together they are all, once."""
    names = ["a.csv", "b.csv", "b/1.txt", "b/2.csv", "b/c/3.csv", "z", "ä"]
    async with _world(tmp_path, store) as world:
        for name in names:
            await _do(world, "write", name, content="x")

        async def listed(path: str = "", **parameters: object) -> tuple[list[str], str]:
            page = await _do(world, "list", path, **parameters)
            assert isinstance(page, dict)
            return [row["name"] for row in page["entries"]], page.get("next", "")

        flat = ["a.csv", "b.csv", "b", "z", "ä"]
        assert await listed() == (flat, "")
        assert await listed("b", recursive=True) == (["1.txt", "2.csv", "c/3.csv"], "")
        assert await listed("b") == (["1.txt", "2.csv", "c"], "")
        assert await listed(recursive=True, glob="[0-9].csv") == (["b/2.csv", "b/c/3.csv"], "")
        assert await listed("nowhere") == ([], "")
        for recursive, wanted in ((True, names), (False, flat)):
            for limit in range(1, 8):
                found, after = await listed(recursive=recursive, limit=limit)
                while after:
                    page, after = await listed(recursive=recursive, limit=limit, after=after)
                    assert 0 < len(page) <= limit
                    found += page
                assert found == wanted
        page = await _do(world, "list", "", limit=1)
        assert isinstance(page, dict)
        assert page["entries"][0]["size_bytes"] == 1
        assert page["entries"][0]["modified_at_s"] > 1_700_000_000


async def test_nothing_is_overwritten_unless_asked(tmp_path: Path, store: str) -> None:
    """R18: what is at the destination stays, and the effect fails with that reason; `overwrite` replaces it."""
    async with _world(tmp_path, store) as world:
        await _do(world, "write", "a", content="new")
        await _do(world, "write", "b", content="old")
        for key in ("", "k1"):
            for operation in ("copy", "move"):
                with pytest.raises(EffectFailedError, match="'b' exists already, and overwrite is not set"):
                    await _do(world, operation, "a", key, destination="b")
            with pytest.raises(EffectFailedError, match="'b' exists already"):
                await _do(world, "write", "b", key, content="new", overwrite=False)
        assert await _all(world) == {"a": "new", "b": "old"}
        await _do(world, "copy", "a", destination="b", overwrite=True)
        assert await _all(world) == {"a": "new", "b": "new"}
        await _do(world, "write", "a", content="newer")
        await _do(world, "move", "a", destination="b", overwrite=True)
        assert await _all(world) == {"b": "newer"}


async def test_once_per_key(tmp_path: Path, store: str) -> None:
    """R9: a repeat under its key is told as such, by the object itself and without the ledger, and changes nothing."""
    async with _world(tmp_path, store) as one, _world(tmp_path, store) as two:
        steps: list[tuple[str, dict[str, object]]] = [
            ("write", {"path": "a", "content": "1", "overwrite": False}),
            ("append", {"path": "a", "content": "2"}),
            ("copy", {"path": "a", "destination": "b"}),
            ("move", {"path": "b", "destination": "c"}),
        ]
        for number, (operation, parameters) in enumerate(steps):
            assert not await _replayed(one, operation, f"k{number}", **parameters)
            assert await _replayed(one, operation, f"k{number}", **parameters)
            assert await _replayed(two, operation, f"k{number}", **parameters)
        assert await _all(one) == {"a": "12", "c": "12"}
        # What others append does not hide who put it.
        await _do(two, "append", "c", "k9", content="3")
        assert await _replayed(two, "move", "k3", path="b", destination="c")
        assert await _all(one) == {"a": "12", "c": "123"}


async def test_two_nodes_at_once_under_one_key(tmp_path: Path, store: str) -> None:
    """R9: two nodes that are handed the same intent have its effect once, also without a ledger between them."""
    async with _world(tmp_path, store) as one, _world(tmp_path, store) as two:
        for number, operation in enumerate(["append", "copy", "move"] * 3):
            path, to = f"a{number}", f"b{number}"
            await _do(one, "write", path, content="x")
            more = {"content": "y"} if operation == "append" else {"destination": to}
            payload = {"operation": operation, "path": path, **more}
            message = intent("i", intent_pb2.INTENT_TYPE_FILE_OPERATION, "objects", payload, key=f"k{number}")
            results = await asyncio.gather(one.intents([message]), two.intents([message]))
            rows = [row for batch in results for row in batch]
            assert [row.HasField("error") for row in rows] == [False, False]
            assert sorted(row.replayed for row in rows) == [False, True]
            there = {"append": {path: "xy"}, "copy": {path: "x", to: "x"}, "move": {to: "x"}}[operation]
            found = await _all(one)
            assert {name: text for name, text in found.items() if name in (path, to)} == there


async def test_appends_of_many_at_once(tmp_path: Path, store: str) -> None:
    """R9: appends of two nodes to one object: none is lost, none is there twice."""
    async with _world(tmp_path, store) as one, _world(tmp_path, store) as two:
        lines = [f"{node}-{number}" for node in "ab" for number in range(10)]
        await asyncio.gather(
            *(_do(one if line[0] == "a" else two, "append", "log", line, content=f"{line}\n") for line in lines)
        )
        text = await _do(one, "read", "log")
        assert isinstance(text, str)
        assert sorted(text.splitlines()) == sorted(lines)


async def test_the_last_hundred_appends_are_known(tmp_path: Path) -> None:
    """R9: a repeat is told though many others appended since; how many is bounded by the store's metadata."""
    async with _world(tmp_path, "store: memory, bucket: last-appends") as world:
        for number in range(130):
            await _do(world, "append", "log", f"k{number}", content=".")
        assert await _replayed(world, "append", "k0", path="log", content=".")
    # The ledger is another one now: only the object can tell.
    async with _world(tmp_path, "store: memory, bucket: last-appends") as world:
        assert await _replayed(world, "append", "k30", path="log", content=".")
        assert await _do(world, "read", "log") == "." * 130


async def test_what_an_object_carries(tmp_path: Path, s3: S3Server) -> None:
    """R6, R25: the media type that fits the content or that was asked for, the checksum, no key in the clear."""
    s3.make_bucket("carries")
    async with _world(tmp_path, _s3(s3, "carries")) as world:
        await _do(world, "write", "t", "secret-key", content="text")
        await _do(world, "write", "j", content={"a": 1})
        await _do(world, "write", "c", content="a,b", content_type="text/csv; charset=utf-8")
        contract = effect_contract("file_operation", "objects", "write", {"path": "raw"})
        contract.io_operation_config.body.CopyFrom(common_pb2.Payload(data=b"\x00\x01"))
        await world.executor.effect(contract, EffectContext())
        found = {name: s3.get("carries", f"shop/in/{name}") for name in ("t", "j", "c", "raw")}
        assert {name: row.headers["content-type"] for name, row in found.items()} == {
            "t": "text/plain; charset=utf-8",
            "j": "application/json",
            "c": "text/csv; charset=utf-8",
            "raw": "application/octet-stream",
        }
        assert found["raw"].content == b"\x00\x01"
        assert (
            found["t"].headers["x-amz-meta-onex-sha256"]
            == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
        )
        assert "secret-key" not in str(found["t"].headers)
        output = await world.effect("file_operation", "objects", "read", {"path": "c", "format": "bytes"})
        assert output.operation_result.content_type == "text/csv; charset=utf-8"
        s3.put(
            "carries",
            "shop/in/theirs",
            b"x",
            x_amz_meta_owner="them",
            content_type="text/x-own",
            cache_control="no-store",
        )
        await _do(world, "copy", "theirs", destination="ours")
        copied = s3.get("carries", "shop/in/ours").headers
        assert (copied["x-amz-meta-owner"], copied["content-type"]) == ("them", "text/x-own")
        assert copied["cache-control"] == "no-store"
        for content_type in ("text", "text/plain\r\nx-evil: 1", "a/b; c=ü", "x" * 200):
            with pytest.raises(ValidationError, match="content_type: is not a media type"):
                await _do(world, "write", "t", content="x", content_type=content_type)


async def test_a_damaged_object(tmp_path: Path, s3: S3Server) -> None:
    """R20, R25: content that is not what was put is not passed on, not copied, and not appended to."""
    s3.make_bucket("damaged")
    async with _world(tmp_path, _s3(s3, "damaged")) as world:
        await _do(world, "write", "a", content="as it was written")
        checksum = s3.get("damaged", "shop/in/a").headers["x-amz-meta-onex-sha256"]
        s3.put("damaged", "shop/in/a", b"as it was damaged", x_amz_meta_onex_sha256=checksum)
        for operation, parameters in (("read", {}), ("copy", {"destination": "b"}), ("append", {"content": "x"})):
            with pytest.raises(EffectFailedError, match="'a' is damaged"):
                await _do(world, operation, "a", **parameters)
        assert s3.keys("damaged") == ["shop/in/a"]


_PATHS = [
    "../outside",
    "a/../../outside",
    "/etc/passwd",
    "a//b",
    "./a",
    "a/.",
    "a/",
    "",
    "a\\b",
    "a\x00b",
    "a\nb",
    "%2e%2e/outside",
    "%252e%252e/outside",
    "a%2f..%2f..%2foutside",
    "．．/outside",
    "․․/outside",
    "a／b",
    ".onex-probe",
    "x" * 201,
    "/".join("x" * 33),
    "/".join(["x" * 199] * 6),
]


@pytest.mark.parametrize("path", _PATHS)
async def test_keys_stay_below_the_prefix(tmp_path: Path, path: str) -> None:
    """R18: whatever a path tries, it is refused with its reason before the store is asked anything."""
    async with _world(tmp_path, "store: memory, bucket: paths") as world:
        for operation, field in (
            ("write", "path"),
            ("read", "path"),
            ("delete", "path"),
            ("append", "path"),
            ("copy", "destination"),
        ):
            parameters: dict[str, object] = {"path": path} if field == "path" else {"path": "a", "destination": path}
            if operation in ("write", "append"):
                parameters["content"] = "stolen"
            with pytest.raises(ValidationError) as refused:
                await world.effect("file_operation", "objects", operation, parameters)
            assert [name for name, _ in refused.value.violations] == [f"io_operation_config.parameters.{field}"]
        assert await _all(world) == {}


async def test_a_prefix_is_not_the_beginning_of_another(tmp_path: Path, s3: S3Server) -> None:
    """R18: what lies beside the prefix is neither listed nor read; keys that no path could name are passed over."""
    s3.make_bucket("beside")
    for key in (
        "shop/in-evil/a",
        "shop/inside",
        "shop/other",
        "root",
        "shop/in//b",
        "shop/in/",
        "shop/in/.onex-x",
        "shop/in/ok",
    ):
        s3.put("beside", key, b"x")
    async with _world(tmp_path, _s3(s3, "beside")) as world:
        for recursive in (True, False):
            page = await _do(world, "list", "", recursive=recursive)
            assert isinstance(page, dict)
            assert [row["name"] for row in page["entries"]] == ["ok"]
        with pytest.raises(EffectFailedError, match="no such object"):
            await _do(world, "read", "a")
        for path in ("../in-evil/a", "../other"):
            with pytest.raises(ValidationError):
                await _do(world, "read", path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("prefix: ../up", "has empty segments"),
        ("prefix: a/../..", "has empty segments"),
        ("prefix: /a", "begins or ends with a slash"),
        ("prefix: a/", "begins or ends with a slash"),
        ("prefix: 'a//b'", "has empty segments"),
        ("prefix: 'a%2e%2e'", "other characters"),
        ("prefix: 'a\\b'", "other characters"),
        ("bucket: ../b", "bucket"),
        ("bucket: b/c", "bucket"),
        ("endpoint_url: 'ftp://host'", "is not http"),
        ("endpoint_url: 'http://key:secret@host'", "holds credentials"),
        ("endpoint_url: 'http://host/path'", "has a path"),
        ("secret_key_env: null", "secret_key_env"),
        ("access_key_file: k", "exclude each other"),
        ("credentials: anonymous", "names no keys"),
        ("store: memory", "memory has no endpoint and no credentials"),
        ("unknown: 1", "unknown"),
    ],
)
async def test_declarations_are_checked(tmp_path: Path, fields: str, problem: str) -> None:
    """R17, R18: a prefix that leads elsewhere, an endpoint with credentials and their like are refused at the start."""
    text = """\
  objects:
    kind: object_store
    {}
""".format("\n    ".join(_merged(fields)))
    with pytest.raises(ValidationError, match=problem):
        async with effect_world(tmp_path, text, environment=_ENVIRONMENT):
            pass


def _merged(fields: str) -> list[str]:
    given = {
        "store": "s3",
        "bucket": "bucket",
        "access_key_env": "S3_KEY",
        "secret_key_env": "S3_SECRET",
    }
    name, _, value = fields.partition(": ")
    return [f"{key}: {text}" for key, text in {**given, name: value}.items()]

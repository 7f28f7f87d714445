"""What tries to get out of a root, to hang the node or to fill it: each refused with its reason, and nothing done."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import threading
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from onex_mesh.effect.core.contracts import ReadRequest
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json
from tests.effect_engine import World, effect_world

_OPERATIONS: list[tuple[str, dict[str, Json]]] = [
    ("write", {"content": "stolen"}),
    ("write", {"content": "stolen", "overwrite": False}),
    ("append", {"content": "stolen"}),
    ("read", {}),
    ("delete", {}),
    ("copy", {"destination": "copied"}),
    ("move", {"destination": "moved"}),
]


def _world(folder: Path, size_bytes: int = 2000) -> AbstractAsyncContextManager[World]:
    return effect_world(folder, f"  files: {{kind: file, root: root, limits: {{size_bytes: {size_bytes}}}}}")


async def _file(world: World, operation: str, path: str, **parameters: object) -> object:
    return await world.result("file_operation", "files", operation, {"path": path, **parameters})


def _tree(folder: Path) -> dict[str, str]:
    """Everything below a folder but what belongs to the node; of files the content, of others the kind."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") if path.is_file() else oct(path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith(".onex")
    }


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("%2e%2e/outside", "look-alikes"),
        ("%2E%2E/outside", "look-alikes"),
        ("%252e%252e/outside", "look-alikes"),
        ("a%2f..%2foutside", "look-alikes"),
        ("a%5c..%5coutside", "look-alikes"),
        ("a%00", "look-alikes"),
        ("．．/outside", "look-alikes"),
        ("․․/outside", "look-alikes"),
        ("‥/outside", "look-alikes"),
        ("a／outside", "look-alikes"),
        ("a＼outside", "look-alikes"),
        ("%EF%BC%8E%EF%BC%8E/outside", "look-alikes"),
        ("a\u202eb", "not printable"),
        ("a\u200bb", "not printable"),
        ("a\ud800b", "not printable"),
        ("C:\\outside", "backslashes"),
        ("~/outside/../..", "'..'"),
        ("x" * 201, "longer than 200 bytes"),
        ("ü" * 101, "longer than 200 bytes"),
        ("d/" * 32 + "x", "deeper than 32"),
        ("x/" * 100_000, "deeper than 32"),
    ],
)
async def test_look_alikes_of_the_way_out(tmp_path: Path, path: str, problem: str) -> None:
    """R18: escapes, other dots and slashes, and names beyond all bounds are refused for source and destination."""
    async with _world(tmp_path) as world:
        for operation, more in _OPERATIONS:
            with pytest.raises(ValidationError, match=f"path: .*{problem}"):
                await _execute(world, operation, {"path": path, **more})
        for operation in ("copy", "move"):
            with pytest.raises(ValidationError, match=f"destination: .*{problem}"):
                await _execute(world, operation, {"path": "a", "destination": path})
    assert _tree(tmp_path / "root") == {}


async def _execute(world: World, operation: str, parameters: dict[str, Json]) -> object:
    """Past protobuf, which takes no lone surrogates."""
    request = EffectRequest("files", "file_operation", operation, parameters)
    return await world.engine.execute(ReadRequest(request))


@pytest.mark.parametrize("path", ["100%.txt", "a%20b", "…", "~a", "a b", "-rf", "ä", "a..b", "...", "%41"])
async def test_names_that_only_look_odd(tmp_path: Path, path: str) -> None:
    """R6: a name that leads nowhere else is a name, and comes back in lists as it was given."""
    async with _world(tmp_path) as world:
        await _file(world, "write", path, content="x")
        assert await _file(world, "read", path) == "x"
        listed = await _file(world, "list", "")
        assert isinstance(listed, dict)
        assert [row["name"] for row in listed["entries"]] == [path]


async def test_a_file_with_a_second_name(tmp_path: Path) -> None:
    """R18: a hard link may lead outside: it is not read, appended to, copied or moved; a write replaces the link."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_text("secret", encoding="utf-8")
    (root / "link").hardlink_to(outside)
    async with _world(tmp_path) as world:
        for operation, more in _OPERATIONS:
            if operation in ("read", "append", "copy", "move"):
                with pytest.raises(EffectFailedError, match="has several names"):
                    await _file(world, operation, "link", **more)
        with pytest.raises(EffectFailedError, match="exists already"):
            await _file(world, "write", "link", content="x", overwrite=False)
        assert _tree(root) == {"link": "secret"}
        await _file(world, "write", "link", content="own")
        assert (root / "link").read_text(encoding="utf-8") == "own"
        (root / "other").hardlink_to(outside)
        await _file(world, "delete", "other")
    assert outside.read_text(encoding="utf-8") == "secret"


async def test_pipes_sockets_and_devices(tmp_path: Path) -> None:
    """R18, R154: nothing but regular files is opened, replaced or removed, and nothing hangs on them."""
    root = tmp_path / "root"
    root.mkdir()
    os.mkfifo(root / "pipe")
    names = ["pipe", "socket"]
    with contextlib.suppress(PermissionError):
        os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))
        names.append("zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
        before = _tree(root)
        async with _world(tmp_path) as world:
            await _file(world, "write", "a", content="x")
            for name, (operation, more) in itertools.product(names, _OPERATIONS):
                with pytest.raises(EffectFailedError, match=r"is not a regular file|exists already"):
                    await _file(world, operation, name, **more)
            for name, operation in itertools.product(names, ("copy", "move")):
                with pytest.raises(EffectFailedError, match="is not a regular file"):
                    await _file(world, operation, "a", destination=name, overwrite=True)
            listed = await _file(world, "list", "", recursive=True)
            assert isinstance(listed, dict)
            assert [row["name"] for row in listed["entries"]] == ["a"]
        assert _tree(root) == {"a": "x", **before}


async def test_links_as_source_and_destination(tmp_path: Path) -> None:
    """R18: a link is no source, and as a destination it is replaced, never followed."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret", encoding="utf-8")
    (root / "a").write_text("x", encoding="utf-8")
    (root / "folder").symlink_to(outside)
    async with _world(tmp_path) as world:
        for operation in ("copy", "move"):
            (root / "file").symlink_to(outside / "secret")
            for source in ("file", "folder/secret"):
                with pytest.raises(EffectFailedError, match="a link or a file is on the way"):
                    await _file(world, operation, source, destination="b")
            with pytest.raises(EffectFailedError, match="a link or a file is on the way"):
                await _file(world, operation, "a", destination="folder/new", overwrite=True)
            with pytest.raises(EffectFailedError, match="exists already"):
                await _file(world, operation, "a", destination="file")
            await _file(world, operation, "a", destination="file", overwrite=True)
            assert not (root / "file").is_symlink()
            (root / "file").rename(root / "a")
    assert _tree(outside) == {"secret": "secret"}


async def test_folders_that_are_swapped_for_links(tmp_path: Path) -> None:
    """R18: somebody swaps a folder for a link that leads out, all the time: nothing outside is read or touched."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret").write_text("secret", encoding="utf-8")
    (root / "real" / "secret").write_text("harmless", encoding="utf-8")
    (root / "link").symlink_to(outside)
    done = threading.Event()

    def swap() -> None:
        for name in itertools.cycle(("real", "link")):
            try:
                (root / name).rename(root / "d")
            except OSError:
                # The node made the folder in the moment in which it was missing.
                shutil.rmtree(root / "d", ignore_errors=True)
                continue
            (root / "d").rename(root / name)
            if done.is_set():
                return

    swapping = threading.Thread(target=swap)
    swapping.start()
    succeeded = 0
    try:
        async with _world(tmp_path) as world:
            for round_, (operation, more) in itertools.product(range(40), _OPERATIONS):
                for path, destination in (("d/secret", f"out{round_}"), (f"in{round_}", "d/secret")):
                    await _file(world, "write", f"in{round_}", content="harmless")
                    parameters = {**more, "destination": destination} if "destination" in more else more
                    if operation == "delete" or (path.startswith("in") and "destination" not in more):
                        continue
                    with contextlib.suppress(EffectFailedError):
                        result = await _file(world, operation, path, **parameters)
                        assert result != "secret"
                        succeeded += 1
    finally:
        done.set()
        await asyncio.to_thread(swapping.join)
    assert succeeded
    assert _tree(outside) == {"secret": "secret"}
    found = _tree(root)
    assert "secret" not in [text for name, text in found.items() if not name.startswith("link")]


async def test_json_that_is_too_deep(tmp_path: Path) -> None:
    """R154: a file of JSON with a hundred thousand levels is not passed on, and does not bring the node down."""
    (tmp_path / "root").mkdir()
    async with _world(tmp_path, size_bytes=300_000) as world:
        for levels in (70, 1_000, 100_000):
            (tmp_path / "root/deep").write_text("[" * levels + "]" * levels, encoding="utf-8")
            with pytest.raises(EffectFailedError, match="nested"):
                await _file(world, "read", "deep", format="json")


async def test_content_beyond_the_bound(tmp_path: Path) -> None:
    """R154: the bound counts bytes, of text as of JSON."""
    root = tmp_path / "root"
    async with _world(tmp_path) as world:
        for content in ("ü" * 1001, ["x" * 1997], {"a": "x" * 1995}):
            for operation in ("write", "append"):
                with pytest.raises(PayloadTooLargeError):
                    await _file(world, operation, "f", content=content)
        assert _tree(root) == {}
        with pytest.raises(ValidationError, match="content: read has none"):
            await _file(world, "read", "f", content="x")

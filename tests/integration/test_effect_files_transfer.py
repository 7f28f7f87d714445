"""Copies and moves below a root, files that must not exist, parts of files, and pages of folders."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.adapters.files import transfer, writing
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import World, effect_world, intent


def _world(folder: Path, size_bytes: int = 2000) -> AbstractAsyncContextManager[World]:
    return effect_world(folder, f"  files: {{kind: file, root: root, limits: {{size_bytes: {size_bytes}}}}}")


async def _file(world: World, operation: str, path: str, key: str = "", **parameters: object) -> object:
    return await world.result("file_operation", "files", operation, {"path": path, **parameters}, key=key)


async def _replayed(world: World, operation: str, key: str, **parameters: object) -> bool:
    output = await world.effect("file_operation", "files", operation, parameters, key=key)
    return output.metadata.replayed


def _files(root: Path) -> dict[str, str]:
    """What is there, without what belongs to the node."""
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".onex")
    }


async def test_copy_and_move(tmp_path: Path) -> None:
    """R6: what they return, and what is on disk; folders of the destination are made."""
    root = tmp_path / "root"
    async with _world(tmp_path) as world:
        await _file(world, "write", "a.txt", content="grüße")
        assert await _file(world, "copy", "a.txt", destination="x/y/b.txt") == {
            "path": "a.txt",
            "destination": "x/y/b.txt",
            "size_bytes": 7,
        }
        assert _files(root) == {"a.txt": "grüße", "x/y/b.txt": "grüße"}
        assert await _file(world, "move", "x/y/b.txt", destination="c.txt", key="k1") == {
            "path": "x/y/b.txt",
            "destination": "c.txt",
            "size_bytes": 7,
        }
        assert _files(root) == {"a.txt": "grüße", "c.txt": "grüße"}
        assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize("key", ["", "k1"])
@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_nothing_is_overwritten_unless_asked(tmp_path: Path, operation: str, key: str) -> None:
    """R18: a file at the destination stays and the effect fails with that reason; with `overwrite` it is replaced."""
    root = tmp_path / "root"
    async with _world(tmp_path) as world:
        await _file(world, "write", "a", content="new")
        await _file(world, "write", "b", content="old")
        with pytest.raises(EffectFailedError, match="'b' exists already, and overwrite is not set"):
            await _file(world, operation, "a", key, destination="b")
        assert _files(root) == {"a": "new", "b": "old"}
        await _file(world, operation, "a", key, destination="b", overwrite=True)
        assert _files(root) == ({"b": "new"} if operation == "move" else {"a": "new", "b": "new"})
        assert not list(root.rglob("*.tmp"))


async def test_a_file_that_comes_in_between_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R18: somebody else creates the destination after it was looked at and before the file gets its name."""
    root = tmp_path / "root"
    add = transfer.rename_new

    def late(name: str, folder: int, new_name: str, new_folder: int) -> None:
        (root / "b").write_text("theirs", encoding="utf-8")
        add(name, folder, new_name, new_folder)

    monkeypatch.setattr(transfer, "rename_new", late)
    async with _world(tmp_path) as world:
        await _file(world, "write", "a", content="ours")
        for operation in ("copy", "move"):
            with pytest.raises(EffectFailedError, match="exists already"):
                await _file(world, operation, "a", destination="b")
            assert _files(root) == {"a": "ours", "b": "theirs"}
            (root / "b").unlink()


async def test_a_repeated_move_is_done(tmp_path: Path) -> None:
    """R9: a move happens once per key: on the same node, on another one, and after both names were used again."""
    root = tmp_path / "root"
    async with _world(tmp_path) as one, _world(tmp_path) as two:
        await _file(one, "write", "a", content="first")
        assert not await _replayed(one, "move", "k1", path="a", destination="b")
        assert await _replayed(one, "move", "k1", path="a", destination="b")
        assert await _replayed(two, "move", "k1", path="a", destination="b")
        await _file(one, "move", "b", destination="c", key="k2")
        await _file(one, "write", "a", content="second")
        assert await _replayed(two, "move", "k1", path="a", destination="b")
        assert _files(root) == {"a": "second", "c": "first"}
        # Another key is another move.
        assert not await _replayed(two, "move", "k3", path="a", destination="b")
        assert _files(root) == {"b": "second", "c": "first"}


async def test_a_repeated_copy_is_done(tmp_path: Path) -> None:
    """R9: a copy under its key is not made again, though source and destination have changed since."""
    root = tmp_path / "root"
    async with _world(tmp_path) as world:
        await _file(world, "write", "a", content="first")
        assert not await _replayed(world, "copy", "k1", path="a", destination="b")
        await _file(world, "write", "a", content="second")
        await _file(world, "write", "b", content="changed")
        assert await _replayed(world, "copy", "k1", path="a", destination="b")
        assert _files(root) == {"a": "second", "b": "changed"}


async def test_a_key_of_other_work_is_refused(tmp_path: Path) -> None:
    """R9: a key that did something else does not say that this is done."""
    async with _world(tmp_path) as world:
        await _file(world, "write", "a", content="x")
        await _file(world, "copy", "a", destination="b", key="k1")
        for operation, destination in (("move", "b"), ("copy", "c")):
            with pytest.raises(EffectFailedError, match="the key belongs to another operation: copy to 'b'"):
                await _file(world, operation, "a", destination=destination, key="k1")
        assert _files(tmp_path / "root") == {"a": "x", "b": "x"}


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_two_nodes_at_once_under_one_key(tmp_path: Path, operation: str) -> None:
    """R9: of two nodes that are handed the same intent one does the work, and the other one finds it done."""
    root = tmp_path / "root"
    async with _world(tmp_path) as one, _world(tmp_path) as two:
        for round_ in range(10):
            await _file(one, "write", f"a{round_}", content="x" * 1000)
            payload = {"operation": operation, "path": f"a{round_}", "destination": f"b{round_}"}
            message = intent("i", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", payload, key=f"k{round_}")
            results = await asyncio.gather(one.intents([message]), two.intents([message]))
            rows = [row for batch in results for row in batch]
            assert [row.HasField("error") for row in rows] == [False, False]
            assert sorted(row.replayed for row in rows) == [False, True]
            assert (root / f"b{round_}").read_text(encoding="utf-8") == "x" * 1000
            assert (root / f"a{round_}").exists() == (operation == "copy")


async def test_a_write_that_must_not_replace(tmp_path: Path) -> None:
    """R9, R18: `overwrite: false` creates; the repeat under its key finds it done, another one finds the file."""
    async with _world(tmp_path) as world:
        write = {"path": "d/a", "content": "x", "overwrite": False}
        assert not await _replayed(world, "write", "k1", **write)
        assert await _replayed(world, "write", "k1", **write)
        for key in ("", "k2"):
            with pytest.raises(EffectFailedError, match="exists already"):
                await _file(world, "write", "d/a", key, content="y", overwrite=False)
        assert _files(tmp_path / "root") == {"d/a": "x"}


@pytest.mark.parametrize("operation", ["copy", "move"])
async def test_what_cannot_be_transferred(tmp_path: Path, operation: str) -> None:
    """R18, R154: nothing there, a folder, a file that is too large, no destination, or the same one: refused."""
    root = tmp_path / "root"
    async with _world(tmp_path) as world:
        (root / "folder").mkdir()
        (root / "big").write_text("x" * 2001, encoding="utf-8")
        await _file(world, "write", "a", content="x")
        with pytest.raises(EffectFailedError, match="'absent': No such file"):
            await _file(world, operation, "absent", destination="new/b")
        with pytest.raises(EffectFailedError, match="'folder': is a folder"):
            await _file(world, operation, "folder", destination="b")
        with pytest.raises(EffectFailedError, match="is a folder"):
            await _file(world, operation, "a", destination="folder", overwrite=True)
        with pytest.raises(PayloadTooLargeError):
            await _file(world, operation, "big", destination="b")
        for destination, problem in (
            ("a", "is the path itself"),
            ("", "is not a relative path"),
            ("../b", "has empty"),
        ):
            with pytest.raises(ValidationError, match=f"destination: .*{problem}"):
                await _file(world, operation, "a", destination=destination)
        with pytest.raises(ValidationError, match=r"content: (copy|move) has none"):
            await _file(world, operation, "a", destination="b", content="x")
    assert not (root / "new").exists()
    assert sorted(_files(root)) == ["a", "big"]


async def test_a_move_to_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R6: where the kernel cannot rename, the content is copied, synced, and only then the source taken away."""

    def other_file_system(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    async with _world(tmp_path) as world:
        await _file(world, "write", "a", content="x")
        real, calls = transfer.rename_new, []

        def rename(name: str, folder: int, new_name: str, new_folder: int) -> None:
            calls.append(name)
            if name == "a":
                other_file_system()
            real(name, folder, new_name, new_folder)

        monkeypatch.setattr(transfer, "rename_new", rename)
        assert not await _replayed(world, "move", "k1", path="a", destination="b")
        assert [name == "a" for name in calls] == [True, False]
        assert _files(tmp_path / "root") == {"b": "x"}
        assert await _replayed(world, "move", "k1", path="a", destination="b")


async def test_a_file_system_that_cannot_rename_exclusively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R18: on NFS and its like the destination is looked at before; nodes are kept apart by the journal's lock."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    for stand_in in (unsupported, None):
        monkeypatch.setattr(writing, "rename_exclusively", stand_in)
        async with _world(tmp_path) as world:
            await _file(world, "write", "a", content="x")
            await _file(world, "move", "a", destination="b")
            await _file(world, "write", "a", content="y")
            with pytest.raises(EffectFailedError, match="exists already"):
                await _file(world, "move", "a", destination="b")
            assert _files(tmp_path / "root") == {"a": "y", "b": "x"}
            await _file(world, "delete", "b")


async def test_a_source_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: a file that is written while it is copied or moved is left; trying again is worth it."""
    root = tmp_path / "root"
    real = os.pread

    def slowly(descriptor: int, length: int, offset: int) -> bytes:
        part = real(descriptor, length, offset)
        if part == b"old":
            (root / "a").write_text("newer", encoding="utf-8")
        return part

    async with _world(tmp_path) as world:
        for operation in ("copy", "move"):
            await _file(world, "write", "a", content="old")
            monkeypatch.setattr(os, "pread", slowly)
            with pytest.raises(TargetUnavailableError, match="changed meanwhile"):
                await world.effect("file_operation", "files", operation, {"path": "a", "destination": "b"}, retries=0)
            monkeypatch.setattr(os, "pread", real)
            assert _files(root) == {"a": "newer"}


async def test_parts_of_a_file(tmp_path: Path) -> None:
    """R6, R154: a part is read by offset and length; the bound is on the part, not on the file."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").write_text("0123456789" * 1000, encoding="utf-8")
    (tmp_path / "root/u").write_text("aü", encoding="utf-8")
    async with _world(tmp_path) as world:
        assert await _file(world, "read", "f", offset=8, length=4) == "8901"
        assert await _file(world, "read", "f", offset=9_998) == "89"
        assert await _file(world, "read", "f", offset=9_998, length=100, format="bytes") == b"89"
        assert await _file(world, "read", "f", offset=20_000) == ""
        assert await _file(world, "read", "f", length=0) == ""
        with pytest.raises(PayloadTooLargeError):
            await _file(world, "read", "f", offset=10)
        with pytest.raises(EffectFailedError, match="is not UTF-8 text, at byte 1"):
            await _file(world, "read", "u", length=2)
        for parameters, field in (
            ({"offset": -1}, "offset"),
            ({"length": 1.5}, "length"),
            ({"offset": 1, "format": "json"}, "format"),
            ({"glob": "*"}, "glob"),
        ):
            with pytest.raises(ValidationError) as refused:
                await _file(world, "read", "f", **parameters)
            assert [path.rpartition(".")[2] for path, _ in refused.value.violations] == [field]


async def _listed(world: World, path: str = "", **parameters: object) -> tuple[list[str], str]:
    page = await _file(world, "list", path, **parameters)
    assert isinstance(page, dict)
    assert page["count"] == len(page["entries"])
    return [row["name"] for row in page["entries"]], page.get("next", "")


async def test_pages_of_a_folder(tmp_path: Path) -> None:
    """R6, R154: a page has at most `limit` entries and says where the next one begins; together they are all, once."""
    root = tmp_path / "root"
    for name in ("b/2.csv", "b/1.txt", "b/c/3.csv", "a.csv", "b.csv", "z", "ä"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x", encoding="utf-8")
    async with _world(tmp_path) as world:
        assert await _listed(world) == (["a.csv", "b.csv", "b", "z", "ä"], "")
        assert await _listed(world, glob="*.csv") == (["a.csv", "b.csv"], "")
        assert await _listed(world, "b", recursive=True) == (["1.txt", "2.csv", "c/3.csv"], "")
        everything = ["a.csv", "b.csv", "b/1.txt", "b/2.csv", "b/c/3.csv", "z", "ä"]
        assert await _listed(world, recursive=True) == (everything, "")
        assert await _listed(world, recursive=True, glob="[0-9].csv") == (["b/2.csv", "b/c/3.csv"], "")
        for recursive, names in ((True, everything), (False, ["a.csv", "b.csv", "b", "z", "ä"])):
            for limit in range(1, 8):
                found, after = await _listed(world, recursive=recursive, limit=limit)
                while after:
                    page, after = await _listed(world, recursive=recursive, limit=limit, after=after)
                    assert 0 < len(page) <= limit
                    found += page
                assert found == names
        for parameters in ({"limit": 0}, {"limit": 10_001}, {"glob": "a/*"}, {"glob": "x" * 201}, {"destination": "b"}):
            with pytest.raises(ValidationError):
                await _file(world, "list", "", **parameters)


async def test_a_page_is_as_large_as_a_response_may_be(tmp_path: Path) -> None:
    """R154: many entries come on several pages, none larger than the target's bound; hostile patterns end."""
    root = tmp_path / "root"
    root.mkdir()
    for number in range(100):
        (root / f"{'a' * 100}-{number:03}").touch()
    async with _world(tmp_path, size_bytes=1000) as world:
        found, after = await _listed(world)
        assert 0 < len(found) < 7
        while after:
            page, after = await _listed(world, after=after)
            found += page
        assert found == [f"{'a' * 100}-{number:03}" for number in range(100)]
        assert await _listed(world, glob="*a" * 99 + "b") == ([], "")
    async with _world(tmp_path, size_bytes=50) as world:
        with pytest.raises(PayloadTooLargeError):
            await _listed(world)

"""File operations and event logs on a real file system."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from onex.v1 import common_pb2, intent_pb2
from onex_mesh.effect.adapters.files import append as append_module
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import World, effect_contract, effect_world, intent


def _world(folder: Path, operations: str = "") -> AbstractAsyncContextManager[World]:
    allowed = f", operations: {operations}" if operations else ""
    return effect_world(
        folder,
        f"""\
  files: {{kind: file, root: root, limits: {{size_bytes: 2000}}{allowed}}}
  events: {{kind: event_log, path: out/events.jsonl, source: tests, limits: {{size_bytes: 2000}}}}
""",
    )


async def _file(world: World, operation: str, path: str, key: str = "", **parameters: object) -> object:
    return await world.result("file_operation", "files", operation, {"path": path, **parameters}, key=key)


async def test_write_read_list_and_delete(tmp_path: Path) -> None:
    """R6: the operations, what each returns, and what is on disk."""
    async with _world(tmp_path) as world:
        assert await _file(world, "write", "a/b/hello.txt", content="grüße\n") == {
            "path": "a/b/hello.txt",
            "size_bytes": 8,
        }
        assert (tmp_path / "root/a/b/hello.txt").read_text(encoding="utf-8") == "grüße\n"
        assert await _file(world, "read", "a/b/hello.txt") == "grüße\n"
        await _file(world, "write", "a/b/hello.txt", content="new")
        await _file(world, "write", "a/data.json", content={"b": [1, None], "a": "x"})
        assert (tmp_path / "root/a/data.json").read_text(encoding="utf-8") == '{"a": "x", "b": [1, null]}'
        listed = await _file(world, "list", "a")
        assert isinstance(listed, dict)
        assert [
            (row["name"], row["type"], row["size_bytes"]) for row in listed["entries"] if row["type"] == "file"
        ] == [("data.json", "file", 26)]
        assert listed["count"] == 2
        assert await _file(world, "delete", "a/data.json") == {"path": "a/data.json", "deleted": True}
        assert await _file(world, "delete", "a/data.json") == {"path": "a/data.json", "deleted": False}
        assert await _file(world, "delete", "nowhere/x") == {"path": "nowhere/x", "deleted": False}
        assert not list((tmp_path / "root").rglob("*.tmp"))


async def test_the_formats_of_reading(tmp_path: Path) -> None:
    """R6, F22: text, JSON with exact numbers, CSV as objects of text, bytes."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "rows.csv").write_bytes(b'\xef\xbb\xbfid,name\r\n1,"a, b"\r\n\r\n2,"x\r\ny"\r\n')
    (root / "semi.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    (root / "empty.csv").write_bytes(b"")
    (root / "n.json").write_text('{"big": 9007199254740993, "small": 1.5}', encoding="utf-8")
    (root / "raw").write_bytes(b"\x00\xff")
    async with _world(tmp_path) as world:
        rows = [{"id": "1", "name": "a, b"}, {"id": "2", "name": "x\r\ny"}]
        assert await _file(world, "read", "rows.csv", format="csv") == rows
        assert await _file(world, "read", "semi.csv", format="csv", delimiter=";") == [{"a": "1", "b": "2"}]
        assert await _file(world, "read", "empty.csv", format="csv") == []
        assert await _file(world, "read", "n.json", format="json") == {"big": "9007199254740993", "small": 1.5}
        assert await _file(world, "read", "raw", format="bytes") == b"\x00\xff"


@pytest.mark.parametrize(
    ("content", "format_", "problem"),
    [
        (b"a,b\n1\n", "csv", "line 2: 1 fields, the header has 2"),
        (b"a,a\n1,2\n", "csv", "two columns have the same name"),
        (b'a\n"x\n', "csv", "unexpected end of data"),
        (b"{", "json", "is not JSON"),
        (b"\xff", "text", "is not UTF-8 text, at byte 0"),
    ],
)
async def test_content_that_is_not_what_was_asked_for(
    tmp_path: Path, content: bytes, format_: str, problem: str
) -> None:
    """R20: a broken file fails the effect with the place of the fault."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root/f").write_bytes(content)
    async with _world(tmp_path) as world:
        with pytest.raises(EffectFailedError, match=problem):
            await _file(world, "read", "f", format=format_)


async def test_bytes_come_beside_the_parameters(tmp_path: Path) -> None:
    """R16: the body of the contract is the content; twice or not at all is refused."""
    contract = effect_contract("file_operation", "files", "write", {"path": "raw"})
    contract.io_operation_config.body.CopyFrom(common_pb2.Payload(data=b"\x00\x01"))
    async with _world(tmp_path) as world:
        await world.executor.effect(contract, EffectContext())
        assert (tmp_path / "root/raw").read_bytes() == b"\x00\x01"
        contract.io_operation_config.parameters["content"] = "x"
        with pytest.raises(ValidationError, match="content: is given twice"):
            await world.executor.effect(contract, EffectContext())
        with pytest.raises(ValidationError, match="content: is required"):
            await _file(world, "write", "raw")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "a/../../outside.txt",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/.",
        "..",
        "",
        "a\\b",
        "a\x00b",
        "a\nb",
        ".onex-appends-x",
        "a/.onex/b",
        "x" * 201,
        "/".join("x" * 33),
    ],
)
@pytest.mark.parametrize("operation", ["write", "read", "delete"])
async def test_paths_do_not_leave_the_root(tmp_path: Path, operation: str, path: str) -> None:
    """R18: absolute paths, '..' and their like are refused before anything is touched."""
    (tmp_path / "outside.txt").write_text("mine", encoding="utf-8")
    content = {"content": "stolen"} if operation == "write" else {}
    async with _world(tmp_path) as world:
        with pytest.raises(ValidationError) as refused:
            await _file(world, operation, path, **content)
        assert [field for field, _ in refused.value.violations] == ["io_operation_config.parameters.path"]
    assert (tmp_path / "outside.txt").read_text(encoding="utf-8") == "mine"


async def test_links_are_not_followed(tmp_path: Path) -> None:
    """R18: a link to a folder or a file outside leads nowhere; writing replaces the link, deleting removes the link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret", encoding="utf-8")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret.txt")
    (root / "inside.txt").write_text("x", encoding="utf-8")
    (root / "to-inside").symlink_to(root / "inside.txt")
    async with _world(tmp_path) as world:
        for operation, path in (
            ("read", "folder/secret.txt"),
            ("list", "folder"),
            ("read", "file"),
            ("read", "to-inside"),
        ):
            with pytest.raises(EffectFailedError, match="a link or a file is on the way"):
                await _file(world, operation, path)
        for operation, path in (("write", "folder/new.txt"), ("append", "folder/secret.txt"), ("append", "file")):
            with pytest.raises(EffectFailedError):
                await _file(world, operation, path, content="stolen")
        with pytest.raises(EffectFailedError):
            await _file(world, "delete", "folder/secret.txt")
        listed = await _file(world, "list", "")
        assert isinstance(listed, dict)
        assert [row["name"] for row in listed["entries"]] == ["inside.txt"]
        await _file(world, "write", "file", content="own")
        assert (root / "file").read_text(encoding="utf-8") == "own"
        assert not (root / "file").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret"


async def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """R18, R154: a pipe does not hang the node, a folder is no file."""
    (tmp_path / "root/folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "root/pipe")
    async with _world(tmp_path) as world:
        for path in ("pipe", "folder"):
            with pytest.raises(EffectFailedError):
                await _file(world, "read", path)
        with pytest.raises(EffectFailedError):
            await _file(world, "write", "folder", content="x")
        with pytest.raises(EffectFailedError, match="No such file"):
            await _file(world, "read", "absent")
        assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["folder", "pipe"]


async def test_sizes_and_operations_are_bounded(tmp_path: Path) -> None:
    """R154, R18: content and files beyond the bound, and operations that the target does not list, are refused."""
    async with _world(tmp_path) as world:
        with pytest.raises(PayloadTooLargeError):
            await _file(world, "write", "f", content="x" * 2001)
        (tmp_path / "root/big").write_bytes(b"x" * 2001)
        with pytest.raises(PayloadTooLargeError):
            await _file(world, "read", "big")
    async with _world(tmp_path, "[read]") as world:
        with pytest.raises(ValidationError, match="'write' is not allowed"):
            await _file(world, "write", "f", content="x")
        with pytest.raises(ValidationError, match="'chmod' is not one of"):
            await _file(world, "chmod", "f")


async def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: readers see the old or the new content, never a part; nothing is left over."""
    async with _world(tmp_path) as world:
        await _file(world, "write", "f", content="old")

        def no_space(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(TargetUnavailableError, match="No space left"):
            await world.effect("file_operation", "files", "write", {"path": "f", "content": "new"}, retries=0)
        assert [path.name for path in (tmp_path / "root").iterdir()] == ["f"]
        assert (tmp_path / "root/f").read_text(encoding="utf-8") == "old"


async def test_an_append_happens_once_per_key(tmp_path: Path) -> None:
    """R9: the same key appends once, also on another node and for two at once; another key or none appends again."""
    async with _world(tmp_path) as one, _world(tmp_path) as two:

        async def append(world: World, key: str, text: str) -> bool:
            parameters = {"path": "log.txt", "content": f"{text}\n"}
            output = await world.effect("file_operation", "files", "append", parameters, key=key)
            return output.metadata.replayed

        assert not await append(one, "k1", "a")
        assert await append(one, "k1", "a")
        assert await append(two, "k1", "a")
        replayed = await asyncio.gather(*(append(world, f"b{n}", f"b{n}") for n in range(10) for world in (one, two)))
        assert sum(replayed) == 10
        assert not await append(one, "", "c")
        assert not await append(two, "", "c")
    lines = (tmp_path / "root/log.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "a"
    assert sorted(lines[1:11]) == sorted(f"b{n}" for n in range(10))
    assert lines[11:] == ["c", "c"]


_CRASHING_NODE = """
import asyncio, os, sys
from pathlib import Path
from onex_mesh.effect.adapters.files import append
from tests.effect_engine import effect_world

moment, folder = sys.argv[1], Path(sys.argv[2])
write_all, calls = append.write_all, []

def crash(descriptor, content):
    calls.append(content)
    # The first write is the line of the journal, the second one the data.
    if len(calls) == 1 and moment == "in the journal":
        write_all(descriptor, content[:5])
        os._exit(7)
    if len(calls) == 2 and moment == "before the data":
        os._exit(7)
    if len(calls) == 2 and moment == "in the data":
        write_all(descriptor, content[:3])
        os._exit(7)
    write_all(descriptor, content)

append.write_all = crash

async def main():
    async with effect_world(folder, (folder / "crash.yaml").read_text()) as world:
        parameters = {"path": "log.txt", "content": "second\\n"}
        await world.effect("file_operation", "files", "append", parameters, key="k2")
        os._exit(7)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["in the journal", "before the data", "in the data", "after"])
async def test_a_crash_during_an_append(tmp_path: Path, moment: str) -> None:
    """R9, R25: whenever the node dies, the repeat on another node leaves the line in the file exactly once, whole."""
    async with _world(tmp_path) as world:
        await _file(world, "append", "log.txt", key="k1", content="first\n")
    text = (tmp_path / "targets.yaml").read_text(encoding="utf-8").removeprefix("targets:\n")
    (tmp_path / "crash.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "node.py").write_text(_CRASHING_NODE, encoding="utf-8")
    died = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(tmp_path / "node.py"), moment, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
        timeout=60,
    )
    assert died.returncode == 7
    async with _world(tmp_path) as world:
        parameters = {"path": "log.txt", "content": "second\n"}
        output = await world.effect("file_operation", "files", "append", parameters, key="k2")
        assert output.metadata.replayed == (moment == "after")
        await _file(world, "append", "log.txt", key="k3", content="third\n")
        await _file(world, "append", "log.txt", key="k1", content="first\n")
    assert (tmp_path / "root/log.txt").read_text(encoding="utf-8") == "first\nsecond\nthird\n"


async def test_what_an_operator_does_to_a_log_is_left_alone(tmp_path: Path) -> None:
    """R25: a log that was moved away, emptied or edited is not "repaired", and its keys stay known."""
    log = tmp_path / "root/log.txt"

    async def append(key: str) -> None:
        # A new node each time: it has to find out from the disk what happened.
        async with _world(tmp_path) as world:
            await _file(world, "append", "log.txt", key=key, content=f"line {key}\n")

    await append("k1")
    log.rename(tmp_path / "root/log.1")
    await append("k1")
    await append("k2")
    assert log.read_text(encoding="utf-8") == "line k2\n"
    log.write_text("edited by hand\nline k2\n", encoding="utf-8")
    await append("k3")
    assert log.read_text(encoding="utf-8") == "edited by hand\nline k2\nline k3\n"
    log.write_bytes(b"")
    await append("k4")
    assert log.read_text(encoding="utf-8") == "line k4\n"


async def test_a_failed_append_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: an append that broke off in one process is cut off and made anew by the same process."""
    async with _world(tmp_path) as world:
        await _file(world, "append", "log.txt", key="k1", content="first\n")
        write_all, calls = append_module.write_all, []

        def half(descriptor: int, content: bytes) -> None:
            calls.append(content)
            if len(calls) == 2:
                write_all(descriptor, content[:3])
                raise OSError(28, "No space left on device")
            write_all(descriptor, content)

        monkeypatch.setattr(append_module, "write_all", half)
        output = await world.effect(
            "file_operation", "files", "append", {"path": "log.txt", "content": "second\n"}, key="k2", retries=1
        )
        assert (output.metadata.attempts, output.metadata.replayed) == (2, False)
    assert (tmp_path / "root/log.txt").read_text(encoding="utf-8") == "first\nsecond\n"


async def test_events_are_json_lines_each_once(tmp_path: Path) -> None:
    """R74, R90, F27: a published message is a CloudEvent on a line of its own; a repeat under its key adds nothing."""
    payload = {"event_type": "order.placed", "order_id": "o-1", "timestamp": "2026-01-31T12:00:00+00:00"}
    message = intent("i-1", intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, "events", payload, key="order_o-1_placed")
    other = intent("i-2", intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, "events", {"event_type": "x", "data": [1]})
    async with _world(tmp_path) as world:
        first = (await world.intents([message, other]))[0]
        (again,) = await world.intents([message])
        assert (first.replayed, again.replayed) == (False, True)
    events = [json.loads(line) for line in (tmp_path / "out/events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events[0] == {
        "specversion": "1.0",
        "id": "order_o-1_placed",
        "source": "tests",
        "type": "order.placed",
        "time": "2026-01-31T12:00:00+00:00",
        "datacontenttype": "application/json",
        "correlationid": "corr-1",
        "data": {"order_id": "o-1"},
    }
    assert events[1]["data"] == [1]
    assert len(events) == 2


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"data": 1}, "event_type"),
        ({"event_type": "a b"}, "event_type"),
        ({"event_type": "x", "timestamp": "yesterday"}, "timestamp"),
    ],
)
async def test_messages_are_checked(tmp_path: Path, parameters: dict[str, object], field: str) -> None:
    """R18: an event without a type, or with a time that is none, is refused and nothing is written."""
    async with _world(tmp_path) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect("message_publish", "events", "", parameters)
        assert [path for path, _ in refused.value.violations] == [f"io_operation_config.parameters.{field}"]
        with pytest.raises(PayloadTooLargeError):
            await world.effect("message_publish", "events", "", {"event_type": "x", "data": "y" * 3000})
    assert not (tmp_path / "out/events.jsonl").exists()


async def test_a_folder_that_is_gone_is_unwell(tmp_path: Path) -> None:
    """R24: the check of a file target finds its folder missing, and says so until it is back."""
    async with _world(tmp_path) as world:
        for name, folder in (("files", tmp_path / "root"), ("events", tmp_path / "out")):
            await world.lanes[name].adapter.check()
            folder.rmdir()
            with pytest.raises(TargetUnavailableError):
                await world.lanes[name].adapter.check()
        with pytest.raises(TargetUnavailableError):
            await world.effect("file_operation", "files", "read", {"path": "x"}, retries=0)


async def test_a_root_that_must_exist(tmp_path: Path) -> None:
    """R18: with create: false a missing folder is an error of the operator, told at once."""
    with pytest.raises(ValidationError, match="is not a folder"):
        async with effect_world(tmp_path, "  f: {kind: file, root: absent, create: false}"):
            pass

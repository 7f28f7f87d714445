"""kill -9 of a node at every step that a file operation makes, and the repeat on another node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onex_mesh.effect.adapters.files import writing
from tests.effect_engine import World, effect_world
from tests.file_systems import separate_file_systems

_TARGETS = "  files: {kind: file, root: root}"

# Runs the operation again and again, each time in a fork and a folder of its own, and kills it before its first,
# second, third … call that changes something on disk; a write is also cut in half. Prints how often it was killed.
_NODE = """
import asyncio, json, os, shutil, signal, sys
from pathlib import Path
from onex_mesh.effect.adapters.files import writing
from tests.effect_engine import effect_world
from tests.file_systems import separate_file_systems

base, targets, work = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
is_elsewhere = work.pop("is_elsewhere", False)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(deadly):
    calls = []

    def counted(function):
        def call(*arguments, **named):
            calls.append(function)
            if len(calls) == deadly:
                kill()
            return function(*arguments, **named)

        return call

    write = os.write

    def halved(descriptor, content):
        calls.append(write)
        if len(calls) == deadly:
            kill()
        calls.append(write)
        if len(calls) == deadly:
            write(descriptor, content[: len(content) // 2])
            kill()
        return write(descriptor, content)

    os.write = halved
    for name in ("fsync", "rename", "unlink", "ftruncate", "mkdir"):
        setattr(os, name, counted(getattr(os, name)))
    writing.rename_exclusively = counted(writing.rename_exclusively)
    if is_elsewhere:
        separate_file_systems(setattr)


async def operate(folder, deadly):
    async with effect_world(folder, targets) as world:
        arm(deadly)
        await world.effect("file_operation", "files", work["operation"], work["parameters"], key="k1")
        os._exit(0)


deadly = 1
while True:
    folder = base / str(deadly)
    shutil.copytree(base / "before", folder)
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(operate(folder, deadly))
        finally:
            os._exit(9)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0, status
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    deadly += 1
print(deadly - 1)
"""


async def _killed_everywhere(base: Path, before: dict[str, str], work: dict[str, object]) -> list[Path]:
    """The folders that crashes left, in the order of the moment; the last one was left by none."""
    root = base / "before" / "root"
    root.mkdir(parents=True)
    for name, text in before.items():
        (root / name).write_text(text, encoding="utf-8")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _NODE, str(base), _TARGETS, json.dumps(work)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    killed = int(done.stdout)
    return [base / str(number) for number in range(1, killed + 2)]


def _files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".onex")
    }


async def _repeat(world: World, operation: str, parameters: dict[str, object]) -> bool:
    output = await world.effect("file_operation", "files", operation, parameters, key="k1")
    return output.metadata.replayed


_OLD, _NEW = "old " * 300, "new " * 500


@pytest.mark.parametrize(
    ("operation", "parameters", "before", "after", "calls_min"),
    [
        ("write", {"path": "b", "content": _NEW}, {"b": _OLD}, {"b": _NEW}, 5),
        ("write", {"path": "b", "content": _NEW, "overwrite": False}, {}, {"b": _NEW}, 10),
        ("append", {"path": "b", "content": _NEW}, {"b": _OLD}, {"b": _OLD + _NEW}, 6),
        ("copy", {"path": "a", "destination": "b"}, {"a": _NEW}, {"a": _NEW, "b": _NEW}, 10),
        ("copy", {"path": "a", "destination": "x/y/b"}, {"a": _NEW}, {"a": _NEW, "x/y/b": _NEW}, 14),
        (
            "copy",
            {"path": "a", "destination": "b", "overwrite": True},
            {"a": _NEW, "b": _OLD},
            {"a": _NEW, "b": _NEW},
            10,
        ),
        ("move", {"path": "a", "destination": "b"}, {"a": _NEW}, {"b": _NEW}, 9),
        ("move", {"path": "a", "destination": "b", "overwrite": True}, {"a": _NEW, "b": _OLD}, {"b": _NEW}, 9),
        ("move elsewhere", {"path": "a", "destination": "b"}, {"a": _NEW}, {"b": _NEW}, 15),
        (
            "move elsewhere",
            {"path": "a", "destination": "b", "overwrite": True},
            {"a": _NEW, "b": _OLD},
            {"b": _NEW},
            15,
        ),
        ("delete", {"path": "b"}, {"b": _OLD}, {}, 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_crash_at_any_moment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    parameters: dict[str, object],
    before: dict[str, str],
    after: dict[str, str],
    calls_min: int,
) -> None:
    """R9, R25: whenever the node dies, every file is whole, nothing is lost, and the repeat comes to what one run does.

    It leaves no unfinished files behind either, and one more repeat changes nothing.
    """
    operation, _, elsewhere = operation.partition(" ")
    work: dict[str, object] = {"operation": operation, "parameters": parameters, "is_elsewhere": bool(elsewhere)}
    folders = await _killed_everywhere(tmp_path, before, work)
    assert len(folders) > calls_min
    if elsewhere:
        separate_file_systems(monkeypatch.setattr)
    assert _files(folders[-1] / "root") == after
    for folder in folders:
        root = folder / "root"
        crashed = _files(root)
        if operation == "append":
            # The journal tells what of the end is not finished.
            assert (_OLD + _NEW).startswith(crashed["b"])
        else:
            assert all(text in (before.get(name), after.get(name)) for name, text in crashed.items()), folder.name
            assert set(after.values()) <= set(crashed.values()) | ({_NEW} if operation == "write" else set())
        async with effect_world(folder, _TARGETS) as world:
            replayed = await _repeat(world, operation, parameters)
            assert replayed or folder != folders[-1] or operation in ("write", "delete")
            assert _files(root) == after, folder.name
            await _repeat(world, operation, parameters)
        assert _files(root) == after
        assert not list(root.rglob("*.tmp")), folder.name
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("operation", "parameters", "steps"),
    [
        ("write", {"path": "x/b", "content": "y"}, ["rename", "folder"]),
        ("write", {"path": "x/b", "content": "y", "overwrite": False}, ["journal", "rename", "folder", "journal"]),
        ("copy", {"path": "a", "destination": "x/b"}, ["journal", "rename", "folder", "journal"]),
        ("move", {"path": "a", "destination": "x/b"}, ["journal", "rename", "folder", "folder", "journal"]),
    ],
)
async def test_what_is_synced_and_in_which_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    parameters: dict[str, object],
    steps: list[str],
) -> None:
    """R25: a loss of power takes nothing that was reported: content before its name, the name before the journal's end.

    kill -9 cannot show it, since the kernel keeps what it was given; so the calls are looked at.
    """
    root = tmp_path / "root"
    (root / "x").mkdir(parents=True)
    (root / "a").write_text("y", encoding="utf-8")
    fsync, rename, exclusively = os.fsync, os.rename, writing.rename_exclusively
    assert exclusively is not None
    seen: list[str] = []

    def synced(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_journal = place.name == ".onex-journal"
        seen.append("folder" if place.is_dir() else "journal" if is_journal else f"content of {place.stat().st_size}")
        fsync(descriptor)

    def renamed(*arguments: object, **named: object) -> None:
        seen.append("rename")
        (exclusively if len(arguments) == 4 else rename)(*arguments, **named)  # type: ignore[arg-type]  # passed on

    async with effect_world(tmp_path, _TARGETS) as world:
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "rename", renamed)
        monkeypatch.setattr(writing, "rename_exclusively", renamed)
        await _repeat(world, operation, parameters)
    # What is moved was synced by whoever wrote it.
    assert seen == [*(["content of 1"] if operation != "move" else []), *steps]

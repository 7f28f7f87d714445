"""The .proto files themselves: every name explained, linted, and the stubs made from them checked in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tests.contract.descriptors import PROTO_FOLDER, ROOT

_FIELD, _NESTED_MESSAGE, _NESTED_ENUM = 2, 3, 4
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_ENUM_VALUE, _METHOD = 2, 2


def _commented_things(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, path in the descriptor) of everything that must have a comment."""
    for index, message in enumerate(file.message_type):
        yield from _of_message(message, (_MESSAGE, index))
    for index, enum in enumerate(file.enum_type):
        yield from _of_enum(enum, (_ENUM, index))
    for index, service in enumerate(file.service):
        yield service.name, (_SERVICE, index)
        for at, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (_SERVICE, index, _METHOD, at)


def _of_message(
    message: descriptor_pb2.DescriptorProto, path: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    if message.options.map_entry:
        return
    yield message.name, path
    for index, field in enumerate(message.field):
        yield f"{message.name}.{field.name}", (*path, _FIELD, index)
    for index, nested in enumerate(message.nested_type):
        yield from _of_message(nested, (*path, _NESTED_MESSAGE, index))
    for index, enum in enumerate(message.enum_type):
        yield from _of_enum(enum, (*path, _NESTED_ENUM, index))


def _of_enum(enum: descriptor_pb2.EnumDescriptorProto, path: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield enum.name, path
    for index, value in enumerate(enum.value):
        yield value.name, (*path, _ENUM_VALUE, index)


def test_everything_is_commented(tmp_path: Path) -> None:
    """R165: every message, field, enum, value, service and method says what it means."""
    pytest.importorskip("grpc_tools.protoc", reason="needs grpcio-tools")
    target = tmp_path / "contract.binpb"
    sources = [str(path.relative_to(ROOT)) for path in sorted(PROTO_FOLDER.glob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "--include_source_info", f"-o{target}", *sources]
    subprocess.run(command, cwd=ROOT, check=True)
    described = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    assert len(described.file) == len(sources)
    silent = []
    for file in described.file:
        comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}
        silent += [f"{file.name}: {name}" for name, path in _commented_things(file) if not comments.get(path)]
    assert silent == []


def test_generated_stubs_are_current() -> None:
    """The checked-in stubs are what the checked-in protos make."""
    pytest.importorskip("grpc_tools.protoc", reason="needs grpcio-tools")
    run = subprocess.run(
        [ROOT / "scripts" / "generate.sh", "--check", sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_generating_notices_a_difference(tmp_path: Path) -> None:
    """A stub that was edited by hand is found."""
    pytest.importorskip("grpc_tools.protoc", reason="needs grpcio-tools")
    for folder in ("scripts", "proto", "generated"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    stub = tmp_path / "generated" / "onex" / "v1" / "lease_pb2.pyi"
    stub.write_text(stub.read_text() + "# by hand\n")
    run = subprocess.run(
        [tmp_path / "scripts" / "generate.sh", "--check", sys.executable], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "lease_pb2.pyi differ" in run.stdout
    assert "make generate" in run.stderr


def _buf() -> str:
    tools = Path(os.environ.get("ONEX_TOOLS") or Path.home() / ".cache" / "onex-mesh" / "tools")
    found = shutil.which("buf", path=f"{tools / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("buf is not installed: `make tools` installs it")
    return found


@pytest.mark.parametrize("arguments", [("lint",), ("format", "--diff", "--exit-code")], ids=["lint", "format"])
def test_buf_finds_nothing(arguments: tuple[str, ...]) -> None:
    """The protos keep buf's STANDARD and COMMENTS rules and its format."""
    run = subprocess.run([_buf(), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_buf_refuses_a_breaking_change(tmp_path: Path) -> None:
    """A field that changes its number is refused, so that old clients keep working."""
    buf = _buf()
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    common = tmp_path / "proto" / "onex" / "v1" / "common.proto"
    common.write_text(common.read_text().replace("string reason = 1;", "string reason = 99;"))
    run = subprocess.run(
        [buf, "breaking", "--against", str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert 'on message "OnexError"' in run.stdout, run.stdout
    assert "reason" in run.stdout

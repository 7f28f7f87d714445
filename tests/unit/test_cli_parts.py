"""Parts of the command that need no mesh: addresses, ready files, ports, the data folder, processes that fail."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from onex_mesh.cli import exit_codes
from onex_mesh.cli.address import MeshAddress, check_address
from onex_mesh.cli.dev.child import Child, ChildFailedError
from onex_mesh.cli.dev.data_dir import DataDir
from onex_mesh.cli.dev.follow_logs import follow_logs
from onex_mesh.cli.dev.ports import PortChooser, is_free
from onex_mesh.cli.ready_file import Ready, ReadyNode, read_ready, write_json, write_ready
from onex_mesh.runtime import errors


def ready(pid: int) -> Ready:
    node = ReadyNode("orchestrator", "127.0.0.1:5", 6, "orchestrator-1-a", "127.0.0.1:15", "127.0.0.1:25")
    return Ready(pid=pid, etcd="127.0.0.1:4", namespace="n", data_dir="/d", nodes=(node,))


@pytest.mark.parametrize("text", ["localhost:1", "10.0.0.1:65535", "[::1]:50054", "pod-7.mesh.svc:50054"])
def test_addresses(text: str) -> None:
    """An address is host:port."""
    assert check_address(text) == text


@pytest.mark.parametrize("text", ["", "localhost", ":1", "a:0", "a:65536", "http://a:1", "a:b", "::1:50054", "a:1:2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """Whatever is not host:port is refused with what was expected."""
    with pytest.raises(errors.ValidationError, match="expected host:port"):
        check_address(text)


async def test_the_address_given_comes_before_the_ready_file(tmp_path: Path) -> None:
    """docs/cli.md: --address, then --etcd, then the ready file of a running dev."""
    path = tmp_path / "dev.json"
    write_ready(path, ready(os.getpid()))
    given = MeshAddress(address="a:1, b:2", ready_file=path)
    assert await given.orchestrators() == ("a:1", "b:2")
    assert await MeshAddress(ready_file=path).orchestrators() == ("127.0.0.1:5",)
    with pytest.raises(errors.DependencyResolutionError, match="no mesh found: give --address or --etcd"):
        await MeshAddress(ready_file=tmp_path / "none.json").orchestrators()


def test_ready_files_survive_the_way_there_and_back(tmp_path: Path) -> None:
    """Issue 2 §5: the ready file is JSON, written whole or not at all."""
    path = tmp_path / "deep" / "dev.json"
    write_ready(path, ready(os.getpid()))
    assert read_ready(path) == ready(os.getpid())
    assert [entry.name for entry in path.parent.iterdir()] == ["dev.json"]


def test_a_ready_file_of_a_process_that_is_gone_does_not_count(tmp_path: Path) -> None:
    """A dev that was killed leaves its file; nobody is sent to addresses that are not served any more."""
    path = tmp_path / "dev.json"
    write_ready(path, ready(2**22 + 1))
    assert read_ready(path) is None
    for text in ("{}", "[", '{"pid": 1, "nodes": 5}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(errors.ValidationError, match="not a ready file"):
            read_ready(path)


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """No traceback for a path that cannot be."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(errors.ValidationError, match="cannot be written"):
        write_json(tmp_path / "file" / "below.json", {})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ValidationError("x"), 2),
        (errors.EtcdUnavailableError("x"), 3),
        (errors.DependencyResolutionError("x"), 3),
        (errors.OverloadedError("x"), 3),
        (errors.ActionExpiredError("x"), 3),
        (errors.WorkflowNotFoundError("x"), 4),
        (errors.WorkflowExistsError("x"), 4),
        (errors.LeaseExpiredError("x"), 4),
        (errors.WorkflowExecutionError("x"), 1),
        (errors.InternalError("x"), 70),
    ],
)
def test_exit_codes(error: errors.OnexError, code: int) -> None:
    """docs/cli.md: the exit code tells what kind of failure it was."""
    assert exit_codes.exit_code_of(error) == code


def test_ports_are_free_and_never_handed_out_twice() -> None:
    """Nodes get ports of their own; the preferred one only where it and its neighbours are free."""
    chooser = PortChooser()
    found = [
        port for ports in (chooser.free() for _ in range(20)) for port in (ports.service, ports.health, ports.metrics)
    ]
    assert len(set(found)) == 60
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free("127.0.0.1", port)
        assert chooser.preferred(port - 10) is None
    wanted = chooser.one() - 1
    assert is_free("127.0.0.1", wanted + 1)


def test_one_mesh_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    """A second dev on the same folder is refused; --fresh deletes what earlier ones left and nothing else."""
    folder = tmp_path / "data"
    with DataDir(folder):
        (folder / "etcd").mkdir()
        (folder / "mine").mkdir()
        assert (folder / ".gitignore").read_text(encoding="utf-8") == "*\n"
        with pytest.raises(errors.ValidationError, match="is used by another mesh"), DataDir(folder):
            pass
    with DataDir(folder, fresh=True):
        assert not (folder / "etcd").exists()
        assert (folder / "mine").exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(errors.ValidationError, match="cannot be used"), DataDir(tmp_path / "file"):
        pass


def child(tmp_path: Path, *arguments: str) -> Child:
    return Child("one", arguments, log_path=tmp_path / "one.log", ready_path=tmp_path / "one.json")


async def test_a_process_that_does_not_come_up_is_told_with_its_last_lines(tmp_path: Path) -> None:
    """A node that cannot start ends the wait at once, and what it said can be shown."""
    failing = child(tmp_path, "serve", "nonsense")
    await failing.start()
    with pytest.raises(ChildFailedError, match="one ended with 2 before it served") as caught:
        await failing.wait_ready(30)
    assert caught.value.child is failing
    assert any("nonsense" in line for line in failing.last_lines())
    await failing.stop(1)
    assert failing.exit_code == 2
    assert stat.S_ISREG((tmp_path / "one.log").stat().st_mode)


async def test_last_lines_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    """Nothing was started, so there is nothing to show or to stop."""
    idle = child(tmp_path)
    assert idle.last_lines() == []
    assert (idle.pid, idle.exit_code, idle.is_running) == (0, None, False)
    await idle.stop(1)


async def test_logs_are_followed_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--logs shows what is written from now on, whole lines with the name of the process."""
    log = tmp_path / "a.log"
    log.write_text("before\n", encoding="utf-8")
    task = asyncio.create_task(follow_logs({"effect-1": log, "none": tmp_path / "none.log"}))
    await asyncio.sleep(0.1)
    with log.open("a", encoding="utf-8") as file:
        file.write("one\ntwo\nhal")
    seen = ""
    async with asyncio.timeout(10):
        while "two" not in seen:
            await asyncio.sleep(0.05)
            seen += capsys.readouterr().err
    assert seen == "effect-1 | one\neffect-1 | two\n"
    task.cancel()

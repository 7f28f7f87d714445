"""A real Redis server for tests, where its program is installed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

_START_S = 20.0
_CLUSTER_SLOTS = 16_383


class RedisServer:
    """A server on a free loopback port; its port and its data stay over stops, kills and restarts.

    Args:
        config: Further lines of its configuration, such as users or TLS.
        cluster: Whether it is a cluster, of itself alone.
    """

    def __init__(self, config: str = "", *, cluster: bool = False) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="onex-redis-"))
        self.is_cluster = cluster
        # The bus of a cluster listens at 10,000 above.
        self.port = _free_port(45_000 if cluster else 65_535)
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(config)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def configure(self, config: str = "") -> None:
        """Writes its configuration; it is read at the next start."""
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            "save ''",
            "appendonly yes",
            "appendfsync always",
            "enable-debug-command local",
            *(["cluster-enabled yes"] if self.is_cluster else []),
            config,
        ]
        (self._folder / "redis.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        """Starts it and returns when it answers."""
        assert self._process is None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self._folder / "redis.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait(self._answers)
        if self.is_cluster and b"cluster_state:ok" not in self._ask(b"CLUSTER INFO"):
            self._ask(f"CLUSTER ADDSLOTSRANGE 0 {_CLUSTER_SLOTS}".encode())
            self._wait(lambda: b"cluster_state:ok" in self._ask(b"CLUSTER INFO"))

    def stop(self) -> None:
        """Stops it as an operator would; connections are closed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops and starts it; connections are lost, data stays."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Makes it stand still: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + _START_S
        while psutil.Process(self.pid).status() != psutil.STATUS_STOPPED:
            if time.monotonic() > until:
                raise RuntimeError("the server does not stand still")
            time.sleep(0.001)

    def resume(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Ends it and removes its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(timeout=_START_S)
        self._process = None

    def _wait(self, is_there: Callable[[], bool]) -> None:
        assert self._process is not None
        until = time.monotonic() + _START_S
        while not is_there():
            if self._process.poll() is not None or time.monotonic() > until:
                log_text = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                self.kill()
                raise RuntimeError(f"redis-server did not start: {log_text[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        answer = self._ask(b"PING")
        # Where a password is required that is an answer, too; while it loads its data it is not there yet.
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def _ask(self, command: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(command + b"\r\n")
                return connection.recv(65_536)
        except OSError:
            return b""


def _free_port(highest: int) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port <= highest:
            return port

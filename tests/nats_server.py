"""A real NATS server with JetStream for tests, where its program is installed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

_START_S = 20.0


class NatsServer:
    """A server on a free loopback port; its port and its data stay over stops, kills and restarts.

    Args:
        config: Further lines of its configuration, such as users or TLS.
        jetstream: Whether it keeps streams.
    """

    def __init__(self, config: str = "", *, jetstream: bool = True) -> None:
        program = shutil.which("nats-server")
        if program is None:
            pytest.skip("nats-server is not installed")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="onex-nats-"))
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(config, jetstream=jetstream)

    @property
    def url(self) -> str:
        """Where it is, as a target names it."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def configure(self, config: str = "", *, jetstream: bool = True) -> None:
        """Writes its configuration; it is read at the next start."""
        store = f'jetstream {{ store_dir: "{self._folder / "data"}" }}\n' if jetstream else ""
        listen = f"listen: 127.0.0.1:{self.port}\n"
        (self._folder / "nats.conf").write_text(listen + store + config, encoding="utf-8")

    def start(self) -> None:
        """Starts it and returns when it answers."""
        assert self._process is None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._folder / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + _START_S
        while not self._greets():
            if self._process.poll() is not None or time.monotonic() > until:
                log_text = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                self.kill()
                raise RuntimeError(f"nats-server did not start: {log_text[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops it as an operator would; connections are closed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops and starts it; connections are lost, streams stay."""
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

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

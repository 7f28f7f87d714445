"""One node process: started, awaited until it serves, stopped in order, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onex_mesh.runtime.errors import DependencyResolutionError

_POLL_S = 0.03
_LOG_TAIL_BYTES = 16_384


@dataclass(slots=True)
class Child:
    """A process of `onex-mesh serve`.

    It is in a session of its own, so that Ctrl-C reaches the command alone, which then stops everything in order. Its
    standard input is a pipe that ends with this process: a node whose parent was killed stops by itself.
    """

    name: str
    arguments: Sequence[str]
    """What stands behind `onex-mesh`."""
    log_path: Path
    ready_path: Path
    """The process writes this file once it serves."""
    environment: dict[str, str] = field(default_factory=dict)
    working_directory: Path | None = None
    instance_id: str = ""
    """Id of the node, new with each start: the registry tells a crashed process from its successor by it."""
    started_at: float = 0.0
    """Monotonic time of the last start."""
    _process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Id of the process; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or before it was started."""
        return self._process.returncode if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts the process; it is not serving yet."""
        assert not self.is_running
        self.ready_path.unlink(missing_ok=True)
        for path in (self.ready_path, self.log_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.started_at = time.monotonic()
        self.instance_id = f"{self.name}-{uuid.uuid4().hex[:8]}"
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "onex_mesh.cli.main",
                *self.arguments,
                "--instance-id",
                self.instance_id,
                "--ready-file",
                str(self.ready_path),
                "--exit-with-parent",
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self.environment},
                cwd=self.working_directory,
                start_new_session=True,
            )

    async def wait_ready(self, timeout_s: float) -> None:
        """Returns once it serves.

        Raises:
            ChildFailedError: It ended, or did not serve in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.ready_path.exists():
            if not self.is_running:
                raise ChildFailedError(self, f"{self.name} ended with {self.exit_code} before it served")
            if time.monotonic() > deadline:
                raise ChildFailedError(self, f"{self.name} does not serve after {timeout_s:g} s")
            await asyncio.sleep(_POLL_S)

    async def wait(self) -> int:
        """Returns the exit code once the process has ended; negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, timeout_s: float) -> None:
        """Asks the process to stop, and kills it where it has not stopped in time."""
        if self._process is None:
            return
        if self.is_running:
            self.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), timeout_s)
            except TimeoutError:
                self.kill()
                await self._process.wait()
        self.ready_path.unlink(missing_ok=True)

    def kill(self) -> None:
        """Ends the process at once."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, if there is a process to take it."""
        if self._process is not None and self._process.returncode is None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return  # it ended in between

    def last_lines(self, count: int = 20) -> list[str]:
        """The last lines of its log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _LOG_TAIL_BYTES))
                return log.read().decode("utf-8", errors="replace").splitlines()[-count:]
        except FileNotFoundError:
            return []


class ChildFailedError(DependencyResolutionError):
    """A node process could not be started."""

    def __init__(self, child: Child, message: str) -> None:
        super().__init__(message)
        self.child = child

"""Starts the driver and asks it for measurements."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from bench.driver import Task
from bench.load import LoadResult

_ROOT = Path(__file__).resolve().parents[1]
_LINE_BYTES_MAX = 256 * 1024 * 1024
_STOP_TIMEOUT_S = 5.0


class DriverFailedError(Exception):
    """The driver ended or answered what it must not."""


class DriverProcess:
    """The driver as a child process; an async context manager."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> DriverProcess:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.driver",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            limit=_LINE_BYTES_MAX,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def measure(self, task: Task, *, opened: Callable[[], None], closed: Callable[[], None]) -> LoadResult:
        """Runs one task; `opened` and `closed` are called at the ends of its window.

        Raises:
            DriverFailedError: The driver ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            match message.pop("event"):
                case "opened":
                    opened()
                case "closed":
                    closed()
                case "result":
                    return LoadResult(**message)
                case event:
                    raise DriverFailedError(f"the driver said {event!r}")
        raise DriverFailedError(f"the driver ended with {await self._process.wait()}")

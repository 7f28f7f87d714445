"""Restate for comparison: its server and one Python service, on free loopback ports, with data in a folder of ours."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from bench.restate_install import RestateInstall
from onex_mesh.cli.dev.ports import PortChooser

_SERVICE_FOLDER = Path(__file__).resolve().parent
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_FSYNC_OPTION = "rocksdb-disable-wal-fsync"
# The stores that an invocation's journal is written through. Restate's default for both is to sync.
_FSYNC_SECTIONS = ("bifrost.local", "log-server")


class RestateFailedError(Exception):
    """Restate did not start, or not as it must for a fair comparison."""


class RestatePeer:
    """A running Restate; an async context manager.

    Args:
        install: Server and SDK.
        data_dir: Where its data and its logs go.
        workers: Processes that serve the handler.
    """

    def __init__(self, install: RestateInstall, data_dir: Path, *, workers: int = 1) -> None:
        self._install = install
        self._data_dir = data_dir
        self._workers = workers
        chooser = PortChooser()
        self._ports = {name: chooser.one() for name in ("ingress", "admin", "node", "service")}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._service_class = "uvloop" if install.has_uvloop else "asyncio"

    @property
    def system(self) -> str:
        """Its name."""
        return "restate"

    @property
    def description(self) -> str:
        """Versions and configuration."""
        service = f"hypercorn on {self._service_class}, {self._workers} worker(s)"
        return f"{self._install.version}, {service}, {_FSYNC_OPTION} = false (writes are synced)"

    @property
    def address(self) -> str:
        """Its ingress."""
        return f"127.0.0.1:{self._ports['ingress']}"

    @property
    def pids(self) -> Mapping[str, int]:
        """Server and service."""
        return {name: process.pid for name, process in self._processes.items()}

    async def __aenter__(self) -> RestatePeer:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._require_fsync()
        try:
            await self._start("restate-server", [str(self._install.server), "--no-logo"], self._server_environment())
            await self._start("restate-service", self._service_command(), dict(os.environ))
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._register()
                await self._answers()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Ends both processes."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        self._processes.clear()

    def _server_environment(self) -> dict[str, str]:
        address = {name: f"127.0.0.1:{port}" for name, port in self._ports.items()}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("RESTATE_")},
            "RESTATE_BASE_DIR": str(self._data_dir / "data"),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": address["node"],
            "RESTATE_ADVERTISED_ADDRESS": f"http://{address['node']}/",
            "RESTATE_INGRESS__BIND_ADDRESS": address["ingress"],
            "RESTATE_ADMIN__BIND_ADDRESS": address["admin"],
            "RESTATE_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "RUST_LOG": "warn",
        }

    def _service_command(self) -> list[str]:
        return [
            *(str(self._install.python), "-m", "hypercorn", "restate_service:app"),
            *("--bind", f"127.0.0.1:{self._ports['service']}"),
            *("--worker-class", self._service_class, "--workers", str(self._workers)),
        ]

    def _require_fsync(self) -> None:
        """Reads the configuration that the server will run with."""
        dumped = subprocess.run(
            [str(self._install.server), "--dump-config"],
            env=self._server_environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        config = tomllib.loads(dumped.stdout)
        for section in _FSYNC_SECTIONS:
            table = config
            for part in section.split("."):
                table = table[part]
            if table[_FSYNC_OPTION] is not False:
                raise RestateFailedError(f"Restate would not sync its writes: {section}.{_FSYNC_OPTION}")

    async def _start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self._data_dir / f"{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                cwd=_SERVICE_FOLDER,
                env=environment,
            )

    async def _register(self) -> None:
        """Tells the server where the service is, once both are up."""
        body = json.dumps({"uri": f"http://127.0.0.1:{self._ports['service']}"})
        await self._until_ok("admin", "/deployments", body)

    async def _answers(self) -> None:
        """Returns once a workflow has run."""
        await self._until_ok("ingress", "/Bench/journalled", "")

    async def _until_ok(self, port: str, path: str, body: str) -> None:
        while True:
            for name, process in self._processes.items():
                if process.returncode is not None:
                    raise RestateFailedError(f"{name} ended with {process.returncode}\n{self._last_lines(name)}")
            # Not listening yet, or not ready yet: both pass, or the time runs out.
            with contextlib.suppress(OSError, http.client.HTTPException):
                if await asyncio.to_thread(_post, self._ports[port], path, body) in (200, 201):
                    return
            await asyncio.sleep(0.2)

    def _last_lines(self, name: str) -> str:
        text = (self._data_dir / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-20:])


def _post(port: int, path: str, body: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"} if body else {})
        return connection.getresponse().status
    finally:
        connection.close()

"""`onex-mesh dev`: a whole mesh on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from onex_mesh.app import load_app
from onex_mesh.cli import exit_codes
from onex_mesh.cli.console import notes, print_failure, table
from onex_mesh.cli.dev.child import ChildFailedError
from onex_mesh.cli.dev.data_dir import DataDir
from onex_mesh.cli.dev.follow_logs import follow_logs
from onex_mesh.cli.dev.mesh import MeshOptions, ProcessMesh
from onex_mesh.cli.dev.reload import changes
from onex_mesh.cli.dev.supervisor import Supervisor
from onex_mesh.cli.ready_file import DEFAULT_PATH, write_ready
from onex_mesh.cli.serve_command import AppDirOption, AppOption, TargetsOption
from onex_mesh.cli.shield import run_async, shielded

_DATA_DIR = Path(".onex")


@shielded
def dev(
    app: AppOption = "",
    app_dir: AppDirOption = Path(),
    targets: TargetsOption = None,
    data_dir: Annotated[
        Path, typer.Option("--data-dir", metavar="DIR", help="Keeps workflows over restarts; logs are here too.")
    ] = _DATA_DIR,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier runs left in the data folder.")] = False,
    ready_file: Annotated[
        Path, typer.Option("--ready-file", metavar="PATH", help="Written as JSON once everything serves.")
    ] = DEFAULT_PATH,
    orchestrators: Annotated[
        int, typer.Option("--orchestrators", metavar="N", min=1, max=16, help="How many orchestrators.")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the nodes when code, workflows or targets change.")
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Show the logs of the nodes here.")] = False,
    free_ports: Annotated[
        bool, typer.Option("--free-ports", help="Any free ports, not 50051 to 50054 where they are free.")
    ] = False,
) -> int:
    """Start an embedded etcd and the four nodes, each a process of its own, and keep them running.

    A node that crashes is reported with its last log lines and started again; one that keeps crashing ends the
    command with 3. Ctrl-C or SIGTERM stops everything in order; a second one at once.

    Examples:

        onex-mesh dev --app shop.orders:app --targets targets.yaml

        onex-mesh dev --app shop.orders:app --reload --logs

        onex-mesh dev --app shop.orders:app --orchestrators 2 --free-ports --ready-file /tmp/mesh.json
    """
    if app:
        load_app(app, directory=app_dir)
    targets = targets or _targets_beside(app, app_dir)
    options = MeshOptions(
        data_dir=data_dir,
        app=app,
        app_dir=app_dir,
        targets=targets,
        counts={"orchestrator": orchestrators},
        standard_ports=not free_ports,
        settings={"ONEX_DEVELOPMENT": "true", **_payload_store(data_dir)},
    )
    with DataDir(data_dir, fresh=fresh):
        return run_async(_Dev(options, ready_file, reload=reload, logs=logs).run())


def _payload_store(data_dir: Path) -> dict[str, str]:
    """A payload store beside etcd's data, unless one is configured or what it takes is not installed."""
    if os.environ.get("ONEX_PAYLOAD_STORE") or importlib.util.find_spec("fsspec") is None:
        return {}
    return {"ONEX_PAYLOAD_STORE": f"file://{data_dir.resolve()}/payloads"}


class _Dev:
    """One run of the command."""

    def __init__(self, options: MeshOptions, ready_file: Path, *, reload: bool, logs: bool) -> None:
        self._options = options
        # Where other commands look for a mesh that runs here, and where the user wants to be told.
        self._ready_files = list(dict.fromkeys((DEFAULT_PATH, ready_file)))
        self._reload = reload
        self._logs = logs
        self._stop = asyncio.Event()

    async def run(self) -> int:
        mesh = ProcessMesh(self._options)
        self._take_signals(mesh)
        try:
            return await self._until_stopped(mesh)
        except ChildFailedError as error:
            print_failure(error.message)
            _print_lines(error.child.last_lines())
            return exit_codes.USAGE if error.child.exit_code == exit_codes.USAGE else exit_codes.UNAVAILABLE
        finally:
            for path in self._ready_files:
                path.unlink(missing_ok=True)
            await mesh.stop()

    async def _until_stopped(self, mesh: ProcessMesh) -> int:
        starting = asyncio.create_task(mesh.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            return exit_codes.OK
        await starting
        self._announce(mesh)
        supervisor = Supervisor(mesh, lambda message, lines: self._report(mesh, message, lines), forgiving=self._reload)
        tasks = {stopping, asyncio.create_task(_unwrapped(supervisor))}
        if self._reload:
            tasks.add(asyncio.create_task(self._restart_on_change(mesh, supervisor)))
        if self._logs:
            tasks.add(asyncio.create_task(follow_logs({node.name: node.child.log_path for node in mesh.nodes})))
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.wait(pending) if pending else None
        for task in done:
            task.result()
        notes().print("stopping")
        return exit_codes.OK

    def _take_signals(self, mesh: ProcessMesh) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self._stop.is_set():
                mesh.kill_nodes()
            self._stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)

    def _announce(self, mesh: ProcessMesh) -> None:
        self._write_ready(mesh)
        grid = table("node", "address", "health", "metrics", "process")
        for node in mesh.nodes:
            ports = node.ports
            grid.add_row(node.name, node.address, str(ports.health), str(ports.metrics), str(node.child.pid))
        grid.add_row("etcd", mesh.endpoint, "", "", "")
        console = notes()
        console.print(grid)
        console.print(
            f"logs: {escape(str(self._options.data_dir / 'logs'))}   ready file: {escape(str(self._ready_files[-1]))}"
        )
        console.print("Ctrl-C stops everything.")

    def _report(self, mesh: ProcessMesh, message: str, lines: list[str]) -> None:
        notes().print(f"[yellow]{escape(message)}[/]", soft_wrap=True)
        _print_lines(lines)
        # Process ids have changed.
        self._write_ready(mesh)

    def _write_ready(self, mesh: ProcessMesh) -> None:
        for path in self._ready_files:
            write_ready(path, mesh.ready())

    async def _restart_on_change(self, mesh: ProcessMesh, supervisor: Supervisor) -> None:
        folders = [self._options.app_dir]
        if self._options.targets is not None:
            folders.append(self._options.targets.parent)
        async for paths in changes(folders, ignored=self._options.data_dir):
            notes().print(
                f"{escape(paths[0])} changed{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}; restarting"
            )
            if await supervisor.restart_all():
                self._write_ready(mesh)
                notes().print("serving again")


def _targets_beside(app: str, app_dir: Path) -> Path | None:
    """`targets.yaml` beside the App's module, or in the working folder, where there is one."""
    module = app.partition(":")[0]
    folder = app_dir.joinpath(*module.split(".")[:-1])
    for candidate in (folder / "targets.yaml", Path("targets.yaml")):
        if candidate.is_file():
            return candidate
    return None


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        notes().print(f"  {line}", soft_wrap=True, markup=False, style="dim")


async def _unwrapped(supervisor: Supervisor) -> None:
    """Runs the supervisor; the first error of its group stands for all."""
    try:
        await supervisor.run()
    except* ChildFailedError as group:
        raise group.exceptions[0] from None

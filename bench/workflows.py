"""Measures workflows of five steps on a mesh of processes, and on Restate in the same run when asked.

python -m bench.workflows --workflow journalled --in-flight 1 64 --seconds 5 --restate
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from bench.app import WORKFLOWS
from bench.contender import Contender
from bench.driver import Task
from bench.driver_process import DriverFailedError, DriverProcess
from bench.measurement import Measurement, measurement
from bench.mesh_contender import MeshContender
from bench.options import Options, parse
from bench.processes import CpuMeter, CpuSample
from bench.profiling import ProfilerError, find_profiler, record
from bench.report import print_report, ratios
from bench.restate_install import RestateMissingError, find_restate
from bench.restate_peer import RestateFailedError, RestatePeer
from onex_mesh.cli.dev.child import ChildFailedError
from onex_mesh.runtime.errors import OnexError


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table to be."""

    contender: Contender
    workflow: str
    in_flight: int


class Bench:
    """Runs the cells one after the other.

    Args:
        options: What is measured.
        driver: The driver.
        console: Takes a line on each window.
    """

    def __init__(self, options: Options, driver: DriverProcess, console: Console) -> None:
        self._options = options
        self._driver = driver
        self._console = console

    async def run(self, contenders: Sequence[Contender]) -> list[Measurement]:
        """Measures every cell. At each level the contenders take turns, so that a noisy spell hits them all."""
        measured: dict[tuple[str, str, int], Measurement] = {}
        for in_flight in self._options.levels:
            cells = list(self._cells(contenders, in_flight))
            for _ in range(self._options.rounds):
                for cell in cells:
                    row = await self._measure(cell)
                    key = (row.system, row.workflow, row.in_flight)
                    measured[key] = measured[key].plus(row) if key in measured else row
        return sorted(measured.values(), key=lambda row: (row.system, WORKFLOWS.index(row.workflow), row.in_flight))

    def _cells(self, contenders: Sequence[Contender], in_flight: int) -> list[Cell]:
        cells = []
        for contender in contenders:
            workflows = self._options.workflows if contender.system == "mesh" else WORKFLOWS[:1]
            cells += [Cell(contender, workflow, in_flight) for workflow in workflows]
        return cells

    async def _measure(self, cell: Cell) -> Measurement:
        contender = cell.contender
        meter = CpuMeter({**contender.pids, "driver": self._driver.pid})
        samples: list[CpuSample] = []
        task = Task(
            system=contender.system,
            address=contender.address,
            workflow=cell.workflow,
            in_flight=cell.in_flight,
            window_s=self._options.window_s,
            warm_up_s=self._options.warm_up_s,
            workflows=self._options.count,
        )
        pid = contender.pids.get(self._options.profile)
        profiles: list[asyncio.Task[None]] = []

        def opened() -> None:
            samples.append(meter.sample())
            if pid is not None:
                profiles.append(asyncio.create_task(self._profile(cell, pid)))

        load = await self._driver.measure(task, opened=opened, closed=lambda: samples.append(meter.sample()))
        await asyncio.gather(*profiles)
        row = measurement(contender.system, cell.workflow, cell.in_flight, load, *samples)
        self._console.print(
            f"{row.system} {row.workflow}, {row.in_flight} in flight: {row.workflows} workflows in {row.window_s:.1f} s"
            f", {row.per_s:.0f}/s, p50 {row.percentile_ms(50):.1f} ms, {row.failures} failed"
        )
        return row

    async def _profile(self, cell: Cell, pid: int) -> None:
        wanted = self._options.profile_file
        file = wanted.with_stem(f"{wanted.stem}-{self._options.profile}-{cell.workflow}-{cell.in_flight}")
        await record(find_profiler(), pid, self._options.window_s, file)
        self._console.print(f"profile: {file}", markup=False)


async def run(options: Options, console: Console) -> list[Measurement]:
    """Starts what is measured, measures it, and stops everything again."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-bench-")))
        driver = await stack.enter_async_context(DriverProcess())
        contenders: list[Contender] = [await stack.enter_async_context(MeshContender(folder / "mesh"))]
        if options.restate:
            install = find_restate(options.restate_home, options.restate_venv)
            peer = RestatePeer(install, folder / "restate", workers=options.restate_workers)
            contenders.append(await stack.enter_async_context(peer))
        console.print(_machine())
        for contender in contenders:
            console.print(contender.description, markup=False)
        measurements = await Bench(options, driver, console).run(contenders)
        if options.json_file is not None:
            _write(options.json_file, contenders, measurements)
    print_report(measurements, console)
    return measurements


def _write(file: Path, contenders: Sequence[Contender], measurements: Sequence[Measurement]) -> None:
    document = {
        "machine": _machine(),
        "systems": {contender.system: contender.description for contender in contenders},
        "measurements": [row.as_json() for row in measurements],
        "ratios": [row.as_json() for row in ratios(measurements)],
    }
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _machine() -> str:
    return (
        f"{psutil.cpu_count()} processors, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 0 if every workflow ended as it must, else 1."""
    options = parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 180)
    try:
        if options.profile:
            find_profiler()  # before anything is started
        measurements = asyncio.run(run(options, console))
    except ChildFailedError as error:
        sys.stderr.write(f"bench: {error}\n" + "".join(f"  {line}\n" for line in error.child.last_lines()))
        return 1
    except (OnexError, DriverFailedError, ProfilerError, RestateMissingError, RestateFailedError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if any(row.failures or not row.workflows for row in measurements) else 0


if __name__ == "__main__":
    sys.exit(main())

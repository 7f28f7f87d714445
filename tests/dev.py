"""`onex-mesh dev` as a process, and commands beside it, for the tests of the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

ROOT = Path(__file__).resolve().parents[1]

APP = '''
import time

from onex_mesh.app import App

app = App("cli-tests", version="1.2.0")


@app.algorithm()
def double(data: list[int]) -> list[int]:
    """Doubles numbers."""
    return [2 * number for number in data]


@app.algorithm()
def nap(data: float) -> float:
    """Takes its time."""
    time.sleep(data)
    return data


@app.algorithm()
def broken(data: object) -> object:
    """Never works."""
    raise ValueError("never")


def flow(name, algorithm):
    step = {"step_id": "work", "compute": {"algorithm_config": {"algorithm_type": algorithm}, "input_data": "${input}"}}
    return {"name": name, "version": "1.0.0", "steps": [step]}


for algorithm in ("double", "nap", "broken"):
    app.workflow(flow(algorithm, algorithm))
'''


@dataclass(slots=True)
class Dev:
    """A running `onex-mesh dev`."""

    process: subprocess.Popen[bytes]
    folder: Path
    ready: dict[str, object] = field(default_factory=dict)

    def __enter__(self) -> Dev:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is left where a test failed: the nodes stop when the process is gone."""
        if self.process.poll() is None:
            sys.stdout.write((self.folder / "dev.log").read_text(encoding="utf-8"))
            self.process.kill()
            self.process.wait()

    def run(
        self, *arguments: str, code: int | None = 0, stdin: str = "", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command beside it and checks the exit code, if one is expected; whatever happens, no traceback."""
        done = subprocess.run(
            command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "ONEX_READY_FILE": str(self.folder / "ready.json"), **(environment or {})},
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0, stdin: str = "") -> dict[str, object]:
        """What a command writes to stdout as JSON."""
        value = json.loads(self.run(*arguments, code=code, stdin=stdin).stdout)
        assert isinstance(value, dict)
        return value


def command(*arguments: str) -> list[str]:
    """The command line of `onex-mesh`."""
    return [sys.executable, "-m", "onex_mesh.cli.main", *arguments]


def start_dev(folder: Path, *arguments: str, app: str = "cli_app:app") -> Dev:
    """Starts `onex-mesh dev` in a folder and waits until it is ready; an empty `app` leaves it to the arguments."""
    flags = ["--data-dir", str(folder / "data"), "--free-ports", "--ready-file", str(folder / "ready.json"), *arguments]
    if app:
        (folder / "cli_app.py").write_text(APP, encoding="utf-8")
        flags += ["--app", app]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(command("dev", *flags), stdout=log, stderr=log, cwd=folder, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (folder / "ready.json").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError((folder / "dev.log").read_text(encoding="utf-8"))
        time.sleep(0.05)
    return Dev(process, folder, json.loads((folder / "ready.json").read_text(encoding="utf-8")))


def stop_dev(dev: Dev, number: signal.Signals = signal.SIGTERM) -> int:
    """Stops it and checks that no process of it is left; returns the exit code."""
    processes = psutil.Process(dev.process.pid).children(recursive=True)
    assert len(processes) >= 5
    dev.process.send_signal(number)
    code = dev.process.wait(timeout=60)
    _, left = psutil.wait_procs(processes, timeout=5)
    assert not left, left
    assert not (dev.folder / "ready.json").exists()
    return code

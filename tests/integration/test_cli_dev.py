"""`onex-mesh dev`: it starts everything, keeps it running, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.dev import APP, Dev, command, start_dev, stop_dev


def until(what: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.1)


def log(dev: Dev) -> str:
    return (dev.folder / "dev.log").read_text(encoding="utf-8")


def pids(dev: Dev) -> dict[str, int]:
    ready = json.loads((dev.folder / "ready.json").read_text(encoding="utf-8"))
    return {node["kind"]: node["pid"] for node in ready["nodes"]}


def test_ctrl_c_stops_everything_and_what_was_done_is_kept(tmp_path: Path) -> None:
    """Issue 2 §5: Ctrl-C leaves no process; workflows survive a restart of `dev`, but not --fresh."""
    with start_dev(tmp_path) as dev:
        assert dev.json("run", "double", "-d", "[4]", "--id", "kept")["output"] == [8]
        assert "orchestrator-1" in log(dev)
        assert str(dev.ready["etcd"]) in log(dev)
        second = dev.run("dev", "--data-dir", str(tmp_path / "data"), code=2)
        assert "is used by another mesh" in second.stderr
        assert stop_dev(dev, signal.SIGINT) == 0
    with start_dev(tmp_path) as dev:
        assert dev.json("get", "kept", "-o", "json")["status"] == "COMPLETED"
        assert stop_dev(dev) == 0
    with start_dev(tmp_path, "--fresh") as dev:
        assert "reason WORKFLOW_NOT_FOUND" in dev.run("get", "kept", code=4).stderr
        assert stop_dev(dev) == 0


def test_large_results_lie_beside_the_data(tmp_path: Path) -> None:
    """R39: `dev` has a payload store without being told; what lies there is shown and read, and goes with --fresh."""
    with start_dev(tmp_path) as dev:
        given = tmp_path / "numbers.json"
        given.write_text(json.dumps([number % 10 for number in range(150_000)]), encoding="utf-8")
        done = dev.json("run", "double", "--input", str(given), "--id", "large")
        uri = done["output"]["location"]["uri"]
        assert uri in dev.run("get", "large").stdout.replace("\n", "")
        store = f"file://{tmp_path}/data/payloads"
        content = dev.run("payload", "get", uri, "--payload-store", store).stdout
        assert json.loads(content) == [2 * (number % 10) for number in range(150_000)]
        assert stop_dev(dev) == 0
    with start_dev(tmp_path, "--fresh") as dev:
        assert not (tmp_path / "data" / "payloads").exists()
        assert stop_dev(dev) == 0


def test_a_crashed_node_is_reported_and_started_again(tmp_path: Path) -> None:
    """Issue 2 §5: a node that dies comes back at its address, with its last log lines shown; so does etcd."""
    with start_dev(tmp_path) as dev:
        before = pids(dev)
        os.kill(before["compute"], signal.SIGKILL)
        until(lambda: pids(dev)["compute"] != before["compute"] and "compute-1 serves again" in log(dev))
        assert "compute-1 ended (signal 9); starting it again" in log(dev)
        assert dev.json("run", "double", "-d", "[4]")["output"] == [8]
        etcd = next(p for p in psutil.Process(dev.process.pid).children() if p.name() == "etcd")
        etcd.kill()
        until(lambda: "etcd ended; starting it again" in log(dev))
        until(lambda: dev.run("run", "double", "-d", "[5]", "--timeout", "5", code=None).returncode == 0)
        assert stop_dev(dev) == 0


def test_nothing_outlives_a_killed_dev(tmp_path: Path) -> None:
    """R164: even kill -9 of `dev` leaves no process behind."""
    with start_dev(tmp_path) as dev:
        processes = psutil.Process(dev.process.pid).children(recursive=True)
        dev.process.kill()
        dev.process.wait(timeout=10)
        _, left = psutil.wait_procs(processes, timeout=40)
        assert not left, left
        assert "no mesh found" in dev.run("list", code=3).stderr


def test_an_app_that_does_not_load_ends_dev_before_it_starts_anything(tmp_path: Path) -> None:
    """A broken App is told with file and line, with exit code 2, and nothing is started."""
    (tmp_path / "bad_app.py").write_text(APP + "\napp.effect('x')(lambda: 1)\n", encoding="utf-8")
    flags = ["--app", "bad_app:app", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command("dev", *flags), capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/bad_app.py:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "etcd").exists()


def test_a_node_that_cannot_start_is_told_with_its_last_lines(tmp_path: Path) -> None:
    """Targets that are wrong end `dev` with what the effect node said."""
    (tmp_path / "targets.yaml").write_text("targets: {a: {kind: nonsense}}\n", encoding="utf-8")
    flags = ["--data-dir", str(tmp_path / "data"), "--targets", "targets.yaml", "--free-ports"]
    done = subprocess.run(command("dev", *flags), capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "effect-1 ended with 2 before it served" in done.stderr
    assert "targets.yaml:1: targets.a.kind: 'nonsense' is not one of" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_reload_restarts_on_a_change_and_waits_where_the_code_is_broken(tmp_path: Path) -> None:
    """Issue 2 §5: --reload serves the changed code; code that does not load is told, and the next change awaited."""
    with start_dev(tmp_path, "--reload") as dev:
        module = tmp_path / "cli_app.py"
        assert dev.json("run", "double", "-d", "[4]")["output"] == [8]
        module.write_text(APP.replace("2 * number", "3 * number"), encoding="utf-8")
        until(lambda: "serving again" in log(dev))
        assert dev.json("run", "double", "-d", "[4]")["output"] == [12]
        module.write_text("nonsense(", encoding="utf-8")
        until(lambda: "waiting for the next change" in log(dev))
        assert "cli_app.py:1" in log(dev)
        module.write_text(APP.replace("2 * number", "4 * number"), encoding="utf-8")
        until(lambda: log(dev).count("serving again") == 2)
        assert dev.json("run", "double", "-d", "[4]")["output"] == [16]
        assert stop_dev(dev) == 0


@pytest.mark.slow
def test_run_goes_on_when_the_orchestrator_that_it_asks_is_killed(tmp_path: Path) -> None:
    """R94: `run` waits through a takeover: the workflow goes on at another orchestrator, and so does the command."""
    with start_dev(tmp_path, "--orchestrators", "2") as dev:
        environment = {**os.environ, "ONEX_READY_FILE": str(dev.folder / "ready.json")}
        arguments = command("run", "nap", "-d", "4", "--id", "taken", "--watch")
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=dev.folder
        ) as process:
            until(lambda: dev.run("lease", "taken", code=None).returncode == 0)
            holder = str(dev.json("lease", "taken", "-o", "json")["holder"])
            ready = json.loads((dev.folder / "ready.json").read_text(encoding="utf-8"))
            os.kill(next(node["pid"] for node in ready["nodes"] if node["instance_id"] == holder), signal.SIGKILL)
            stdout, stderr = process.communicate(timeout=90)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["output"] == 4
        assert json.loads(stdout)["status"] == "COMPLETED"
        history = dev.json("history", "taken", "-o", "json")
        assert history["chain_valid"] is True
        assert stop_dev(dev) == 0

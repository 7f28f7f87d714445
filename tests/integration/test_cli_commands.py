"""The command against a real mesh that `onex-mesh dev` started: results, exit codes, and errors without tracebacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.dev import Dev, command, start_dev, stop_dev

TWO_STEPS = """\
name: twice
steps:
  - step_id: once
    compute: {algorithm_config: {algorithm_type: double}, input_data: "${input}"}
  - step_id: again
    compute: {algorithm_config: {algorithm_type: double}, input_data: "${steps.once.output}"}
output: {numbers: "${steps.again.output}"}
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One mesh for all tests of the module."""
    with start_dev(tmp_path_factory.mktemp("dev"), "--orchestrators", "2") as running:
        yield running
        assert stop_dev(running) == 0


def addresses(dev: Dev, kind: str) -> Sequence[str]:
    nodes = dev.ready["nodes"]
    assert isinstance(nodes, list)
    return [node["address"] for node in nodes if node["kind"] == kind]


def test_the_ready_file_has_the_addresses(dev: Dev) -> None:
    """Issue 2 §5: `--ready-file` writes the addresses as JSON once everything serves."""
    assert {kind: len(addresses(dev, kind)) for kind in ("effect", "compute", "reducer", "orchestrator")} == {
        "effect": 1,
        "compute": 1,
        "reducer": 1,
        "orchestrator": 2,
    }
    assert dev.ready["pid"] == dev.process.pid


def test_run_writes_the_result_to_stdout(dev: Dev) -> None:
    """Issue 2 §5: the result as JSON on stdout and nothing else; steps on stderr only when asked for."""
    quiet = dev.run("run", "double", "--data", "[1, 2, 3]", "--id", "run-1")
    result = json.loads(quiet.stdout)
    assert quiet.stderr == ""
    assert (result["workflow_id"], result["status"], result["output"]) == ("run-1", "COMPLETED", [2, 4, 6])
    assert result["steps"] == [{"step_id": "work", "status": "COMPLETED", "attempts": 1}]
    assert result["correlation_id"]
    loud = dev.run("run", "double", "--data", "[5]", "--watch")
    assert json.loads(loud.stdout)["output"] == [10]
    assert "work COMPLETED" in loud.stderr
    assert "workflow COMPLETED" in loud.stderr


def test_run_takes_a_file_and_input_from_stdin_and_files(dev: Dev) -> None:
    """Issue 2 §5: `run` takes a workflow's name or a YAML file, and input from a file or stdin."""
    (dev.folder / "twice.yaml").write_text(TWO_STEPS, encoding="utf-8")
    (dev.folder / "input.yaml").write_text("- 1\n- 4\n", encoding="utf-8")
    assert dev.json("run", "twice.yaml", "--input", "-", stdin="[1, 2]")["output"] == {"numbers": [4, 8]}
    assert dev.json("run", "twice.yaml", "--input", "input.yaml")["output"] == {"numbers": [4, 16]}
    table = dev.run("run", "twice.yaml", "-d", "[3]", "-o", "table").stdout
    assert '{"numbers": [12]}' in table
    assert "COMPLETED" in table


def test_the_same_id_again_returns_what_exists(dev: Dev) -> None:
    """The same id with the same contract is the same workflow; with another contract it is refused (exit code 4)."""
    first = dev.json("run", "double", "-d", "[7]", "--id", "same")
    again = dev.run("run", "double", "-d", "[7]", "--id", "same")
    assert json.loads(again.stdout) == first
    assert "exists already" in again.stderr
    other = dev.run("run", "double", "-d", "[8]", "--id", "same", code=4)
    assert "reason WORKFLOW_EXISTS" in other.stderr


def test_a_workflow_that_fails_ends_with_1(dev: Dev) -> None:
    """R104: the result is on stdout all the same; the reason and the correlation id are on stderr."""
    failed = dev.run("run", "broken", "-d", "1", "--correlation-id", "corr-7", code=1)
    result = json.loads(failed.stdout)
    assert result["status"] == "ABORTED"
    assert result["error"]["reason"] == "COMPUTE_FAILED"
    assert "reason COMPUTE_FAILED, correlation id corr-7" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "nothing"], 4, "no workflow is defined as 'nothing'; defined: broken, double, nap"),
        (["run", "missing.yaml"], 2, "missing.yaml: cannot be read"),
        (["run", "double", "-d", "{"], 2, "--data: not JSON"),
        (["run", "double", "-d", "1", "-i", "x"], 2, "exclude each other"),
        (["run", "double", "-i", "none.json"], 2, "none.json: cannot be read"),
        (["run", "double", "--id", "a b"], 2, "workflow_id"),
        (["run", "double", "--address", "127.0.0.1:1"], 3, "no orchestrator answers at 127.0.0.1:1"),
        (["run", "double", "--address", "here"], 2, "'here' is not an address; expected host:port"),
        (["run", "double", "--etcd", "127.0.0.1:1"], 3, "no etcd answers at 127.0.0.1:1"),
        (["list", "--ready-file", "none.json"], 3, "no mesh found"),
        (["get", "nowhere"], 4, "reason WORKFLOW_NOT_FOUND"),
        (["watch", "nowhere"], 4, "reason WORKFLOW_NOT_FOUND"),
        (["history", "nowhere"], 4, "reason WORKFLOW_NOT_FOUND"),
        (["lease", "run-none"], 4, "reason LEASE_EXPIRED"),
        (["run"], 2, "Missing argument"),
        (["rn"], 2, "No such command"),
        (["list", "--status", "odd"], 2, "--status"),
        (["serve", "compute", "--ttl-s", "1"], 2, "--ttl-s"),
        (["serve", "compute", "--app", "nowhere:app"], 2, "no module 'nowhere'"),
        (["dev", "--app", "nowhere:app"], 2, "no module 'nowhere'"),
    ],
)
def test_errors_are_a_few_lines_with_an_exit_code(dev: Dev, arguments: list[str], code: int, message: str) -> None:
    """docs/cli.md: each kind of failure has its exit code and a message for people, on stderr, without a traceback."""
    done = dev.run(*arguments, code=code)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert done.stdout == ""


def test_detach_watch_get_list_history(dev: Dev) -> None:
    """Issue 2 §5: a started workflow can be followed, shown, listed, and its history read (R115, R146)."""
    started = dev.json("run", "nap", "-d", "0.5", "--id", "nap-1", "--detach")
    assert (started["workflow_id"], started["created"]) == ("nap-1", True)
    assert dev.json("watch", "nap-1")["output"] == 0.5
    shown = dev.json("get", "nap-1", "-o", "json")
    assert (shown["status"], shown["name"]) == ("COMPLETED", "nap")
    assert "nap-1" in dev.run("get", "nap-1").stdout
    listed = json.loads(dev.run("list", "--prefix", "nap-", "-o", "json").stdout)
    assert [row["workflow_id"] for row in listed] == ["nap-1"]
    assert "nap-1" not in dev.run("list", "--status", "aborted").stdout
    history = dev.json("history", "nap-1", "-o", "json")
    commits = history["commits"]
    assert isinstance(commits, list)
    assert history["chain_valid"] is True
    assert [commit["epoch"] for commit in commits] == list(range(1, len(commits) + 1))
    assert "START_WORKFLOW" in dev.run("history", "nap-1").stdout


def test_more_than_one_page_is_listed(dev: Dev) -> None:
    """`list --limit` is a bound on what is shown, and it says so when there is more."""
    for number in range(3):
        dev.run("run", "double", "-d", "[1]", "--id", f"page-{number}")
    short = dev.run("list", "--prefix", "page-", "--limit", "2", "-o", "json")
    assert len(json.loads(short.stdout)) == 2
    assert "there may be more" in short.stderr


def test_nodes_and_leases(dev: Dev) -> None:
    """R94, R133: who is there, through an orchestrator or straight from etcd; and who holds a workflow."""
    asked = json.loads(dev.run("nodes", "-o", "json").stdout)
    etcd = dev.ready["etcd"]
    assert isinstance(etcd, str)
    read = json.loads(dev.run("nodes", "--etcd", etcd, "-o", "json").stdout)
    assert {node["instance_id"] for node in asked} == {node["instance_id"] for node in read}
    assert [node["kind"] for node in read] == ["EFFECT", "COMPUTE", "REDUCER", "ORCHESTRATOR", "ORCHESTRATOR"]
    assert {node["version"] for node in read} == {"1.2.0"}
    only = dev.run("nodes", "--kind", "compute").stdout
    assert addresses(dev, "compute")[0] in only
    assert addresses(dev, "effect")[0] not in only
    dev.run("run", "nap", "-d", "12", "--id", "held", "--detach")
    lease = dev.json("lease", "held", "-o", "json", code=0)
    assert str(lease["holder"]).startswith("orchestrator-")
    assert "lease_id" not in lease
    assert str(lease["holder"]) in dev.run("lease", "held").stdout


def test_the_mesh_is_found_through_etcd_or_the_environment(dev: Dev) -> None:
    """docs/cli.md: --etcd finds orchestrators in the registry; ONEX_ADDRESS stands for --address."""
    nowhere = {"ONEX_READY_FILE": "none.json"}
    etcd = str(dev.ready["etcd"])
    by_etcd = dev.run("run", "double", "-d", "[1]", environment={**nowhere, "ONEX_ETCD": etcd})
    assert json.loads(by_etcd.stdout)["output"] == [2]
    several = f"127.0.0.1:1,{addresses(dev, 'orchestrator')[0]}"
    by_address = dev.run("run", "double", "-d", "[2]", environment={**nowhere, "ONEX_ADDRESS": several})
    assert json.loads(by_address.stdout)["output"] == [4]


def test_ctrl_c_leaves_the_workflow_running(dev: Dev) -> None:
    """An interrupted `run` ends with 130 and says how to follow; the workflow goes on."""
    environment = {**os.environ, "ONEX_READY_FILE": str(dev.folder / "ready.json")}
    # Long enough to be interrupted on a busy machine, where starting the command takes seconds.
    arguments = command("run", "nap", "-d", "10", "--id", "interrupted", "--watch")
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=dev.folder
    ) as process:
        deadline = time.monotonic() + 30
        while "interrupted" not in dev.run("list", "--prefix", "interrupted").stdout:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "onex-mesh watch interrupted" in stderr
    assert "Traceback" not in stderr
    assert dev.json("watch", "interrupted")["status"] == "COMPLETED"


def test_a_reader_that_goes_away_is_no_error(dev: Dev) -> None:
    """`onex-mesh list | head -0` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command("nodes", "-o", "json"),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "ONEX_READY_FILE": str(dev.folder / "ready.json")},
        timeout=30,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_help_has_examples_for_every_command(dev: Dev) -> None:
    """Issue 2 §5: good --help: every command shows how it is used."""
    overview = dev.run("--help").stdout
    for name in ("dev", "serve", "run", "watch", "get", "list", "history", "nodes", "lease"):
        assert name in overview
        text = dev.run(name, "--help").stdout
        assert f"onex-mesh {name}" in text
        assert "Example" in text
    assert dev.run("--version").stdout.startswith("onex-mesh ")

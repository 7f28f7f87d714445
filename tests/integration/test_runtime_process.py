"""A node as a process: signals and exit codes, as a supervisor sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace
from tests.integration.test_runtime_lifecycle import free_port

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import asyncio, sys, uvloop
from onex.v1 import common_pb2
from onex_mesh.runtime.serving import serve
from onex_mesh.runtime.settings import NodeSettings
from tests.inprocess import ScriptedNode

class Slow(ScriptedNode):
    async def drain(self):
        await asyncio.sleep(float(sys.argv[1]))

    def reload(self):
        print("reloaded", flush=True)

def ready(info):
    print("ready", info.instance_id, flush=True)
    if sys.argv[2:] == ["fault"]:
        raise RuntimeError("the ready file cannot be written")

sys.exit(uvloop.run(serve(Slow(common_pb2.NODE_KIND_COMPUTE), NodeSettings(), ready=ready)))
"""


@pytest.fixture
async def start(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[Callable[..., Awaitable[Process]], None]:
    """Starts the program with settings; what a test leaves running is killed."""
    processes: list[Process] = []

    async def begin(*arguments: str, **settings: object) -> Process:
        base = {"port": 0, "etcd": etcd.endpoint, "namespace": keys.namespace, "ttl_s": 2.0, "drain_s": 30.0}
        variables = {f"ONEX_{name.upper()}": str(value) for name, value in (base | settings).items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, cwd=ROOT, env=os.environ | variables, stdout=PIPE, stderr=PIPE
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> str:
    """The next line on stdout."""
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode()


async def ended(process: Process) -> tuple[int, list[dict[str, object]]]:
    """Exit code and log lines."""
    _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    lines = [json.loads(line) for line in log.decode().splitlines() if line.startswith("{")]
    return process.returncode, lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_good_order(
    start: Callable[..., Awaitable[Process]], client: EtcdClient, keys: Keyspace, number: signal.Signals
) -> None:
    """R164: SIGTERM and SIGINT end with exit code 0 and no key left; every log line is JSON and names the node."""
    process = await start("0")
    assert (await said(process)).startswith("ready compute-")
    rows, _ = await client.prefix(keys.live_prefix)
    assert len(rows) == 1
    process.send_signal(number)
    code, lines = await ended(process)
    assert code == 0
    assert (await client.prefix(keys.live_prefix))[0] == []
    assert [line["event"] for line in lines] == ["serving", "stopped"]
    assert {line["node"] for line in lines} == {"compute"}


async def test_sighup_reloads(start: Callable[..., Awaitable[Process]]) -> None:
    """R7: a node that can read its configuration anew does so at SIGHUP, and serves on."""
    process = await start("0")
    await said(process)
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        assert await said(process) == "reloaded\n"
    process.send_signal(signal.SIGTERM)
    assert (await ended(process))[0] == 0


async def test_a_second_signal_ends_at_once(start: Callable[..., Awaitable[Process]]) -> None:
    """R164: whoever does not want to wait for the drain sends a second signal."""
    process = await start("600", drain_s=600)
    await said(process)
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    assert process.returncode is None
    process.send_signal(signal.SIGTERM)
    code, _ = await ended(process)
    assert code == 128 + signal.SIGTERM


async def test_a_signal_while_it_waits_for_etcd(start: Callable[..., Awaitable[Process]]) -> None:
    """R164: a node that never came to serve ends too when it is told to; it says what it waits for."""
    process = await start("0", etcd=f"127.0.0.1:{free_port()}")
    assert process.stderr is not None
    line = json.loads(await asyncio.wait_for(process.stderr.readline(), 30))
    assert line["event"] == "etcd is not there, trying again"
    process.send_signal(signal.SIGTERM)
    code, _ = await ended(process)
    assert code == 0


async def test_a_start_that_cannot_be_has_its_own_exit_code(start: Callable[..., Awaitable[Process]]) -> None:
    """A configuration that can never work ends the process at once, with its reason in the log and no traceback."""
    process = await start("0", tls_cert="/nowhere/cert.pem", tls_key="/nowhere/key.pem")
    code, lines = await ended(process)
    assert code == 3
    assert lines[-1]["event"] == "the node cannot start"
    assert "/nowhere/" in str(lines[-1]["why"])


async def test_a_failing_ready_callback_leaves_nothing(
    start: Callable[..., Awaitable[Process]], client: EtcdClient, keys: Keyspace
) -> None:
    """R164: where readiness cannot be told, the node stops in good order rather than serving unseen."""
    process = await start("0", "fault")
    code, lines = await ended(process)
    assert code == 1
    assert lines[-1]["event"] == "stopped"
    assert (await client.prefix(keys.live_prefix))[0] == []

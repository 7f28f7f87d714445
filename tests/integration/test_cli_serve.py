"""`onex-mesh serve`: one node as a process, and the meshes of such processes that other tests use."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from onex.v1 import lease_pb2, node_pb2
from onex.v1.lease_pb2_grpc import LeaseServiceStub
from onex.v1.node_pb2_grpc import NodeServiceStub
from onex_mesh.cli.client import MeshClient
from onex_mesh.runtime.errors import DependencyResolutionError
from tests.dev import command
from tests.mesh import MeshProcesses


async def describe(channel: grpc.aio.Channel) -> node_pb2.DescribeResponse:
    return await NodeServiceStub(channel).Describe(node_pb2.DescribeRequest(), timeout=10)


async def test_nodes_start_stop_and_come_back_at_their_address(tmp_path: Path) -> None:
    """R94, R164: a stopped node is gone from the registry at once; started again, it is another instance there."""
    async with MeshProcesses(tmp_path, effects=0, reducers=0) as mesh:
        compute = mesh.computes[0]
        first = compute.instance_id
        assert (await describe(mesh.channel("compute"))).node.instance_id == first
        assert len(await mesh.live_keys()) == 2
        assert await compute.stop() == 0
        assert [key.rpartition("/")[2] for key in await mesh.live_keys()] == [mesh.orchestrators[0].instance_id]
        await compute.start()
        assert compute.instance_id != first
        again = (await describe(mesh.channel("compute"))).node
        assert (again.instance_id, again.address) == (compute.instance_id, compute.address)
        assert '"event": "stopped"' in compute.log()


async def test_a_killed_node_and_a_paused_one_are_cleaned_up(tmp_path: Path) -> None:
    """R164: whatever a test does to the processes, the mesh leaves nothing."""
    async with MeshProcesses(tmp_path, effects=0, reducers=0, orchestrators=2) as mesh:
        mesh.orchestrators[0].kill()
        assert await mesh.orchestrators[0].wait() == -signal.SIGKILL
        mesh.computes[0].pause()
        with pytest.raises(grpc.aio.AioRpcError):
            await NodeServiceStub(mesh.channel("compute")).Describe(node_pb2.DescribeRequest(), timeout=0.5)
        client = MeshClient([mesh.address("orchestrator", 0), mesh.address("orchestrator", 1)])
        async with client:
            nodes = await client.nodes(node_pb2.ListNodesRequest())
        assert client.address == mesh.address("orchestrator", 1)
        assert mesh.orchestrators[1].instance_id in {node.instance_id for node in nodes}


async def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    """The check on leaving is no formality: a lease that nobody gives back fails the test."""
    mesh = MeshProcesses(tmp_path, effects=0, computes=0, reducers=0)
    await mesh.__aenter__()
    lease = lease_pb2.AcquireLeaseRequest(workflow_id="stray", holder="test")
    lease.ttl.FromSeconds(60)
    await LeaseServiceStub(mesh.channel("orchestrator")).AcquireLease(lease, timeout=10)
    with pytest.raises(AssertionError, match="left behind: /onex/default/live/owners/stray"):
        await mesh.__aexit__(None, None, None)


async def test_a_client_that_finds_nobody_says_where_it_looked() -> None:
    """Every address is tried before the client gives up."""
    async with MeshClient(["127.0.0.1:1", "127.0.0.1:2"], timeout_s=2) as client:
        with pytest.raises(
            DependencyResolutionError, match=r"no orchestrator answers at 127\.0\.0\.1:1, 127\.0\.0\.1:2"
        ):
            await client.get("x")


async def test_settings_come_from_flags_before_the_environment(tmp_path: Path) -> None:
    """docs/settings.md: every setting is a flag and a variable; a flag wins. The ready file says what is served."""
    async with MeshProcesses(tmp_path, effects=0, computes=0, reducers=0) as mesh:
        ready = tmp_path / "ready.json"
        flags = ["--etcd", mesh.etcd.endpoint, "--port", "0", "--instance-id", "flagged", "--ready-file", str(ready)]
        environment = {**os.environ, "ONEX_INSTANCE_ID": "from-environment", "ONEX_SERVICE_NAME": "numbers"}
        process = await asyncio.create_subprocess_exec(
            *command("serve", "compute", *flags),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                assert b'"event": "serving"' in await process.stdout.readline()
                said = json.loads(await asyncio.to_thread(wait_for, ready))
            assert (said["instance_id"], said["service_name"], said["kind"]) == ("flagged", "numbers", "COMPUTE")
            async with grpc.aio.insecure_channel(said["address"]) as channel:
                assert (await describe(channel)).node.service_name == "numbers"
        finally:
            process.terminate()
            output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, output.decode()


def wait_for(path: Path) -> str:
    """The content of a file, once it is there."""
    for _ in range(1000):
        if path.exists():
            return path.read_text(encoding="utf-8")
        time.sleep(0.02)
    raise AssertionError(f"{path} was not written")


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """A node that cannot listen ends with 3 and says where it could not."""
    async with MeshProcesses(tmp_path, effects=0, computes=0, reducers=0) as mesh:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            done = await asyncio.to_thread(
                subprocess.run,
                command("serve", "compute", "--etcd", mesh.etcd.endpoint, "--port", port),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 3
        assert f"127.0.0.1:{port}" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr

"""What a person with grpcurl finds: every node lists, describes and answers, without a proto file."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mesh import MeshProcesses, NodeProcess

pytestmark = [
    pytest.mark.skipif(
        shutil.which("grpcurl", path=f"{os.environ.get('ONEX_TOOLS', '')}/bin:{os.environ['PATH']}") is None,
        reason="grpcurl is not there",
    ),
    pytest.mark.timeout(180),
]

COMMON = {"grpc.health.v1.Health", "onex.v1.NodeService"}
SERVICES = {
    "effect": {"onex.v1.EffectService", "onex.v1.ActionService"},
    "compute": {"onex.v1.ComputeService", "onex.v1.ActionService"},
    "reducer": {"onex.v1.ReducerService", "onex.v1.ActionService"},
    "orchestrator": {
        "onex.v1.OrchestratorService",
        "onex.v1.LeaseService",
        "onex.v1.DefinitionService",
        "onex.v1.EventService",
    },
}
ACTION = {
    "action_id": "6f3d7f6e-3b8a-4b60-9a52-3c2a3c6f2f10",
    "action_type": "ACTION_TYPE_DELEGATE_TASK",
    "lease_id": "1e4b7f1e-55aa-4f4f-8b4e-0a4d6d1c9a00",
    "workflow_id": "w",
    "fencing_token": 1,
    "expires_at": "2100-01-01T00:00:00Z",
}
STEP = {"step_id": "a", "compute": {"algorithm_config": {"algorithm_type": "sum"}, "input_data": {"json": [1, 2]}}}
CONTRACT = {
    "workflow_id": "by-hand",
    "workflow_config": {"steps": [{"step_id": "a", "command": {"compute": STEP["compute"]}}]},
}

# (kind, method, request, what the answer must contain)
CALLS = [
    ("effect", "onex.v1.EffectService/ListTargets", {}, "{}"),
    ("effect", "onex.v1.EffectService/ExecuteEffect", {}, "VALIDATION_FAILED"),
    ("effect", "onex.v1.EffectService/ExecuteIntents", {}, ""),
    ("effect", "onex.v1.ActionService/ExecuteAction", {"action": ACTION}, "VALIDATION_FAILED"),
    (
        "compute",
        "onex.v1.ComputeService/ExecuteCompute",
        {"contract": {"algorithm_config": {"algorithm_type": "sum"}, "input_data": {"json": [1, 2, 3, 4, 5]}}},
        '"json": 15',
    ),
    ("compute", "onex.v1.ComputeService/StreamCompute", {"contract": STEP["compute"]}, '"json": 3'),
    ("compute", "onex.v1.ComputeService/ListAlgorithms", {}, '"algorithmType": "statistics"'),
    ("compute", "onex.v1.ActionService/ExecuteAction", {"action": ACTION}, "VALIDATION_FAILED"),
    (
        "reducer",
        "onex.v1.ReducerService/ExecuteReduction",
        {
            "contract": {
                "input_data": {"json": [1, 2, 3]},
                "reduction_config": {"aggregation_method": "AGGREGATION_METHOD_SUM"},
            }
        },
        "6",
    ),
    ("reducer", "onex.v1.ReducerService/ListReducers", {}, ""),
    ("reducer", "onex.v1.ActionService/ExecuteAction", {"action": ACTION}, "VALIDATION_FAILED"),
    ("orchestrator", "onex.v1.OrchestratorService/ExecuteOrchestration", {"contract": CONTRACT}, '"json": 3'),
    ("orchestrator", "onex.v1.OrchestratorService/GetWorkflow", {"workflow_id": "no"}, "WORKFLOW_NOT_FOUND"),
    ("orchestrator", "onex.v1.OrchestratorService/ListWorkflows", {}, ""),
    ("orchestrator", "onex.v1.OrchestratorService/SignalWorkflow", {}, "Unimplemented"),
    ("orchestrator", "onex.v1.LeaseService/GetLease", {"workflow_id": "nobody"}, "LEASE_EXPIRED"),
    ("orchestrator", "onex.v1.DefinitionService/ListDefinitions", {}, "Unimplemented"),
    ("orchestrator", "onex.v1.EventService/Subscribe", {}, "Unimplemented"),
]


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[MeshProcesses]:
    async with MeshProcesses(tmp_path) as running:
        yield running


async def grpcurl(*arguments: str, ok: bool = True) -> str:
    """Runs grpcurl; returns what it printed, on both streams."""
    path = f"{os.environ.get('ONEX_TOOLS', '')}/bin:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "grpcurl", "-plaintext", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": path}
    )
    printed = (await process.communicate())[0].decode()
    assert (process.returncode == 0) is ok or not ok, printed
    return printed


def flat(printed: str) -> str:
    """Without the difference between camelCase and snake_case, which versions of grpcurl print differently."""
    return printed.replace("_", "").lower()


def nodes_of(mesh: MeshProcesses) -> dict[str, NodeProcess]:
    return {
        "effect": mesh.effects[0],
        "compute": mesh.computes[0],
        "reducer": mesh.reducers[0],
        "orchestrator": mesh.orchestrators[0],
    }


async def test_every_service_is_listed_described_and_called(mesh: MeshProcesses) -> None:
    """R12, R29, R51, R95, R159: reflection and a call of every service on every node; errors come with their reason."""
    for kind, node in nodes_of(mesh).items():
        listed = set((await grpcurl(node.address, "list")).split())
        assert SERVICES[kind] | COMMON <= listed
        for service in sorted(SERVICES[kind] | COMMON):
            assert f"service {service.rsplit('.', 1)[-1]} {{" in await grpcurl(node.address, "describe", service)
        assert '"mesh' in await grpcurl(node.address, "onex.v1.NodeService/Describe")
        assert "HEALTH_STATUS_HEALTHY" in await grpcurl(node.address, "onex.v1.NodeService/GetHealth")
        assert flat(await grpcurl(node.address, "onex.v1.NodeService/ListNodes")).count('"instanceid"') == 4
    called: set[str] = set()
    for kind, method, request, expected in CALLS:
        address = nodes_of(mesh)[kind].address
        printed = await grpcurl("-max-time", "20", "-d", json.dumps(request), address, method, ok=False)
        assert flat(expected) in flat(printed), f"{method} on {kind}: {printed}"
        called.add(f"{kind} {method.partition('/')[0]}")
    assert called == {f"{kind} {service}" for kind, services in SERVICES.items() for service in services}


async def test_a_lease_is_taken_and_given_back_by_hand(mesh: MeshProcesses) -> None:
    """R131, R134: the lease protocol works from any client; the id that the acquisition gave releases the lease."""
    address = mesh.orchestrators[0].address
    service = "onex.v1.LeaseService"
    request = json.dumps({"workflow_id": "by-hand", "holder": "me"})
    printed = json.loads(await grpcurl("-d", request, address, f"{service}/AcquireLease"))["lease"]
    lease = {flat(name): value for name, value in printed.items()}
    assert int(lease["fencingtoken"]) > 0
    assert "LEASE_CONFLICT" in await grpcurl("-d", request, address, f"{service}/AcquireLease", ok=False)
    held = json.dumps({"workflow_id": "by-hand", "lease_id": lease["leaseid"]})
    assert json.loads(await grpcurl("-d", held, address, f"{service}/ReleaseLease")) == {"released": True}


async def test_health_follows_start_and_stop(mesh: MeshProcesses) -> None:
    """R159: Check says SERVING on both ports for every name, and Watch reports the change when the node stops."""
    for kind, node in nodes_of(mesh).items():
        for address in (node.address, node.health_address):
            for name in ("", "liveness", "readiness", *sorted(SERVICES[kind])):
                request = json.dumps({"service": name})
                assert '"SERVING"' in await grpcurl("-d", request, address, "grpc.health.v1.Health/Check")
    node = mesh.computes[0]
    watching = asyncio.create_task(grpcurl(node.address, "grpc.health.v1.Health/Watch", ok=False))
    await asyncio.sleep(1)
    await node.stop()
    seen = await watching
    assert seen.index('"SERVING"') < seen.index('"NOT_SERVING"')
    await node.start()
    assert '"SERVING"' in await grpcurl(node.address, "grpc.health.v1.Health/Check")

"""A mesh of processes and all types of effect behind it, for the robustness tests of effects."""

from __future__ import annotations

import asyncio
import json
import textwrap
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    workflow_pb2,
)
from onex_mesh.runtime.payload import json_payload
from tests.mesh import ROOT, MeshProcesses, NodeProcess
from tests.proof.apis import ApiCase, KeyedApiCase
from tests.proof.app_effects import AppEffectCase, RecordedAppEffectCase
from tests.proof.brokers import NatsCase, RedisCacheCase, RedisStreamCase
from tests.proof.case import EffectCase
from tests.proof.databases import PostgresCase, SqliteCase
from tests.proof.folders import EventLogCase, FileAppendCase, FileCopyCase, FileMoveCase, FileWriteCase
from tests.proof.gates import VARIABLE, Gates
from tests.proof.notices import MailCase, NoticeCase
from tests.proof.objects import ObjectAppendCase

CASES: tuple[type[EffectCase], ...] = (
    SqliteCase,
    PostgresCase,
    ApiCase,
    KeyedApiCase,
    FileWriteCase,
    FileAppendCase,
    FileCopyCase,
    FileMoveCase,
    EventLogCase,
    NatsCase,
    RedisStreamCase,
    RedisCacheCase,
    ObjectAppendCase,
    MailCase,
    NoticeCase,
    AppEffectCase,
    RecordedAppEffectCase,
)
"""Every type of effect."""

_RUNNING = (
    workflow_pb2.WORKFLOW_STATUS_UNSPECIFIED,
    workflow_pb2.WORKFLOW_STATUS_RUNNING,
)


@dataclass(slots=True)
class ProofWorld:
    """What the tests work with."""

    mesh: MeshProcesses
    cases: dict[str, EffectCase]
    """By name; those whose server is installed."""
    missing: dict[str, str]
    """The others, and why."""
    folder: Path
    stubs: dict[str, effect_pb2_grpc.EffectServiceStub] = field(default_factory=dict)

    def effects(self, node: NodeProcess) -> effect_pb2_grpc.EffectServiceStub:
        """The service of an effect node."""
        return effect_pb2_grpc.EffectServiceStub(self.channel(node))

    def actions(self, node: NodeProcess) -> action_pb2_grpc.ActionServiceStub:
        """Its service for actions."""
        return action_pb2_grpc.ActionServiceStub(self.channel(node))

    def channel(self, node: NodeProcess) -> grpc.aio.Channel:
        """A channel to an effect node."""
        return self.mesh.channel("effect", self.mesh.effects.index(node))

    async def execute(
        self, node: NodeProcess, case: EffectCase, label: str, *, key: str = ""
    ) -> effect_pb2.EffectOutput:
        """Executes an effect directly, under the key."""
        request = effect_pb2.ExecuteEffectRequest(contract=case.contract(label, key=key))
        return (await self.effects(node).ExecuteEffect(request, timeout=60)).output

    async def targets(self, node: NodeProcess) -> dict[str, effect_pb2.Target]:
        """What ListTargets shows, by name."""
        answer = await self.effects(node).ListTargets(effect_pb2.ListTargetsRequest(), timeout=30)
        return {target.name: target for target in answer.targets}

    async def start_workflow(self, workflow_id: str, contract: effect_pb2.EffectContract) -> None:
        """Starts a workflow whose one step is the effect; asking twice is safe."""
        steps = [workflow_pb2.Step(step_id="effect", command=action_pb2.Command(effect=contract))]
        made = workflow_pb2.OrchestratorContract(
            workflow_id=workflow_id,
            workflow_config=workflow_pb2.WorkflowConfig(
                coordination_type=workflow_pb2.COORDINATION_TYPE_SEQUENTIAL, steps=steps
            ),
            initial_state=json_payload({}),
        )
        request = orchestrator_pb2.StartWorkflowRequest(contract=made)
        await self._ask(lambda stub: stub.StartWorkflow(request, timeout=5))

    async def status(self, workflow_id: str) -> workflow_pb2.Workflow:
        """A workflow, as any orchestrator shows it."""
        request = orchestrator_pb2.GetWorkflowRequest(workflow_id=workflow_id)
        answer = await self._ask(lambda stub: stub.GetWorkflow(request, timeout=5))
        assert isinstance(answer, orchestrator_pb2.GetWorkflowResponse)
        return answer.workflow

    async def ended(self, workflow_id: str, timeout_s: float = 40.0) -> workflow_pb2.Workflow:
        """A workflow once it has ended, however it did."""
        async with asyncio.timeout(timeout_s):
            while (workflow := await self.status(workflow_id)).status in _RUNNING:  # noqa: ASYNC110  # in another process
                await asyncio.sleep(0.05)
        return workflow

    def audit(self, workflow_id: str) -> list[dict[str, object]]:
        """The audit records of a workflow's effects, of all nodes."""
        path = self.folder / "audit.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [row for row in map(json.loads, lines) if row.get("workflow_id") == workflow_id]

    async def _ask(self, call: Callable[[orchestrator_pb2_grpc.OrchestratorServiceStub], Awaitable[object]]) -> object:
        for attempt in range(400):
            channel = self.mesh.channel("orchestrator", attempt % len(self.mesh.orchestrators))
            try:
                return await call(orchestrator_pb2_grpc.OrchestratorServiceStub(channel))
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                await asyncio.sleep(0.05)
        raise AssertionError("no orchestrator answers")


@asynccontextmanager
async def proof_world(
    folder: Path,
    kinds: Iterable[type[EffectCase]] = CASES,
    *,
    effects: int = 2,
    orchestrators: int = 1,
    settings: Sequence[str] = (),
) -> AsyncGenerator[ProofWorld, None]:
    """Starts the servers of all cases, then the mesh.

    Args:
        folder: Where everything is.
        kinds: The types of effect.
        effects: How many effect nodes.
        orchestrators: How many orchestrators.
        settings: Lines of YAML that are added to the declaration of every target.
    """
    cases: dict[str, EffectCase] = {}
    missing: dict[str, str] = {}
    variables = {VARIABLE.removeprefix("ONEX_").lower(): str(folder / "gates")}
    text = "audit: {path: audit.jsonl, flush_interval_s: 0.02}\ntargets:\n"
    gates = Gates(folder / "gates")
    async with AsyncExitStack() as stack:
        for kind in kinds:
            case = kind()
            try:
                declaration = await case.open(folder, stack, gates)
            except pytest.skip.Exception as skipped:
                missing[case.name] = str(skipped)
                continue
            cases[case.name] = case
            variables.update(case.variables())
            if declaration:
                lines = "\n".join((declaration.strip(), *settings))
                text += f"  {case.name}:\n{textwrap.indent(lines, '    ')}\n"
        (folder / "targets.yaml").write_text(text, encoding="utf-8")
        mesh = MeshProcesses(
            folder,
            app="tests.proof.app:app",
            app_dir=ROOT,
            targets=folder / "targets.yaml",
            effects=effects,
            computes=0,
            reducers=0,
            orchestrators=orchestrators,
            settings=variables,
        )
        async with mesh:
            yield ProofWorld(mesh, cases, missing, folder)


async def until_true(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Waits until something holds; says what it was if it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)

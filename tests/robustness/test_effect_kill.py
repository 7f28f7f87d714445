"""Effect nodes die by kill -9 before, in and after each type of effect; what is there in the end is counted at the
target, and is what docs/guarantees.md promises.

All types go through one death at a time: the actions of one workflow per type stand at the same stage in one process,
which is killed; another node comes up and takes over. What came of it is then compared type by type.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onex.v1 import workflow_pb2
from tests.mesh import NodeProcess
from tests.proof.case import EffectCase, Stage
from tests.proof.world import CASES, ProofWorld, proof_world, until_true

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(slots=True)
class Aftermath:
    """What became of one effect whose node died."""

    then: int = -1
    in_the_end: int = -1
    status: str = ""
    audit: list[dict[str, object]] = field(default_factory=list)
    victim: str = ""
    error: str = ""


Aftermaths = dict[tuple[Stage, str], Aftermath]


@pytest.fixture(scope="module")
def aftermaths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Aftermaths, dict[str, str]]:
    """All stages for all types, and the types whose server is not installed."""
    return asyncio.run(_all_stages(tmp_path_factory.mktemp("kill")))


async def _all_stages(folder: Path) -> tuple[Aftermaths, dict[str, str]]:
    found: Aftermaths = {}
    async with proof_world(folder) as world:
        victim, other = world.mesh.effects
        await other.stop()
        for stage in Stage:
            await _stage(world, stage, victim, other, found)
            victim, other = other, victim
        await other.start()
    return found, world.missing


async def _stage(world: ProofWorld, stage: Stage, victim: NodeProcess, other: NodeProcess, found: Aftermaths) -> None:
    """Starts a workflow per type, kills the one node there is at that stage of all of them, and waits for the end."""
    here = {name: Aftermath(victim=victim.instance_id) for name in world.cases}
    found.update({(stage, name): row for name, row in here.items()})
    orchestrator = world.mesh.orchestrators[0]
    await _for_each(world, here, lambda case, _: _bring_to(world, case, stage))
    if stage is Stage.AFTER:
        # What the node answers must not be committed: the orchestrator that would do so stands still, then dies, too.
        orchestrator.pause()
        for case in world.cases.values():
            case.release()
        await _for_each(world, here, lambda case, row: _is_done(world, case, stage))
    await _for_each(world, here, lambda case, row: _count_then(case, row, stage))
    victim.kill()
    await victim.wait()
    for case in world.cases.values():
        case.drop()
    # Only now: on the way up it creates the tables of SQLite, which the victim had locked.
    await other.start()
    if stage is Stage.AFTER:
        orchestrator.kill()
        await orchestrator.wait()
        await orchestrator.start()
    await _for_each(world, here, lambda case, row: _end(world, case, row, stage))


def _label(case: EffectCase, stage: Stage) -> str:
    return f"{case.name}-{stage.name}".lower().replace("_", "-")


async def _bring_to(world: ProofWorld, case: EffectCase, stage: Stage) -> None:
    """The effect under way, and standing where the node is to die (for AFTER: still before the effect)."""
    label = _label(case, stage)
    case.prepare(label)
    case.hold(Stage.BEFORE if stage is Stage.AFTER else stage, label)
    await world.start_workflow(label, case.contract(label))
    await until_true(case.is_held, f"{label} is held", timeout_s=12)


async def _is_done(world: ProofWorld, case: EffectCase, stage: Stage) -> None:
    """The node has done it and recorded what it records: its audit record comes last."""
    label = _label(case, stage)
    await until_true(lambda: bool(world.audit(label)), f"{label} is done")


async def _count_then(case: EffectCase, row: Aftermath, stage: Stage) -> None:
    row.then = await case.count(_label(case, stage))


async def _end(world: ProofWorld, case: EffectCase, row: Aftermath, stage: Stage) -> None:
    label = _label(case, stage)
    workflow = await world.ended(label)
    row.status = workflow_pb2.WorkflowStatus.Name(workflow.status)
    row.in_the_end = await case.count(label)
    assert workflow.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED, workflow.error
    await until_true(lambda: _outcomes(world.audit(label), row.victim) != [], f"{label} has an audit record")
    row.audit = world.audit(label)


async def _for_each(
    world: ProofWorld, here: dict[str, Aftermath], work: Callable[[EffectCase, Aftermath], Awaitable[None]]
) -> None:
    """Does something for all types at once; one that fails is not gone on with, and says so in its test."""

    async def one(case: EffectCase, row: Aftermath) -> None:
        try:
            await work(case, row)
        except Exception:  # noqa: BLE001  # whatever it is, it is told by the test of this type
            row.error = traceback.format_exc()

    await asyncio.gather(*(one(world.cases[name], row) for name, row in here.items() if not row.error))


def _outcomes(records: list[dict[str, object]], victim: str) -> list[object]:
    """How the effect went on the node that took over."""
    return [record["outcome"] for record in records if record["node"] != victim]


@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.name.lower())
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.name)
def test_a_node_that_is_killed(
    aftermaths: tuple[Aftermaths, dict[str, str]], kind: type[EffectCase], stage: Stage
) -> None:
    """R9, R25, R94: kill -9 before, in and after the effect: another node takes over, the workflow completes, and the
    effect is there as often as docs/guarantees.md says, counted at the target when the node died and in the end."""
    found, missing = aftermaths
    if kind.name in missing:
        pytest.skip(missing[kind.name])
    row = found[stage, kind.name]
    assert not row.error, row.error
    expected = kind().counts(stage)
    assert (row.then, row.in_the_end) == (expected.then, expected.in_the_end), row
    assert row.status == "WORKFLOW_STATUS_COMPLETED"
    assert _outcomes(row.audit, row.victim) == [expected.repeat]
    done_by_victim = [record["outcome"] for record in row.audit if record["node"] == row.victim]
    assert done_by_victim == (["completed"] if stage is Stage.AFTER else [])

"""Two effect nodes are handed the same effect at once, and writers that were followed ask for more: counted at the
target, for every type of effect, on a mesh of processes.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, common_pb2, effect_pb2, intent_pb2, lease_pb2, lease_pb2_grpc, workflow_pb2
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.payload import json_payload
from tests.mesh import NodeProcess
from tests.proof.app_effects import AppEffectCase
from tests.proof.case import EffectCase, Stage
from tests.proof.world import CASES, ProofWorld, proof_world, until_true

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BOTH = 2


@dataclass(slots=True)
class Seen:
    """What was seen of one type."""

    counts: dict[str, int] = field(default_factory=dict)
    replayed: dict[str, list[bool]] = field(default_factory=dict)
    results: dict[str, list[str]] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    error: str = ""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Seen], dict[str, str]]:
    """Everything, by type, and the types whose server is not installed."""
    return asyncio.run(_all_types(tmp_path_factory.mktemp("together")))


async def _all_types(folder: Path) -> tuple[dict[str, Seen], dict[str, str]]:
    async with proof_world(folder) as world:
        rows = {name: Seen() for name in world.cases}

        async def one(case: EffectCase, row: Seen) -> None:
            try:
                await _direct(world, case, row)
                await _by_action(world, case, row)
            except Exception:  # noqa: BLE001  # whatever it is, it is told by the test of this type
                row.error = traceback.format_exc()

        await asyncio.gather(*(one(world.cases[name], row) for name, row in rows.items()))
        return rows, world.missing


async def _direct(world: ProofWorld, case: EffectCase, row: Seen) -> None:
    """The same intent under one key to both nodes; the first of them to come near the target is held there."""
    label = f"direct-{case.name}".replace("_", "-")
    case.prepare(label)
    case.hold(Stage.BEFORE, label)
    intents = [asyncio.create_task(_intent(world, node, case, label)) for node in world.mesh.effects]
    await until_true(case.is_held, f"{label} is held")
    case.release()
    results = await asyncio.gather(*intents)
    for result in results:
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED, result.error
    row.counts["direct"] = await case.count(label)
    row.replayed["direct"] = sorted(result.replayed for result in results)


async def _intent(world: ProofWorld, node: NodeProcess, case: EffectCase, label: str) -> intent_pb2.IntentResult:
    request = effect_pb2.ExecuteIntentsRequest(intents=[case.intent(label, key=label)])
    (answer,) = [row async for row in world.effects(node).ExecuteIntents(request, timeout=60)]
    result: intent_pb2.IntentResult = answer.result
    return result


async def _by_action(world: ProofWorld, case: EffectCase, row: Seen) -> None:
    """The same action to both nodes; then the lease changes hands, and the old writer asks both nodes for more."""
    label, late = (f"{what}-{case.name}".replace("_", "-") for what in ("action", "stale"))
    for name in (label, late):
        case.prepare(name)
    leases = lease_pb2_grpc.LeaseServiceStub(world.mesh.channel("orchestrator"))
    lease = await _acquire(leases, label)
    action = _action(lease, case, label)
    case.hold(Stage.BEFORE, label)
    running = [asyncio.create_task(_execute(world, node, action)) for node in world.mesh.effects]
    await until_true(case.is_held, f"{label} is held")
    case.release()
    outputs = await asyncio.gather(*running)
    row.counts["action"] = await case.count(label)
    row.replayed["action"] = sorted(output.metadata.replayed for output in outputs)
    old = _action(lease, case, late)
    await leases.ReleaseLease(lease_pb2.ReleaseLeaseRequest(workflow_id=label, lease_id=lease.lease_id), timeout=10)
    newer = await _acquire(leases, label)
    assert newer.fencing_token > lease.fencing_token
    for node in world.mesh.effects:
        try:
            await _execute(world, node, old)
        except grpc.aio.AioRpcError as error:
            row.refusals.append(from_rpc_error(error).reason)
    row.counts["stale"] = await case.count(late)
    await _execute(world, world.mesh.effects[0], _action(newer, case, late))
    row.counts["newer"] = await case.count(late)
    await leases.ReleaseLease(lease_pb2.ReleaseLeaseRequest(workflow_id=label, lease_id=newer.lease_id), timeout=10)


async def _acquire(leases: lease_pb2_grpc.LeaseServiceStub, workflow_id: str) -> lease_pb2.Lease:
    request = lease_pb2.AcquireLeaseRequest(workflow_id=workflow_id, holder="a-test", ttl=Duration(seconds=60))
    lease: lease_pb2.Lease = (await leases.AcquireLease(request, timeout=10)).lease
    commit = workflow_pb2.Commit(state=workflow_pb2.WorkflowState(data=json_payload({})))
    committing = lease_pb2.CommitStateRequest(
        workflow_id=workflow_id, lease_id=lease.lease_id, expected_epoch=lease.epoch, commit=commit
    )
    lease.epoch = (await leases.CommitState(committing, timeout=10)).epoch
    return lease


def _action(lease: lease_pb2.Lease, case: EffectCase, label: str) -> action_pb2.Action:
    now = int(time.time())
    return action_pb2.Action(
        action_id=f"a-{label}-{lease.fencing_token}",
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        workflow_id=lease.workflow_id,
        step_id=label,
        lease_id=lease.lease_id,
        fencing_token=lease.fencing_token,
        epoch=lease.epoch,
        target_node=common_pb2.NODE_KIND_EFFECT,
        command_payload=action_pb2.Command(effect=case.contract(label)),
        correlation_id="c-1",
        issued_at=Timestamp(seconds=now),
        expires_at=Timestamp(seconds=now + 60),
    )


async def _execute(world: ProofWorld, node: NodeProcess, action: action_pb2.Action) -> effect_pb2.EffectOutput:
    request = action_pb2.ExecuteActionRequest(action=action)
    result = (await world.actions(node).ExecuteAction(request, timeout=60)).result
    assert result.status == action_pb2.ACTION_STATUS_COMPLETED, result.error
    output: effect_pb2.EffectOutput = result.outputs[0].effect
    return output


def _row(seen: tuple[dict[str, Seen], dict[str, str]], kind: type[EffectCase]) -> Seen:
    rows, missing = seen
    if kind.name in missing:
        pytest.skip(missing[kind.name])
    assert not rows[kind.name].error, rows[kind.name].error
    return rows[kind.name]


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.name)
@pytest.mark.parametrize("way", ["direct", "action"])
def test_two_nodes_at_once(seen: tuple[dict[str, Seen], dict[str, str]], kind: type[EffectCase], way: str) -> None:
    """R9, R25: one intent, or one action, to two nodes at once: the effect is there once, and one of them says that
    the other did it; only an App's effect without the ledger runs on both."""
    row = _row(seen, kind)
    assert row.counts[way] == (BOTH if kind is AppEffectCase else 1)
    assert row.replayed[way] == [False, kind.replays]


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.name)
def test_a_writer_that_was_followed(seen: tuple[dict[str, Seen], dict[str, str]], kind: type[EffectCase]) -> None:
    """R137: an action under a lease that has passed to another, with its lower token, is refused by the node that has
    seen the higher one and by the one that has not; nothing happens, and the new holder's effect does."""
    row = _row(seen, kind)
    assert len(row.refusals) == BOTH
    assert set(row.refusals) <= {"LEASE_EXPIRED", "LEASE_INVALID"}
    assert (row.counts["stale"], row.counts["newer"]) == (0, 1)

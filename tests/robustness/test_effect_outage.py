"""Targets that are down, come back, or hang: what the breaker does, seen by ListTargets, and that no target holds up
another. A node and an orchestrator as processes, and the real servers behind proxies.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from onex.v1 import effect_pb2, workflow_pb2
from onex_mesh.runtime.errors import from_rpc_error
from tests.proof.case import EffectCase, NetworkCase, Stage
from tests.proof.world import CASES, ProofWorld, proof_world, until_true

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NETWORKED = tuple(kind for kind in CASES if issubclass(kind, NetworkCase))
THRESHOLD = 2
CALLS = 12
"""More than a target has places."""
SETTINGS = (
    f"breaker: {{failure_threshold: {THRESHOLD}, recovery_s: 0.5}}",
    "retry: {max_retries: 0}",
)
CLOSED, OPEN, HALF_OPEN = (
    effect_pb2.BREAKER_STATE_CLOSED,
    effect_pb2.BREAKER_STATE_OPEN,
    effect_pb2.BREAKER_STATE_HALF_OPEN,
)


@dataclass(slots=True)
class Outage:
    """What was seen of one type."""

    failures: list[str] = field(default_factory=list)
    """Reasons of the calls while the server was down."""
    refused_on_probe: str = ""
    """Reason of a call while the probe was under way."""
    status: int = 0
    count: int = -1
    succeeded_beside: int = -1
    """Effects at other targets while all calls of this one hung."""
    hung: int = -1
    """Calls of this one that had not come back then."""
    error: str = ""


@pytest.fixture(scope="module")
def outages(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Outage], dict[str, str]]:
    """Everything, by type, and the types whose server is not installed."""
    return asyncio.run(_all_types(tmp_path_factory.mktemp("outage")))


async def _all_types(folder: Path) -> tuple[dict[str, Outage], dict[str, str]]:
    async with proof_world(folder, NETWORKED, effects=1, settings=SETTINGS) as world:
        rows = {name: Outage() for name in world.cases}
        await asyncio.gather(*(_kept(rows[name], _outage(world, _network(world, name), rows[name])) for name in rows))
        for name, row in rows.items():
            if not row.error:
                await _kept(row, _hang(world, name, row))
        return rows, world.missing


async def _kept(row: Outage, work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001  # whatever it is, it is told by the test of this type
        row.error = traceback.format_exc()


def _network(world: ProofWorld, name: str) -> NetworkCase:
    case = world.cases[name]
    assert isinstance(case, NetworkCase)
    return case


async def _outage(world: ProofWorld, case: NetworkCase, row: Outage) -> None:
    """Down: failures until the breaker opens. Back: a workflow that has tried all the while is the probe."""
    case.prepare("down")
    case.proxy.refuse(True)
    for _ in range(20):
        row.failures.append(await _reason(world, case, "down"))
        if row.failures[-1] == "CIRCUIT_OPEN":
            break
    label = f"back-{case.name}".replace("_", "-")
    case.prepare(label)
    contract = case.contract(label)
    contract.retry_config.max_retries = 90
    contract.retry_config.initial_backoff.FromMilliseconds(100)
    contract.retry_config.max_backoff.FromMilliseconds(200)
    await world.start_workflow(label, contract)
    await _until_breaker(world, case, OPEN)
    case.hold(Stage.BEFORE, label)
    case.proxy.refuse(False)
    await until_true(case.is_held, f"{label} is held")
    await _until_breaker(world, case, HALF_OPEN)
    row.refused_on_probe = await _reason(world, case, "down")
    case.release()
    row.status = (await world.ended(label)).status
    await _until_breaker(world, case, CLOSED)
    row.count = await case.count(label)


async def _reason(world: ProofWorld, case: EffectCase, label: str) -> str:
    """Why an effect fails; empty if it does not."""
    try:
        await world.execute(world.mesh.effects[0], case, label)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return ""


async def _until_breaker(world: ProofWorld, case: EffectCase, state: effect_pb2.BreakerState) -> None:
    async with asyncio.timeout(20):
        while (await world.targets(world.mesh.effects[0]))[case.name].breaker_state != state:  # noqa: ASYNC110  # elsewhere
            await asyncio.sleep(0.02)


async def _hang(world: ProofWorld, name: str, row: Outage) -> None:
    """More calls of one target than it has places, and its server does not answer; the others go on."""
    case = _network(world, name)
    node = world.mesh.effects[0]
    # Padded: some cases look for a label in what arrived, and 1 is in 10.
    labels = [f"hang-{name}-{number:02}".replace("_", "-") for number in range(CALLS)]
    for label in labels:
        case.prepare(label)
    case.proxy.hold_every_request(f"hang-{name}-".replace("_", "-").encode())
    hanging = [asyncio.create_task(world.execute(node, case, label, key=label)) for label in labels]
    await _waiting(world, case, len(labels))
    others = [other for other in world.cases.values() if other is not case]
    for other in others:
        label = f"beside-{name}-{other.name}".replace("_", "-")
        other.prepare(label)
        await world.execute(node, other, label, key=label)
    row.succeeded_beside = sum([await other.count(f"beside-{name}-{other.name}".replace("_", "-")) for other in others])
    row.hung = sum(not task.done() for task in hanging)
    case.release()
    for label, task in zip(labels, hanging, strict=True):
        await task
        assert await case.count(label) == 1


async def _waiting(world: ProofWorld, case: EffectCase, calls: int) -> None:
    async with asyncio.timeout(20):
        while True:
            target = (await world.targets(world.mesh.effects[0]))[case.name]
            if target.in_flight + target.waiting >= calls and target.waiting:
                return
            await asyncio.sleep(0.02)


def _row(outages: tuple[dict[str, Outage], dict[str, str]], kind: type[EffectCase]) -> Outage:
    rows, missing = outages
    if kind.name in missing:
        pytest.skip(missing[kind.name])
    assert not rows[kind.name].error, rows[kind.name].error
    return rows[kind.name]


@pytest.mark.parametrize("kind", NETWORKED, ids=lambda kind: kind.name)
def test_a_server_that_was_down(outages: tuple[dict[str, Outage], dict[str, str]], kind: type[EffectCase]) -> None:
    """R154: failures in a row open the breaker, which refuses at once; when the server is back one call probes, others
    are refused meanwhile, and its success closes the breaker; a workflow that went on trying completes, once."""
    row = _row(outages, kind)
    assert row.failures == ["TARGET_UNAVAILABLE"] * THRESHOLD + ["CIRCUIT_OPEN"]
    assert row.refused_on_probe == "CIRCUIT_OPEN"
    assert row.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
    assert row.count == 1


@pytest.mark.parametrize("kind", NETWORKED, ids=lambda kind: kind.name)
def test_a_server_that_hangs(outages: tuple[dict[str, Outage], dict[str, str]], kind: type[EffectCase]) -> None:
    """R154: while more calls hang at one target than it has places, effects at every other target go through; once it
    answers again each of its own happens once."""
    row = _row(outages, kind)
    rows, _ = outages
    assert row.hung == CALLS
    assert row.succeeded_beside == len(rows) - 1

"""Consuming nodes die in the middle: each message becomes exactly one workflow, and none is left unacknowledged."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from tests.mesh import MeshProcesses
from tests.subscriptions import Broker, encoded, event, eventually, running_broker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MESSAGES = 400

TARGETS = """\
audit: {{log: false}}
targets:
{targets}
subscriptions:
  placed:
    target: bus
    durable: mesh
    concurrency: 4
    ack_wait_s: 2
    start_workflow: {{workflow: fulfil}}
    dead_letters: {letters}
"""


async def started(channel: grpc.aio.Channel) -> list[str]:
    """The events that became workflows, by their correlation ids; one that became two stands here twice."""
    stub: orchestrator_pb2_grpc.OrchestratorServiceAsyncStub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
    request = orchestrator_pb2.ListWorkflowsRequest(page_size=1_000)
    return [row.correlation_id for row in (await stub.ListWorkflows(request, timeout=20)).workflows]


async def publish(broker: Broker, first: int, count: int) -> None:
    for number in range(first, first + count):
        await broker.publish(encoded(event(number, correlationid=f"c-{number}")))


@pytest.mark.parametrize("kind", ["nats", "redis"])
async def test_killed_consumers_lose_and_repeat_nothing(tmp_path: Path, kind: str) -> None:
    """Issue item 5: kill -9 of each consuming node in turn while it works; the other, and a new one, go on."""
    path = tmp_path / "targets.yaml"
    async with running_broker(kind) as broker:
        path.write_text(TARGETS.format(targets=broker.targets, letters=broker.dead_letters))
        # Published before anybody listens: the backlog keeps all nodes at work for as long as the kills need.
        await publish(broker, 0, MESSAGES)
        async with MeshProcesses(
            tmp_path, app="tests.subscription_app:app", targets=path, effects=2, reducers=0
        ) as mesh:
            channel = mesh.channel("orchestrator")

            async def has_come_to(count: int) -> bool:
                return len(await started(channel)) >= count

            first, second = mesh.effects
            await eventually(lambda: has_come_to(20))
            first.kill()
            assert len(await started(channel)) < MESSAGES
            await first.wait()
            await eventually(lambda: has_come_to(150))
            second.kill()
            await second.wait()
            # Nobody consumes: what the two had in hand and what is left waits at the broker.
            assert await broker.outstanding() > 0
            assert len(await started(channel)) < MESSAGES
            await publish(broker, MESSAGES, 50)
            await first.start()

            async def is_settled() -> bool:
                return await broker.outstanding() == 0

            await eventually(is_settled, 120)
            events = await started(channel)
            assert sorted(events) == sorted(f"c-{number}" for number in range(MESSAGES + 50))
            assert await broker.letters() == []


@pytest.mark.parametrize("kind", ["nats", "redis"])
async def test_a_killed_orchestrator_holds_no_message_up(tmp_path: Path, kind: str) -> None:
    """Issue item 5: starts whose answer was lost are asked for again of the other, and recognized there."""
    path = tmp_path / "targets.yaml"
    async with running_broker(kind) as broker:
        path.write_text(TARGETS.format(targets=broker.targets, letters=broker.dead_letters))
        await publish(broker, 0, MESSAGES)
        async with MeshProcesses(
            tmp_path, app="tests.subscription_app:app", targets=path, orchestrators=2, reducers=0
        ) as mesh:
            channel = mesh.channel("orchestrator", 1)

            async def has_come_to(count: int) -> bool:
                return len(await started(channel)) >= count

            await eventually(lambda: has_come_to(50))
            mesh.orchestrators[0].kill()
            assert len(await started(channel)) < MESSAGES

            async def is_settled() -> bool:
                return await broker.outstanding() == 0

            await eventually(is_settled, 120)
            assert sorted(await started(channel)) == sorted(f"c-{number}" for number in range(MESSAGES))
            assert await broker.letters() == []

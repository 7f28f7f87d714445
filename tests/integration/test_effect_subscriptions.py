"""Subscriptions on a running mesh and real brokers: messages become workflows and signals, each once."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from onex.v1 import common_pb2, effect_pb2, effect_pb2_grpc, node_pb2, orchestrator_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.app import App
from onex_mesh.app.nodes import AppWorkflows
from onex_mesh.effect.core import EffectRegistry
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import NotBuiltError, OverloadedError, ValidationError, WorkflowNotFoundError
from onex_mesh.runtime.payload import from_payload
from onex_mesh.runtime.serving import NodeServer
from tests.effect_engine import effect_contract
from tests.inprocess import InProcessMesh, ScriptedNode, until
from tests.subscriptions import (
    WORKFLOW,
    Broker,
    ScriptedOrchestrator,
    dependency,
    encoded,
    event,
    eventually,
    listed,
    running_broker,
    workflows,
)

QUICK = "redelivery: {max_deliveries: 3, initial_delay_s: 0.05, max_delay_s: 0.1}"


@pytest.fixture(params=["nats", "redis"])
async def broker(request: pytest.FixtureRequest) -> AsyncGenerator[Broker, None]:
    """Each broker in turn."""
    async with running_broker(request.param) as running:
        yield running


@pytest.fixture
def app(tmp_path: Path) -> App:
    """An App with one workflow."""
    (tmp_path / "fulfil.yaml").write_text(WORKFLOW)
    app = App("shop")
    app.workflow(tmp_path / "fulfil.yaml")
    return app


def effect_node(folder: Path, broker: Broker, subscription: str, app: App | None = None) -> EffectNode:
    """An effect node with one subscription, `placed`."""
    path = folder / "targets.yaml"
    body = "".join(f"    {line}\n" for line in subscription.strip().splitlines())
    path.write_text(
        f"audit: {{path: audit.jsonl, log: false, flush_interval_s: 0.05}}\ntargets:\n{broker.targets}\n"
        f"subscriptions:\n  placed:\n    target: bus\n    durable: mesh\n{body}"
    )
    return EffectNode(EffectRegistry(), path, "1.0.0", workflows=AppWorkflows((app or App("none")).workflows))


async def add_mesh(mesh: InProcessMesh, app: App) -> NodeServer:
    """An orchestrator and a compute node that echoes."""
    await mesh.add(ScriptedNode(common_pb2.NODE_KIND_COMPUTE))
    return await mesh.add_orchestrator(app.workflows)


def audited(folder: Path) -> list[dict[str, object]]:
    """The audit records so far."""
    path = folder / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


SIGNAL = """
signal: {workflow_id: "order-${input.data.order_id}", name: "${input.type}"}
dead_letters: {file: dead.jsonl}
"""


async def outputs(mesh: InProcessMesh, server: NodeServer) -> dict[str, object]:
    """What each workflow brought, by its correlation id; only those that have ended."""
    stub = mesh.orchestrator(server)
    found: dict[str, object] = {}
    for name in await workflows(mesh.channel(server)):
        row = await stub.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id=name), timeout=10)
        if row.workflow.result.HasField("output"):
            found[row.workflow.correlation_id] = from_payload(row.workflow.result.output)
    return found


SIGNAL = """
signal: {workflow_id: "order-${input.data.order_id}", name: "${input.type}"}
dead_letters: {file: dead.jsonl}
"""
START = """
start_workflow:
  workflow: fulfil
  input: {order: "${input.data.order_id}", of: "${input.type}", n: "${input.data.total}"}
"""


async def test_each_event_starts_one_workflow(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, app: App
) -> None:
    """Issue item 5: the input comes from the event, the id from source and id: publishing it twice starts one."""
    async with InProcessMesh(etcd, keys) as mesh:
        orchestrator = await add_mesh(mesh, app)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{START}dead_letters: {broker.dead_letters}", app))
        for number in (1, 2, 3, 1):
            await broker.publish(encoded(event(number, correlationid=f"c-{number}")))
            # One after the other, so that it is sure which of the two is the repeat.
            await eventually(lambda: is_settled(broker))
        ids = await workflows(mesh.channel(orchestrator))
        assert len(ids) == 3
        assert all(name.startswith("fulfil-") for name in ids)
        expected = {f"c-{number}": {"order": f"o-{number}", "of": "order.placed", "n": number} for number in (1, 2, 3)}

        async def are_completed() -> bool:
            return await outputs(mesh, orchestrator) == expected

        await eventually(are_completed)
        row = await listed(mesh.channel(effect), "placed")
        assert (row.kind, row.healthy, row.succeeded_count, row.failed_count) == ("subscription", True, 4, 0)
        assert row.description == "3 committed, 1 delivered again"
        health = await dependency(mesh.channel(effect), "subscription:placed")
        assert (health.healthy, health.message) == (True, "3 committed, 1 delivered again")
        assert await broker.letters() == []
    records = [row for row in audited(tmp_path) if row["effect_type"] == "message_consume"]
    assert [row["outcome"] for row in records] == ["completed", "completed", "completed", "replayed"]
    assert {row["operation"] for row in records} == {"placed: start_workflow fulfil"}
    assert {row["workflow_id"] for row in records} == set(ids)
    assert {row["idempotency_key"] for row in records} == {f"/shop e-{number}" for number in (1, 2, 3)}


async def is_settled(broker: Broker) -> bool:
    """Whether every message is acknowledged."""
    return await broker.outstanding() == 0


async def test_both_modes_of_cloud_events_are_read(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, app: App
) -> None:
    """Issue item 5: attributes in headers and the data alone in the body come to the same event."""
    async with InProcessMesh(etcd, keys) as mesh:
        orchestrator = await add_mesh(mesh, app)
        await mesh.add(effect_node(tmp_path, broker, f"{START}dead_letters: {broker.dead_letters}", app))
        headers = {"ce-id": "e-7", "ce-source": "/shop", "ce-type": "order.placed", "ce-specversion": "1.0"}
        await broker.publish(b'{"order_id": "o-7", "total": 7}', {**headers, "content-type": "application/json"})
        await eventually(lambda: is_settled(broker))
        ids = await workflows(mesh.channel(orchestrator))
        await broker.publish(encoded(event(7)), {"content-type": "application/cloudevents+json"})
        await eventually(lambda: is_settled(broker))
        assert await workflows(mesh.channel(orchestrator)) == ids
        assert len(ids) == 1


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_what_the_mesh_publishes_the_mesh_consumes(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, app: App, mode: str
) -> None:
    """Issue item 5: the events of `message_publish` are read as they were meant, in both modes."""
    async with InProcessMesh(etcd, keys) as mesh:
        orchestrator = await add_mesh(mesh, app)
        broker.targets = broker.targets.replace("}", f", mode: {mode}}}")
        subscription = f"""
start_workflow: {{workflow: fulfil, input: "${{input}}"}}
dead_letters: {broker.dead_letters}
"""
        effect = await mesh.add(effect_node(tmp_path, broker, subscription, app))
        stub: effect_pb2_grpc.EffectServiceAsyncStub = effect_pb2_grpc.EffectServiceStub(mesh.channel(effect))
        message = {"event_type": "order.placed", "data": {"order_id": "o-1", "name": "Zoë 100%"}, "subject": "Zoë 100%"}
        contract = effect_contract("message_publish", "bus", "", message, key="k-1")
        contract.correlation_id = "c-1"
        for _ in range(2):
            await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=10)

        async def has_ended() -> bool:
            return "c-1" in await outputs(mesh, orchestrator)

        await eventually(has_ended)
        await eventually(lambda: is_settled(broker))
        ((_, seen),) = (await outputs(mesh, orchestrator)).items()
        assert isinstance(seen, dict)
        assert {name: seen[name] for name in ("type", "subject", "data", "correlationid")} == {
            "type": "order.placed",
            "subject": "Zoë 100%",
            "data": {"order_id": "o-1", "name": "Zoë 100%"},
            "correlationid": "c-1",
        }
        assert len(await workflows(mesh.channel(orchestrator))) == 1


async def test_a_message_is_acknowledged_only_after_the_commit(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 5: while the orchestrator has not said that the signal is committed the message stays outstanding."""
    commit = asyncio.Event()

    async def hold(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        await commit.wait()
        return True

    scripted = ScriptedOrchestrator(hold)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}ack_wait_s: 1"))
        await broker.publish(encoded(event(1, correlationid="c-1")))
        await until(lambda: len(scripted.asked) == 1)
        # Far beyond ack_wait_s: the node says that it is at work, so the message is not delivered again.
        await asyncio.sleep(2.5)
        assert await broker.outstanding() == 1
        assert len(scripted.asked) == 1
        commit.set()
        await eventually(lambda: is_settled(broker))
        signal = scripted.asked[0]
        assert (signal.workflow_id, signal.signal_id, signal.name) == ("order-o-1", "e-1", "order.placed")
        assert from_payload(signal.payload) == {"order_id": "o-1", "total": 1}
        assert scripted.correlation_ids == ["c-1"]
        assert len(scripted.asked) == 1
        assert (await listed(mesh.channel(effect), "placed")).description == "1 committed"


async def test_temporary_errors_give_the_message_back(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """R19: far more often than max_deliveries, and it is never buried; a signal taken before counts as done."""
    answers = iter([*[OverloadedError("busy")] * 5, False])

    async def answer(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        given = next(answers)
        if isinstance(given, Exception):
            raise given
        return bool(given)

    scripted = ScriptedOrchestrator(answer)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}{QUICK}\nack_wait_s: 1"))
        await broker.publish(encoded(event(1)))
        await until(lambda: len(scripted.asked) == 6, 30)
        await eventually(lambda: is_settled(broker))
        row = await listed(mesh.channel(effect), "placed")
        assert (row.healthy, row.description) == (True, "1 delivered again, 5 given back")
    assert not (tmp_path / "dead.jsonl").exists()
    assert [row["outcome"] for row in audited(tmp_path)] == [*["failed"] * 5, "replayed"]


async def test_an_orchestrator_that_is_not_built_yet_is_waited_for(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, app: App
) -> None:
    """Issue item 5: SignalWorkflow answers UNIMPLEMENTED: nothing is acknowledged, nothing buried, health says why."""

    async def not_built(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        raise NotBuiltError("SignalWorkflow is part of the contract but not built yet")

    async with InProcessMesh(etcd, keys) as mesh:
        scripted = ScriptedOrchestrator(not_built)
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}{QUICK}\nack_wait_s: 1"))
        await broker.publish(encoded(event(1)))
        await until(lambda: len(scripted.asked) >= 4, 60)
        assert await broker.outstanding() == 1
        row = await listed(mesh.channel(effect), "placed")
        assert (row.healthy, row.failed_count) == (False, 0)
        assert "not built yet" in row.health_message
        health = await dependency(mesh.channel(effect), "subscription:placed")
        assert (health.healthy, "not built yet" in health.message) == (False, True)

        async def build(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
            return True

        scripted.behaviour = build
        await eventually(lambda: is_settled(broker))
        assert (await listed(mesh.channel(effect), "placed")).healthy


async def test_another_orchestrator_is_asked_when_one_is_down(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """R98: each message is committed by whichever answers; one that fails does not hold the messages up."""

    async def refuse(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        raise OverloadedError("stopping")

    async def take(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        return True

    failing, working = ScriptedOrchestrator(refuse), ScriptedOrchestrator(take)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(failing)
        await mesh.add(working)
        effect = await mesh.add(effect_node(tmp_path, broker, SIGNAL))
        for number in range(6):
            await broker.publish(encoded(event(number)))
        await eventually(lambda: is_settled(broker))
        assert sorted(row.signal_id for row in working.asked) == [f"e-{number}" for number in range(6)]
        assert (await listed(mesh.channel(effect), "placed")).description == "6 committed"
        assert len(failing.asked) >= 1


async def test_no_orchestrator_at_all(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker) -> None:
    """R100: the messages wait at the broker, health says what is missing, and they are taken once one is there."""

    async def take(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        return True

    scripted = ScriptedOrchestrator(take)
    async with InProcessMesh(etcd, keys) as mesh:
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}{QUICK}\nack_wait_s: 1"))
        await broker.publish(encoded(event(1)))

        async def is_told() -> bool:
            row = await listed(mesh.channel(effect), "placed")
            return not row.healthy and row.health_message == "no orchestrator is registered"

        await eventually(is_told)
        await mesh.add(scripted)
        await eventually(lambda: is_settled(broker))
        assert [row.signal_id for row in scripted.asked] == ["e-1"]


@pytest.mark.parametrize("place", ["broker", "file"])
async def test_poison_becomes_a_dead_letter(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, place: str
) -> None:
    """Issue item 5: what is unreadable at once, what is refused after max_deliveries; with its reason, and counted."""

    async def refuse(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        if request.signal_id == "e-2":
            raise WorkflowNotFoundError("no workflow 'order-o-2'")
        return True

    scripted = ScriptedOrchestrator(refuse)
    letters = broker.dead_letters if place == "broker" else "{file: dead.jsonl}"
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        signal = SIGNAL.replace("{file: dead.jsonl}", letters)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{signal}{QUICK}\nack_wait_s: 1"))
        await broker.publish(b"{not json")
        await broker.publish(encoded(event(1, data={"total": 5})))
        await broker.publish(encoded(event(2)))
        await broker.publish(encoded(event(3)))
        await eventually(lambda: is_settled(broker))
        rows = await dead_letters(tmp_path, broker, place)
        assert [(row["reason"], row["deliveries"], row["body"]) for row in rows] == [
            ("VALIDATION_FAILED", "1", "{not json"),
            ("VALIDATION_FAILED", "3", encoded(event(1, data={"total": 5})).decode()),
            ("WORKFLOW_NOT_FOUND", "3", encoded(event(2)).decode()),
        ]
        assert rows[0]["message"] == "event: is not JSON"
        assert rows[1]["message"].startswith("signal.workflow_id: ${input.data.order_id}:")
        assert rows[2]["message"] == "no workflow 'order-o-2'"
        assert [row.signal_id for row in scripted.asked].count("e-2") == 3
        row = await listed(mesh.channel(effect), "placed")
        assert (row.healthy, row.succeeded_count, row.failed_count) == (True, 1, 3)
        assert row.description == "1 committed, 4 given back, 3 dead letters"
    outcomes = [row["outcome"] for row in audited(tmp_path)]
    assert {name: outcomes.count(name) for name in set(outcomes)} == {"completed": 1, "failed": 4, "dead_lettered": 3}


async def test_a_message_that_is_too_large_is_a_dead_letter_at_once(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 1: the size of the target bounds what is read; nobody is asked."""
    async with InProcessMesh(etcd, keys) as mesh:
        broker.targets = broker.targets.replace("}", ", limits: {size_bytes: 1000}}")
        effect = await mesh.add(effect_node(tmp_path, broker, SIGNAL))
        await broker.publish(encoded(event(1, data="x" * 1_000)))
        await eventually(lambda: is_settled(broker))
        (letter,) = await dead_letters(tmp_path, broker, "file")
        assert (letter["reason"], letter["deliveries"]) == ("PAYLOAD_TOO_LARGE", "1")
        assert (await listed(mesh.channel(effect), "placed")).failed_count == 1


async def test_a_place_of_dead_letters_that_takes_none_is_told(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """R24: the message stays, and health says why; once the place is there it is buried."""
    (tmp_path / "dead").write_text("in the way of a folder")
    async with InProcessMesh(etcd, keys) as mesh:
        subscription = SIGNAL.replace("dead.jsonl", "dead/letters.jsonl")
        effect = await mesh.add(effect_node(tmp_path, broker, f"{subscription}ack_wait_s: 1"))
        await broker.publish(b"{")

        async def is_told() -> bool:
            return "dead letters: " in (await listed(mesh.channel(effect), "placed")).health_message

        await eventually(is_told)
        assert await broker.outstanding() == 1
        (tmp_path / "dead").unlink()
        await eventually(lambda: is_settled(broker))
        row = await listed(mesh.channel(effect), "placed")
        assert (row.healthy, row.failed_count) == (True, 1)
    assert json.loads((tmp_path / "dead/letters.jsonl").read_text())["body"] == "{"


async def dead_letters(folder: Path, broker: Broker, place: str) -> list[dict[str, str]]:
    """The dead letters by reason and body, as texts."""
    if place == "broker":
        rows = [dict(row) for row in await broker.letters()]
    else:
        lines = (folder / "dead.jsonl").read_text().splitlines()
        rows = [{name: str(value) for name, value in json.loads(line).items()} for line in lines]
    return sorted(rows, key=lambda row: (row["deliveries"], row["body"]))


async def test_events_of_other_types_are_passed_over(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 5: they are acknowledged, and nobody is asked."""

    async def take(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        return True

    scripted = ScriptedOrchestrator(take)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}event_types: [order.*]"))
        await broker.publish(encoded(event(1, type="invoice.sent")))
        await broker.publish(encoded(event(2)))
        await eventually(lambda: is_settled(broker))
        assert [row.signal_id for row in scripted.asked] == ["e-2"]
        assert (await listed(mesh.channel(effect), "placed")).description == "1 committed, 1 passed over"


async def test_messages_under_way_are_bounded(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """R154: no more than `concurrency` are with the orchestrators at once; the others wait at the broker."""
    go = asyncio.Semaphore(0)
    at_once: list[int] = []
    held = 0

    async def hold(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        nonlocal held
        held += 1
        at_once.append(held)
        await go.acquire()
        held -= 1
        return True

    scripted = ScriptedOrchestrator(hold)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}concurrency: 2\npending_max: 2"))
        for number in range(8):
            await broker.publish(encoded(event(number)))
        await until(lambda: held == 2)
        assert (await listed(mesh.channel(effect), "placed")).in_flight == 2
        for _ in range(8):
            go.release()
        await eventually(lambda: is_settled(broker))
        assert max(at_once) == 2
        assert sorted(row.signal_id for row in scripted.asked) == [f"e-{number}" for number in range(8)]


async def test_a_stop_finishes_what_is_under_way_and_leaves_the_rest(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """R108: the message under way is acknowledged, no other is fetched; another node goes on with those."""
    go = asyncio.Event()

    async def hold(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        await go.wait()
        return True

    scripted = ScriptedOrchestrator(hold)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        subscription = f"{SIGNAL}concurrency: 1\nack_wait_s: 60"
        first = await mesh.add(effect_node(tmp_path, broker, subscription), drain_s=20.0)
        for number in range(3):
            await broker.publish(encoded(event(number)))
        await until(lambda: len(scripted.asked) == 1)
        stopping = asyncio.create_task(mesh.remove(first))
        await broker.publish(encoded(event(3)))
        go.set()
        await stopping
        taken = [row.signal_id for row in scripted.asked]
        assert len(taken) < 4
        assert await broker.outstanding() == 4 - len(taken)
        await mesh.add(effect_node(tmp_path, broker, subscription))
        # Long before ack_wait_s: what the first one did not work on was not left with it.
        await eventually(lambda: is_settled(broker))
        assert sorted(row.signal_id for row in scripted.asked) == [f"e-{number}" for number in range(4)]


async def test_two_nodes_share_a_subscription(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 5: competing consumers: each message is one node's, and both have some."""
    go = asyncio.Event()

    async def hold(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        await go.wait()
        return True

    scripted = ScriptedOrchestrator(hold)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        subscription = f"{SIGNAL}concurrency: 4"
        nodes = [await mesh.add(effect_node(tmp_path, broker, subscription)) for _ in range(2)]
        for number in range(20):
            await broker.publish(encoded(event(number)))
        # Four of each: neither can take more before they are answered.
        await until(lambda: len(scripted.asked) == 8)
        assert [(await listed(mesh.channel(node), "placed")).in_flight for node in nodes] == [4, 4]
        go.set()
        await eventually(lambda: is_settled(broker))
        assert sorted(row.signal_id for row in scripted.asked) == sorted(f"e-{number}" for number in range(20))
        counts = [(await listed(mesh.channel(node), "placed")).succeeded_count for node in nodes]
        assert sum(counts) == 20
        assert min(counts) >= 4


async def test_the_broker_down_and_back(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker) -> None:
    """R19, R24: the node is degraded while the broker is down, and goes on by itself when it is back."""

    async def take(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        return True

    scripted = ScriptedOrchestrator(take)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        effect = await mesh.add(effect_node(tmp_path, broker, f"{SIGNAL}ack_wait_s: 2"))
        await broker.publish(encoded(event(1)))
        await eventually(lambda: is_settled(broker))
        # NATS may forget the acknowledgement with this; the message then comes again, and is known.
        broker.server.kill()

        async def is_degraded() -> bool:
            return not (await listed(mesh.channel(effect), "placed")).healthy

        await eventually(is_degraded)
        broker.server.start()
        await broker.publish(encoded(event(2)))
        await until(lambda: any(row.signal_id == "e-2" for row in scripted.asked), 30)
        await eventually(lambda: is_settled(broker))
        assert (await listed(mesh.channel(effect), "placed")).healthy


async def test_a_workflow_of_another_event_is_no_repeat(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker, app: App
) -> None:
    """R91: an id by template that a second event gives again is refused; the first event, repeated, is done."""
    async with InProcessMesh(etcd, keys) as mesh:
        orchestrator = await add_mesh(mesh, app)
        subscription = f"""
start_workflow: {{workflow: fulfil, workflow_id: "order-${{input.data.order_id}}"}}
dead_letters: {broker.dead_letters}
{QUICK}
ack_wait_s: 1
"""
        await mesh.add(effect_node(tmp_path, broker, subscription, app))
        for body in (event(1), event(1), event(2, data={"order_id": "o-1"})):
            await broker.publish(encoded(body))
        await eventually(lambda: is_settled(broker))
        assert await workflows(mesh.channel(orchestrator)) == ["order-o-1"]
        (letter,) = await broker.letters()
        assert (letter["reason"], letter["deliveries"]) == ("WORKFLOW_EXISTS", "3")
        assert json.loads(letter["body"])["id"] == "e-2"


async def test_a_changed_definition_does_not_start_an_event_again(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 5: a message delivered again after its workflow's file was changed is known by its event."""
    definition = tmp_path / "fulfil.yaml"
    definition.write_text(WORKFLOW)
    subscription = f"start_workflow: {{definition: fulfil.yaml}}\ndead_letters: {broker.dead_letters}"
    async with InProcessMesh(etcd, keys) as mesh:
        orchestrator = await add_mesh(mesh, App("none"))
        effect = await mesh.add(effect_node(tmp_path, broker, subscription))
        await broker.publish(encoded(event(1)))
        await eventually(lambda: is_settled(broker))
        await mesh.remove(effect)
        definition.write_text(WORKFLOW.replace("1.0.0", "2.0.0"))
        node = effect_node(tmp_path, broker, subscription)
        effect = await mesh.add(node)
        await broker.publish(encoded(event(1)))
        await eventually(lambda: is_settled(broker))
        assert len(await workflows(mesh.channel(orchestrator))) == 1
        assert (await listed(mesh.channel(effect), "placed")).description == "1 delivered again"

        # A change of the definition alone is taken over while the node runs.
        definition.write_text(WORKFLOW.replace("name: fulfil", "name: refill"))
        node.reload()
        numbers = itertools.count(2)

        async def is_refilled() -> bool:
            await broker.publish(encoded(event(next(numbers))))
            await eventually(lambda: is_settled(broker))
            return any(name.startswith("refill-") for name in await workflows(mesh.channel(orchestrator)))

        await eventually(is_refilled)
        assert await broker.letters() == []


async def test_a_changed_file_changes_the_subscriptions(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, broker: Broker
) -> None:
    """Issue item 1: a reload begins, changes and ends subscriptions; a wrong file leaves them as they are."""

    async def take(request: orchestrator_pb2.SignalWorkflowRequest) -> bool:
        return True

    scripted = ScriptedOrchestrator(take)
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(scripted)
        node = effect_node(tmp_path, broker, SIGNAL)
        effect = await mesh.add(node)
        path = tmp_path / "targets.yaml"
        text = path.read_text()
        await broker.publish(encoded(event(1)))
        await eventually(lambda: is_settled(broker))

        path.write_text(text.replace("start_workflow", "signal") + "    bogus: 1\n")
        node.reload()

        async def is_refused() -> bool:
            health = [row async for row in _aiter(await node.check()) if row.name == "targets file"]
            return bool(health) and "subscriptions.placed.bogus" in health[0].message

        await eventually(is_refused)
        assert (await listed(mesh.channel(effect), "placed")).healthy

        path.write_text(text.replace("${input.type}", "renamed"))
        node.reload()
        await eventually(lambda: _is_named(broker, scripted, "renamed"))

        path.write_text(text.split("subscriptions:")[0])
        node.reload()

        async def is_gone() -> bool:
            stub = effect_pb2_grpc.EffectServiceStub(mesh.channel(effect))
            answer = await stub.ListTargets(effect_pb2.ListTargetsRequest(kind="subscription"), timeout=10)
            return not answer.targets

        await eventually(is_gone)


_NUMBERS = itertools.count(100)


async def _is_named(broker: Broker, scripted: ScriptedOrchestrator, name: str) -> bool:
    """Whether a message sent now comes as a signal of that name."""
    number = next(_NUMBERS)
    await broker.publish(encoded(event(number)))
    await until(lambda: any(row.signal_id == f"e-{number}" for row in scripted.asked), 30)
    return scripted.asked[-1].name == name


async def _aiter(rows: Sequence[node_pb2.DependencyHealth]) -> AsyncGenerator[node_pb2.DependencyHealth, None]:
    for row in rows:
        yield row


async def test_a_workflow_that_the_app_lacks_is_found_at_the_start(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, app: App
) -> None:
    """R3: the node does not start; file, line and what there is are in the message. So with a wrong definition."""
    async with running_broker("redis") as broker, InProcessMesh(etcd, keys) as mesh:
        subscription = "start_workflow: {workflow: fulfill}\ndead_letters: {file: dead.jsonl}"
        with pytest.raises(ValidationError) as refused:
            await mesh.add(effect_node(tmp_path, broker, subscription, app))
        assert refused.value.message == (
            f"{tmp_path}/targets.yaml:5: subscriptions.placed: start_workflow.workflow: "
            "the App defines no 'fulfill'; defined: fulfil"
        )
        (tmp_path / "wrong.yaml").write_text(WORKFLOW.replace("step_id: note", "step_id: not a name"))
        subscription = "start_workflow: {definition: wrong.yaml}\ndead_letters: {file: dead.jsonl}"
        with pytest.raises(ValidationError, match=r"placed: .*wrong\.yaml:5: steps\[0\]\.step_id"):
            await mesh.add(effect_node(tmp_path, broker, subscription, app))

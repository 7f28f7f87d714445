"""The ledger on a real etcd: one effect for each key, whichever nodes are handed it and whoever ordered it; and what
the log of a workflow keeps of its effects."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping

import grpc
import pytest

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    orchestrator_pb2,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Ownership, Session
from onex_mesh.effect.core import EffectContext, EffectRegistry
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import EffectFailedError, from_rpc_error
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.serving import NodeServer
from tests.effect_engine import effect_contract, intent, plain
from tests.inprocess import InProcessMesh, until


class Charges:
    """An effect of an application that remembers who called it; a call with `wait` waits until it is let go."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.released = asyncio.Event()
        self.registry = EffectRegistry()
        self.registry.register("charge", self.charge, ledger=True)

    async def charge(self, parameters: Mapping[str, Json], context: EffectContext) -> Json:
        """Charges."""
        self.calls.append(str(parameters.get("name", "")))
        if parameters.get("wait"):
            await self.released.wait()
        if parameters.get("refuse"):
            raise EffectFailedError("the card is blocked")
        return {"receipt": len(self.calls), "text": "x" * int(parameters.get("size") or 0)}  # type: ignore[call-overload]


class Owner:
    """An orchestrator of the test's own, with real leases."""

    def __init__(self, client: EtcdClient, keys: Keyspace, session: Session) -> None:
        self.journal = Journal(client, keys)
        self.session = session

    async def start(self) -> Ownership:
        """A new workflow."""
        record = workflow_pb2.Commit(workflow_id=f"w-{uuid.uuid4().hex[:8]}")
        record.state.workflow_id = record.workflow_id
        return await self.journal.start(self.session, record)

    async def succeed(self, former: Ownership) -> Ownership:
        """The same workflow under a later lease."""
        await self.journal.release(former)
        return await self.journal.acquire(self.session, former.workflow_id)


@pytest.fixture
async def owner(client: EtcdClient, keys: Keyspace) -> AsyncGenerator[Owner, None]:
    """Somebody who owns workflows."""
    session = await Session.open(client, instance_id="test-owner", ttl_s=10.0)
    yield Owner(client, keys, session)
    await session.close()


def _action(ownership: Ownership, *intents: intent_pb2.Intent) -> action_pb2.Action:
    now = time.time()
    action = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=ownership.lease_id,
        epoch=ownership.epoch,
        target_node=common_pb2.NODE_KIND_EFFECT,
        correlation_id="corr-1",
        workflow_id=ownership.workflow_id,
        step_id="pay",
        fencing_token=ownership.fencing_token,
    )
    action.issued_at.FromMilliseconds(int(now * 1000))
    action.expires_at.FromMilliseconds(int((now + 30) * 1000))
    action.command_payload.intents.intents.extend(intents)
    return action


def _charge(intent_id: str, **parameters: object) -> intent_pb2.Intent:
    payload = {"name": intent_id, **parameters}
    return intent(intent_id, intent_pb2.INTENT_TYPE_CUSTOM, "app", payload, custom_type="charge")


async def _results(
    mesh: InProcessMesh, node: NodeServer, action: action_pb2.Action
) -> dict[str, intent_pb2.IntentResult]:
    stub = action_pb2_grpc.ActionServiceStub(mesh.channel(node))
    answer = await stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=action), timeout=30)
    assert answer.result.status == action_pb2.ACTION_STATUS_COMPLETED, answer.result.error
    return {row.intent_id: row for row in answer.result.outputs[0].intents.results}


async def test_two_nodes_with_one_intent(etcd: EmbeddedEtcd, keys: Keyspace, owner: Owner) -> None:
    """R9, R79: of two nodes that are handed the same intent at once one has the effect, both report its result; each
    result says who did it, under which key and token."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        nodes = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        ownership = await owner.start()
        orders = [_action(ownership, _charge("a", wait=True)) for _ in nodes]
        both = [asyncio.create_task(_results(mesh, node, action)) for node, action in zip(nodes, orders, strict=True)]
        await until(lambda: charges.calls == ["a"])
        charges.released.set()
        rows = [(await task)["a"] for task in both]
        assert charges.calls == ["a"]
        assert sorted((row.replayed, row.attempts, row.record.outcome) for row in rows) == [
            (False, 1, "completed"),
            (True, 0, "replayed"),
        ]
        assert [row.result.json.struct_value["receipt"] for row in rows] == [1, 1]
        assert sorted(row.record.executed_by for row in rows) == sorted(node.info.instance_id for node in nodes)
        assert {row.record.idempotency_key for row in rows} == {rows[0].record.idempotency_key}
        assert {row.record.fencing_token for row in rows} == {ownership.fencing_token}


async def test_a_writer_that_was_followed_has_no_further_effect(
    etcd: EmbeddedEtcd, keys: Keyspace, owner: Owner
) -> None:
    """R136, F1: the lease is lost while a batch is under way: the intents that have not begun are refused, and the
    later owner's execution of them is the only one; what had begun is not repeated."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        first, second = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        ownership = await owner.start()
        batch = (_charge("a", wait=True), _charge("b"))
        stale = asyncio.create_task(_results(mesh, first, _action(ownership, *batch)))
        await until(lambda: charges.calls == ["a"])
        later = await owner.succeed(ownership)
        assert later.fencing_token > ownership.fencing_token
        current = asyncio.create_task(_results(mesh, second, _action(later, *batch)))
        await asyncio.sleep(0.05)
        assert charges.calls == ["a"]
        charges.released.set()
        before, after = await stale, await current
        assert charges.calls == ["a", "b"]
        assert (before["a"].status, after["a"].replayed) == (intent_pb2.INTENT_STATUS_COMPLETED, True)
        assert (after["b"].status, after["b"].replayed) == (intent_pb2.INTENT_STATUS_COMPLETED, False)
        # Whether the stale one comes to it before or after the later owner has had it, it has no effect of its own.
        assert (before["b"].error.reason, before["b"].replayed) in (("LEASE_EXPIRED", False), ("", True))


async def test_nobody_drives_the_workflow_any_more(etcd: EmbeddedEtcd, keys: Keyspace, owner: Owner) -> None:
    """R136: after the lease was given back nothing more happens under it, and the claim is free for whoever comes."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        node = await mesh.add(EffectNode(charges.registry, None, "1"))
        ownership = await owner.start()
        stale = asyncio.create_task(_results(mesh, node, _action(ownership, _charge("a", wait=True), _charge("b"))))
        await until(lambda: charges.calls == ["a"])
        await owner.journal.release(ownership)
        charges.released.set()
        refused = (await stale)["b"].error
        assert refused.reason == "LEASE_EXPIRED"
        assert refused.error_context["given"] == ownership.fencing_token
        assert charges.calls == ["a"]
        later = await owner.journal.acquire(owner.session, ownership.workflow_id)
        results = await _results(mesh, node, _action(later, _charge("a"), _charge("b")))
        assert [results[name].replayed for name in ("a", "b")] == [True, False]
        assert charges.calls == ["a", "b"]


async def _direct(mesh: InProcessMesh, node: NodeServer, key: str, **parameters: object) -> effect_pb2.EffectOutput:
    stub = effect_pb2_grpc.EffectServiceStub(mesh.channel(node))
    contract = effect_contract("charge", "", "", {"name": key, **parameters}, key=key)
    return (await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=30)).output


async def test_a_result_that_is_too_large_to_be_kept(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R9, R25: the ledger keeps that the effect was had, if not its result: a repeat on another node says so, and has
    no effect a second time."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        first, second = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        output = await _direct(mesh, first, "k", size=2_000_000)
        assert len(output.operation_result.json.struct_value["text"]) == 2_000_000
        for node in (first, second):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _direct(mesh, node, "k", size=2_000_000)
            assert from_rpc_error(refused.value).reason == "PAYLOAD_TOO_LARGE"
            assert "the effect was had before" in str(refused.value.details())
        assert charges.calls == ["k"]


async def test_results_outlive_their_node(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R9, R25: what a node recorded before it stopped answers on every other one."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        first, second = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        assert plain(await _direct(mesh, first, "k")) == {"receipt": 1, "text": ""}
        await mesh.remove(first)
        again = await _direct(mesh, second, "k")
        assert (plain(again), again.metadata.replayed) == ({"receipt": 1, "text": ""}, True)
        assert charges.calls == ["k"]


async def test_a_session_that_ends_takes_its_claims_along(
    etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient
) -> None:
    """R25, R145: etcd ends a node's session while it works under a claim: the work stops, the error is one to try again
    after, and another node takes the key over; the first one serves again under a new session."""
    charges = Charges()
    async with InProcessMesh(etcd, keys, ttl_s=2.0) as mesh:
        first, second = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        lost = asyncio.create_task(_direct(mesh, first, "k", wait=True))
        await until(lambda: charges.calls == ["k"])
        assert first._mesh is not None
        ended = first._mesh.session
        await client.revoke(ended.etcd_lease)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await lost
        assert from_rpc_error(failed.value).retryable
        assert plain(await _direct(mesh, second, "k")) == {"receipt": 2, "text": ""}
        await until(lambda: first._mesh is not None and first._mesh.session is not ended)
        again = await _direct(mesh, first, "k")
        assert (plain(again), again.metadata.replayed) == ({"receipt": 2, "text": ""}, True)


async def test_a_failure_frees_the_key(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R25: after an effect that failed for certain the same key can be tried again, on any node."""
    charges = Charges()
    async with InProcessMesh(etcd, keys) as mesh:
        first, second = [await mesh.add(EffectNode(charges.registry, None, "1")) for _ in range(2)]
        with pytest.raises(grpc.aio.AioRpcError, match="blocked"):
            await _direct(mesh, first, "k", refuse=True)
        assert plain(await _direct(mesh, second, "k")) == {"receipt": 2, "text": ""}


async def test_the_log_of_the_workflow_has_the_audit_record(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R11, R146: what is committed about an effect step says who did what where, under which key and token, how often
    it was tried and how it ended; also where it failed."""
    charges = Charges()
    contract = orchestrator_pb2.ExecuteOrchestrationRequest().contract
    contract.workflow_id, contract.correlation_id = "order-1", "corr-9"
    contract.workflow_config.coordination_type = workflow_pb2.COORDINATION_TYPE_SEQUENTIAL
    contract.conflict_resolution.continue_on_error = True
    for step_id, parameters in (("pay", {"name": "pay"}), ("again", {"name": "again", "refuse": True})):
        step = contract.workflow_config.steps.add(step_id=step_id)
        step.command.effect.CopyFrom(effect_contract("charge", "app", "", parameters))
    async with InProcessMesh(etcd, keys) as mesh:
        effect = await mesh.add(EffectNode(charges.registry, None, "1"))
        orchestrator = await mesh.add_orchestrator()
        stub = mesh.orchestrator(orchestrator)
        await stub.ExecuteOrchestration(orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract), timeout=20)
        history = await stub.GetHistory(orchestrator_pb2.GetHistoryRequest(workflow_id="order-1"))
        results = {row.step_id: row for commit in history.commits for row in commit.results}
        token = max(commit.fencing_token for commit in history.commits)
        for step_id, outcome in (("pay", "completed"), ("again", "failed")):
            record = results[step_id].effect
            assert (record.target, record.effect_type, record.operation) == ("app", "charge", "charge")
            assert (record.executed_by, record.attempts, record.outcome) == (effect.info.instance_id, 1, outcome)
            assert (record.fencing_token, record.idempotency_key[:5]) == (token, "step-")
        assert results["pay"].effect.idempotency_key != results["again"].effect.idempotency_key
        assert results["pay"].effect.HasField("started_at")
        assert results["pay"].HasField("execution_time")

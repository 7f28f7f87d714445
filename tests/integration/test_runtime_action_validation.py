"""The check of an action against a real etcd: what single calls and streams let through, what a node remembers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, common_pb2, workflow_pb2
from onex_lease import EtcdClient, Journal, Keyspace, LiveView, Ownership, Session
from onex_mesh.runtime import action_validation
from onex_mesh.runtime.action_validation import ActionValidator
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    EpochMismatchError,
    LeaseExpiredError,
    LeaseInvalidError,
    ValidationError,
)

EFFECT, COMPUTE, REDUCER = common_pb2.NODE_KIND_EFFECT, common_pb2.NODE_KIND_COMPUTE, common_pb2.NODE_KIND_REDUCER


class Writer:
    """An orchestrator as far as these tests need one: it owns workflows and issues actions."""

    def __init__(self, journal: Journal, session: Session) -> None:
        self.journal = journal
        self.session = session

    async def start(self, workflow_id: str = "w") -> Ownership:
        """Starts a workflow."""
        state = workflow_pb2.WorkflowState(workflow_id=workflow_id)
        return await self.journal.start(self.session, workflow_pb2.Commit(workflow_id=workflow_id, state=state))

    def action(self, ownership: Ownership, kind: common_pb2.NodeKind = COMPUTE, **changes: object) -> action_pb2.Action:
        """An action that is right but for the changes."""
        now = int(time.time())
        action = action_pb2.Action(
            action_id="a-1",
            action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
            workflow_id=ownership.workflow_id,
            lease_id=ownership.lease_id,
            fencing_token=ownership.fencing_token,
            epoch=ownership.epoch,
            target_node=kind,
            correlation_id="c-1",
            issued_at=Timestamp(seconds=now),
            expires_at=Timestamp(seconds=now + 30),
        )
        command = {EFFECT: "effect", COMPUTE: "compute", REDUCER: "reduction"}[kind]
        getattr(action.command_payload, command).SetInParent()
        for name, value in changes.items():
            action.ClearField(name)  # type: ignore[arg-type]  # names of fields
            if isinstance(value, Timestamp | action_pb2.Command):
                getattr(action, name).CopyFrom(value)
            elif value is not None:
                setattr(action, name, value)
        return action


@pytest.fixture
async def writer(client: EtcdClient, keys: Keyspace) -> AsyncGenerator[Writer, None]:
    """A writer with a session of its own."""
    session = await Session.open(client, instance_id="writer", ttl_s=30)
    yield Writer(Journal(client, keys), session)
    await session.close()


@pytest.fixture
async def view(client: EtcdClient, keys: Keyspace) -> AsyncGenerator[LiveView, None]:
    """The node's own view."""
    opened = await LiveView.open(client, keys)
    yield opened
    await opened.close()


def chain_of(*commands: action_pb2.Command) -> action_pb2.Command:
    """A chain."""
    links = [action_pb2.ChainLink(step_id=f"s{n}", command=command) for n, command in enumerate(commands)]
    return action_pb2.Command(chain=action_pb2.CommandChain(links=links))


def compute() -> action_pb2.Command:
    """A computation."""
    command = action_pb2.Command()
    command.compute.SetInParent()
    return command


def reduction() -> action_pb2.Command:
    """A reduction."""
    command = action_pb2.Command()
    command.reduction.SetInParent()
    return command


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", [EFFECT, COMPUTE, REDUCER])
async def test_a_right_action_passes(writer: Writer, view: LiveView, kind: common_pb2.NodeKind, streamed: bool) -> None:
    """R136–R139: an action of the holder passes on every kind of node, both ways; also one of an earlier epoch."""
    ownership = await writer.start()
    validator = ActionValidator(kind, writer.journal, view)
    await validator.validate(writer.action(ownership, kind), streamed=streamed)
    state = workflow_pb2.WorkflowState(workflow_id="w")
    await writer.journal.commit(ownership, workflow_pb2.Commit(workflow_id="w", state=state))
    await validator.validate(writer.action(ownership, kind, epoch=1), streamed=streamed)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"action_id": None}, "action_id"),
        ({"lease_id": None}, "lease_id"),
        ({"workflow_id": None}, "workflow_id"),
        ({"fencing_token": None}, "fencing_token"),
        ({"fencing_token": -1}, "fencing_token"),
        ({"epoch": -1}, "epoch"),
        ({"expires_at": None}, "expires_at"),
        ({"expires_at": Timestamp(seconds=10**15)}, "expires_at"),
        ({"expires_at": Timestamp(seconds=-(10**15))}, "expires_at"),
        ({"issued_at": Timestamp(seconds=10**15)}, "issued_at"),
        ({"issued_at": Timestamp(nanos=-1)}, "issued_at"),
        ({"action_type": None}, "action_type"),
        ({"action_type": action_pb2.ACTION_TYPE_START_WORKFLOW}, "action_type"),
        ({"action_type": action_pb2.ACTION_TYPE_UPDATE_STATE}, "action_type"),
        ({"action_type": action_pb2.ACTION_TYPE_ABORT_WORKFLOW}, "action_type"),
        ({"action_type": action_pb2.ACTION_TYPE_CHECKPOINT_STATE}, "action_type"),
        ({"action_type": action_pb2.ACTION_TYPE_ROLLBACK_STATE}, "action_type"),
        ({"action_type": 77}, "action_type"),
        ({"target_node": None}, "target_node"),
        ({"target_node": EFFECT}, "target_node"),
        ({"target_node": common_pb2.NODE_KIND_ORCHESTRATOR}, "target_node"),
        ({"target_node": 99}, "target_node"),
        ({"command_payload": None}, "command_payload"),
        ({"command_payload": reduction()}, "command_payload"),
        ({"command_payload": chain_of()}, "command_payload.chain.links"),
        ({"command_payload": chain_of(compute(), reduction())}, "command_payload.chain.links[1].command"),
        ({"command_payload": chain_of(chain_of(compute()))}, "command_payload.chain.links[0].command"),
        ({"command_payload": chain_of(action_pb2.Command())}, "command_payload.chain.links[0].command"),
    ],
)
async def test_a_malformed_action_is_refused_by_its_field(
    writer: Writer, view: LiveView, changes: dict[str, object], field: str
) -> None:
    """R118–R120, R139: whatever is missing, out of range or for another node is refused, and the field is named."""
    ownership = await writer.start()
    validator = ActionValidator(COMPUTE, writer.journal, view)
    with pytest.raises(ValidationError) as refused:
        await validator.validate(writer.action(ownership, **changes), streamed=True)  # type: ignore[arg-type]  # as above
    assert [name for name, _ in refused.value.violations] == [field]
    assert refused.value.correlation_id == "c-1"


async def test_all_violations_are_told_at_once(writer: Writer, view: LiveView) -> None:
    """R36: a client sees everything that is wrong, not one thing at a time."""
    validator = ActionValidator(COMPUTE, writer.journal, view)
    with pytest.raises(ValidationError) as refused:
        await validator.validate(action_pb2.Action(), streamed=True)
    fields = [name for name, _ in refused.value.violations]
    assert fields == ["action_id", "lease_id", "workflow_id", "fencing_token", "expires_at", "action_type"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_expired_action_is_refused(writer: Writer, view: LiveView, streamed: bool) -> None:
    """R138: past its expires_at nobody begins an action."""
    ownership = await writer.start()
    action = writer.action(ownership, expires_at=Timestamp(seconds=int(time.time()) - 1))
    with pytest.raises(ActionExpiredError, match="action a-1 is past its expires_at"):
        await ActionValidator(COMPUTE, writer.journal, view).validate(action, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", [EFFECT, COMPUTE])
async def test_a_lease_that_is_over(writer: Writer, view: LiveView, kind: common_pb2.NodeKind, streamed: bool) -> None:
    """R136: after the release, and after another has taken over, the former holder's actions are refused."""
    ownership = await writer.start()
    validator = ActionValidator(kind, writer.journal, view)
    late = writer.action(ownership, kind)
    await writer.journal.release(ownership)
    assert await view.caught_up(await _now(writer, view), 5)
    with pytest.raises(LeaseExpiredError):
        await validator.validate(late, streamed=streamed)
    successor = await writer.journal.acquire(writer.session, "w")
    await validator.validate(writer.action(successor, kind), streamed=streamed)
    with pytest.raises(LeaseExpiredError):
        await validator.validate(late, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", [EFFECT, COMPUTE])
@pytest.mark.parametrize("changes", [{"lease_id": "00000000-0000-0000-0000-000000000000"}, {"fencing_token": 10**15}])
async def test_a_forged_lease(
    writer: Writer, view: LiveView, kind: common_pb2.NodeKind, streamed: bool, changes: dict[str, object]
) -> None:
    """R144, F10: a lease that was never held is another error than one that is over."""
    ownership = await writer.start()
    action = writer.action(ownership, kind, **changes)
    with pytest.raises(LeaseInvalidError):
        await ActionValidator(kind, writer.journal, view).validate(action, streamed=streamed)


@pytest.mark.parametrize(("kind", "streamed"), [(EFFECT, True), (EFFECT, False), (COMPUTE, False), (REDUCER, False)])
async def test_an_epoch_ahead_of_the_workflow(
    writer: Writer, view: LiveView, kind: common_pb2.NodeKind, streamed: bool
) -> None:
    """R137: an action of an epoch that the workflow has not reached is refused, with both epochs."""
    ownership = await writer.start()
    with pytest.raises(EpochMismatchError) as refused:
        await ActionValidator(kind, writer.journal, view).validate(
            writer.action(ownership, kind, epoch=7), streamed=streamed
        )
    assert refused.value.error_context["expected_epoch"] == 7
    assert refused.value.error_context["current_epoch"] == 1


async def test_a_later_token_shuts_the_earlier_one_out(writer: Writer, view: LiveView) -> None:
    """R130: once a node has seen a later lease it refuses the former one by itself, whatever etcd would say."""
    validator = ActionValidator(COMPUTE, writer.journal, view)
    ownership = await writer.start()
    former = writer.action(ownership)
    await validator.validate(former, streamed=True)
    await writer.journal.release(ownership)
    successor = await writer.journal.acquire(writer.session, "w")
    await validator.validate(writer.action(successor), streamed=True)
    with pytest.raises(LeaseExpiredError, match="a later lease on workflow 'w' was seen") as refused:
        await validator.validate(former, streamed=True)
    assert refused.value.error_context == {"seen": successor.fencing_token, "given": ownership.fencing_token}


async def test_a_token_never_falls(writer: Writer, view: LiveView) -> None:
    """R130: a check that took long does not undo what was seen in the meantime, nor does its action pass."""
    ownership = await writer.start()
    former = writer.action(ownership)
    may_end = asyncio.Event()

    class SlowJournal(Journal):
        """Answers when it may: as an etcd far away would."""

        async def check(self, workflow_id: str, lease_id: str, fencing_token: int, epoch: int) -> None:
            """Checks, then waits."""
            await writer.journal.check(workflow_id, lease_id, fencing_token, epoch)
            await may_end.wait()

    slow = SlowJournal.__new__(SlowJournal)
    validator = ActionValidator(COMPUTE, slow, view)
    waiting = asyncio.create_task(validator.validate(former, streamed=False))
    await asyncio.sleep(0.1)
    await writer.journal.release(ownership)
    successor = await writer.journal.acquire(writer.session, "w")
    await validator.validate(writer.action(successor), streamed=True)
    may_end.set()
    with pytest.raises(LeaseExpiredError, match="a later lease"):
        await waiting


async def test_few_tokens_are_forgotten_and_not_those_in_use(
    writer: Writer, view: LiveView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a node remembers is bounded; a workflow that is driven now keeps its place."""
    monkeypatch.setattr(action_validation, "TOKENS_KEPT", 2)
    validator = ActionValidator(COMPUTE, writer.journal, view)
    actions = {name: writer.action(await writer.start(name)) for name in ("w1", "w2", "w3")}
    for name in ("w1", "w2", "w1", "w3"):
        await validator.validate(actions[name], streamed=True)
    assert set(validator._tokens) == {"w1", "w3"}


async def test_a_view_that_is_behind_does_not_refuse(writer: Writer, client: EtcdClient, keys: Keyspace) -> None:
    """R130: where the view has not come as far as the token, etcd is asked; a fresh lease is never refused for it."""
    view = LiveView(client, keys)  # not opened: it has seen nothing
    ownership = await writer.start()
    await ActionValidator(COMPUTE, writer.journal, view).validate(writer.action(ownership), streamed=True)
    with pytest.raises(EpochMismatchError):
        await ActionValidator(COMPUTE, writer.journal, view).validate(writer.action(ownership, epoch=9), streamed=True)


async def _now(writer: Writer, view: LiveView) -> int:
    """A revision that is not older than what was written so far."""
    ownership = await writer.start(f"marker-{time.monotonic_ns()}")
    return ownership.fencing_token

"""ActionService on a real node with a real etcd: what is refused, chains, joining, cancelling, bounds, expiry."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import grpc
import pytest
import structlog

from onex.v1 import action_pb2, action_pb2_grpc, common_pb2, workflow_pb2
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Ownership, Session
from onex_mesh.runtime import errors
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.payload import from_payload, json_payload, to_struct, to_value
from tests.inprocess import InProcessMesh, ScriptedNode, echo, until

COMPUTE, EFFECT = common_pb2.NODE_KIND_COMPUTE, common_pb2.NODE_KIND_EFFECT
COMPLETED = action_pb2.ACTION_STATUS_COMPLETED
FAILED = action_pb2.ACTION_STATUS_FAILED
CANCELLED = action_pb2.ACTION_STATUS_CANCELLED


class Caller:
    """An orchestrator of the test's own: it holds real leases and sends actions."""

    def __init__(self, journal: Journal, session: Session, channel: grpc.aio.Channel) -> None:
        self.journal, self.session = journal, session
        self.stub = action_pb2_grpc.ActionServiceStub(channel)

    async def own(self) -> Ownership:
        """Starts a workflow: epoch 1, a lease, a fencing token."""
        record = workflow_pb2.Commit(workflow_id=f"w-{uuid.uuid4().hex[:8]}")
        record.state.workflow_id = record.workflow_id
        return await self.journal.start(self.session, record)

    async def unary(self, action: action_pb2.Action) -> action_pb2.ActionResult:
        """One call; a refusal as the error that it is."""
        try:
            answer = await self.stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=action), timeout=10)
        except grpc.aio.AioRpcError as error:
            raise errors.from_rpc_error(error) from error
        return answer.result

    async def streamed(self, *actions: action_pb2.Action) -> dict[str, action_pb2.ActionResult]:
        """One frame over a stream of its own; the results by action id."""
        call = self.stub.Dispatch(timeout=10)
        await call.write(action_pb2.DispatchRequest(actions=actions))
        await call.done_writing()
        results = {}
        async for frame in call:
            for result in frame.results:
                if result.status != action_pb2.ACTION_STATUS_IN_PROGRESS:
                    assert result.action_id not in results
                    results[result.action_id] = result
        return results


@dataclass
class Gate:
    """A behaviour that waits until it is let go, and counts."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    begun: int = 0
    ended: int = 0
    cancelled: int = 0

    async def __call__(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        self.begun += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        return await echo(command, context)


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def serve(
    mesh: InProcessMesh, client: EtcdClient, keys: Keyspace
) -> AsyncGenerator[Callable[..., Awaitable[Caller]], None]:
    """Starts a node with a behaviour and gives a caller of it."""
    session = await Session.open(client, instance_id="caller", ttl_s=5.0)
    journal = Journal(client, keys)

    async def start(behaviour: object = echo, kind: common_pb2.NodeKind = COMPUTE, **settings: object) -> Caller:
        node = ScriptedNode(kind, behaviour)  # type: ignore[arg-type]  # any behaviour
        return Caller(journal, session, mesh.channel(await mesh.add(node, **settings)))

    yield start
    await session.close()


def action(own: Ownership, value: object = 1, *, lasts_s: float = 8.0) -> action_pb2.Action:
    """A good action that hands `value` to the node."""
    made = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=own.lease_id,
        epoch=own.epoch,
        target_node=COMPUTE,
        workflow_id=own.workflow_id,
        fencing_token=own.fencing_token,
        step_id="a",
        correlation_id="corr-1",
    )
    made.command_payload.compute.input_data.CopyFrom(json_payload(value))
    made.issued_at.GetCurrentTime()
    made.expires_at.FromNanoseconds(int((time.time() + lasts_s) * 1e9))
    return made


def as_effect(made: action_pb2.Action) -> action_pb2.Action:
    """The same for an effect node."""
    made.target_node = EFFECT
    made.command_payload.effect.io_operation_config.parameters.CopyFrom(to_struct({"a": 1}))
    return made


def value_of(result: action_pb2.ActionResult) -> object:
    """What the echo returned."""
    return from_payload(result.outputs[0].compute.processed_data)


async def test_both_ways_execute_and_say_who_did(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R116–R124: an action is executed by a call and over the stream; the result names step, time and instance."""
    seen: list[CommandContext] = []

    async def behaviour(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        seen.append(context)
        return await echo(command, context)

    caller = await serve(behaviour)
    own = await caller.own()
    one, two = action(own, {"n": 1}), action(own, {"n": 2})
    single = await caller.unary(one)
    streamed = (await caller.streamed(two))[two.action_id]
    assert (single.status, value_of(single)) == (COMPLETED, {"n": 1})
    assert (streamed.status, value_of(streamed)) == (COMPLETED, {"n": 2})
    assert single.outputs[0].step_id == "a"
    assert single.outputs[0].execution_time.ToNanoseconds() > 0
    assert single.executed_by.startswith("compute-")
    assert [context.correlation_id for context in seen] == ["corr-1", "corr-1"]
    assert (seen[0].lease_id, seen[0].epoch, seen[0].fencing_token) == (own.lease_id, 1, own.fencing_token)
    assert abs(seen[0].issued_at.timestamp() - one.issued_at.ToNanoseconds() / 1e9) < 0.001


_SHAPES: list[tuple[str, Callable[[action_pb2.Action], object], str, str]] = [
    ("R118", lambda made: made.ClearField("lease_id"), "VALIDATION_FAILED", "lease_id"),
    ("R119", lambda made: setattr(made, "epoch", -1), "VALIDATION_FAILED", "epoch"),
    ("R116", lambda made: made.ClearField("action_id"), "VALIDATION_FAILED", "action_id"),
    ("R124", lambda made: made.ClearField("expires_at"), "VALIDATION_FAILED", "expires_at"),
    ("R130", lambda made: made.ClearField("fencing_token"), "VALIDATION_FAILED", "fencing_token"),
    ("R120", lambda made: made.ClearField("target_node"), "VALIDATION_FAILED", "target_node"),
    ("R139", lambda made: setattr(made, "target_node", EFFECT), "VALIDATION_FAILED", "target_node"),
    ("R121", lambda made: made.ClearField("command_payload"), "VALIDATION_FAILED", "command_payload"),
    ("R117", lambda made: setattr(made, "action_type", 3), "VALIDATION_FAILED", "action_type"),
    ("R138", lambda made: made.expires_at.FromSeconds(1), "ACTION_EXPIRED", ""),
    ("R144 token", lambda made: setattr(made, "fencing_token", 2**40), "LEASE_INVALID", ""),
    ("R144 lease", lambda made: setattr(made, "lease_id", str(uuid.uuid4())), "LEASE_INVALID", ""),
]


@pytest.mark.parametrize(("change", "reason", "at"), [row[1:] for row in _SHAPES], ids=[row[0] for row in _SHAPES])
async def test_bad_actions_are_refused_by_both_ways(
    serve: Callable[..., Awaitable[Caller]], change: Callable[[action_pb2.Action], object], reason: str, at: str
) -> None:
    """R116–R121, R138, R139, R144: refused before the executor sees it, with the field or the reason."""
    gate = Gate()
    caller = await serve(gate)
    made = action(await caller.own())
    change(made)
    with pytest.raises(errors.OnexError) as refused:
        await caller.unary(made)
    assert refused.value.reason == reason
    result = (await caller.streamed(made))[made.action_id]
    assert (result.status, result.error.reason) == (FAILED, reason)
    if at:
        assert isinstance(refused.value, errors.ValidationError)
        assert refused.value.violations[0][0] == at
        assert at in result.error.message
    assert gate.begun == 0


async def test_a_lease_that_is_over_is_refused_by_both_ways(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R136: after a release, and after another has acquired, the old lease's actions are refused as expired."""
    caller = await serve()
    own = await caller.own()
    await caller.journal.release(own)
    for is_taken in (False, True):
        if is_taken:
            await caller.journal.acquire(caller.session, own.workflow_id)
        made = action(own)
        with pytest.raises(errors.LeaseExpiredError):
            await caller.unary(made)
        await until_refused(caller, made, "LEASE_EXPIRED")


async def until_refused(caller: Caller, made: action_pb2.Action, reason: str) -> None:
    """The stream trusts the node's view of etcd, which follows a moment later."""
    async with asyncio.timeout(5):
        while True:
            result = (await caller.streamed(made))[made.action_id]
            if result.status == FAILED:
                assert result.error.reason == reason
                return


async def test_an_epoch_ahead_is_refused(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R137: a call is compared with the workflow's epoch, and so is an effect over the stream; one behind is good."""
    caller = await serve()
    own = await caller.own()
    ahead = action(own)
    ahead.epoch = 2
    with pytest.raises(errors.EpochMismatchError):
        await caller.unary(ahead)
    behind = action(own)
    behind.epoch = 0
    assert (await caller.unary(behind)).status == COMPLETED
    effects = await serve(kind=EFFECT)
    made = as_effect(action(own))
    made.epoch = 2
    assert (await effects.streamed(made))[made.action_id].error.reason == "EPOCH_MISMATCH"


async def test_a_lower_token_than_one_seen_is_refused(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R130, R136: once a node has worked for a later owner, the earlier one's actions are refused."""
    caller = await serve()
    own = await caller.own()
    await caller.journal.release(own)
    later = await caller.journal.acquire(caller.session, own.workflow_id)
    assert (await caller.unary(action(later))).status == COMPLETED
    made = action(own)
    result = (await caller.streamed(made))[made.action_id]
    assert (result.status, result.error.reason) == (FAILED, "LEASE_EXPIRED")
    assert "later lease" in result.error.message


async def test_a_chain_feeds_each_link_from_those_before(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R106, R147: a chain is one call; links read the context, each other and their parameters."""
    caller = await serve()
    made = action(await caller.own())
    chain = made.command_payload.chain
    chain.context.fields["input"].CopyFrom(to_value({"n": 2}))
    chain.context.fields["steps"].CopyFrom(to_value({"before": {"output": [1, 2]}, "no": {"output": None}}))
    chain.context.fields["workflow"].CopyFrom(to_value({"id": "w"}))
    first = chain.links.add(step_id="first")
    first.command.compute.input_data.CopyFrom(json_payload("${input.n * 10 + steps.before.output[1]}"))
    second = chain.links.add(step_id="second", parameters=to_struct({"p": "q"}))
    second.command.compute.input_data.CopyFrom(
        json_payload({"a": "${steps.first.output}", "t": "${workflow.id}-${params.p}", "none": "${steps.no.output}"})
    )
    result = (await caller.streamed(made))[made.action_id]
    assert result.status == COMPLETED
    assert [output.step_id for output in result.outputs] == ["first", "second"]
    assert [from_payload(output.compute.processed_data) for output in result.outputs] == [
        22,
        {"a": 22, "t": "w-q", "none": None},
    ]


async def test_a_chain_tells_what_it_has_done(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R43, R147: over the stream a slow chain reports each link once while it goes on; the result holds all of them."""
    gate = Gate()

    async def wait_at_the_last(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        await (gate.opened.wait() if context.step_id == "s2" else asyncio.sleep(0.01))
        return await echo(command, context)

    caller = await serve(wait_at_the_last)
    made = action(await caller.own())
    for n in range(3):
        link = made.command_payload.chain.links.add(step_id=f"s{n}")
        link.command.compute.input_data.CopyFrom(json_payload(n))
    call = caller.stub.Dispatch(timeout=10)
    await call.write(action_pb2.DispatchRequest(actions=[made]))
    reports: list[action_pb2.ActionResult] = []
    while sum(len(report.outputs) for report in reports) < 2:
        reports.extend((await call.read()).results)
    assert {report.status for report in reports} == {action_pb2.ACTION_STATUS_IN_PROGRESS}
    assert [output.step_id for report in reports for output in report.outputs] == ["s0", "s1"]
    gate.opened.set()
    (result,) = (await call.read()).results
    assert result.status == COMPLETED
    assert [output.step_id for output in result.outputs] == ["s0", "s1", "s2"]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_failing_link_ends_the_chain_and_keeps_what_was_done(
    serve: Callable[..., Awaitable[Caller]],
) -> None:
    """R103, R147: the results before the failing link are kept, the error says why, later links never run."""
    gate = Gate()
    gate.opened.set()
    caller = await serve(gate)
    made = action(await caller.own())
    for step_id, data in (("a", 1), ("b", "${steps.a.output.none}"), ("c", 3)):
        link = made.command_payload.chain.links.add(step_id=step_id)
        link.command.compute.input_data.CopyFrom(json_payload(data))
    result = await caller.unary(made)
    assert result.status == FAILED
    assert [output.step_id for output in result.outputs] == ["a"]
    assert result.error.reason == "VALIDATION_FAILED"
    assert "compute.input_data" in result.error.message
    assert gate.begun == 1


@pytest.mark.parametrize("fault", [RuntimeError("password=hunter2"), SystemExit("password=hunter2")])
async def test_nothing_of_an_unexpected_exception_leaves_the_node(
    serve: Callable[..., Awaitable[Caller]], fault: BaseException
) -> None:
    """R149, R150: the client is told INTERNAL and the correlation id; the cause is in the log only. Code that calls
    exit() does not end the node."""

    async def behaviour(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        raise fault

    caller = await serve(behaviour)
    own = await caller.own()
    one, two = action(own), action(own)
    for result in (await caller.unary(one), (await caller.streamed(two))[two.action_id]):
        assert (result.status, result.error.reason) == (FAILED, "INTERNAL")
        assert result.error.correlation_id == "corr-1"
        assert "hunter2" not in str(result)


async def test_known_errors_keep_reason_and_facts(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R20, R149: an OnexError of the executor arrives as itself."""

    async def behaviour(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        raise errors.AlgorithmNotFoundError("no such", error_context={"algorithm": "x"})

    caller = await serve(behaviour)
    result = await caller.unary(action(await caller.own()))
    error = errors.from_proto(result.error)
    assert isinstance(error, errors.AlgorithmNotFoundError)
    assert (error.error_context, error.correlation_id) == ({"algorithm": "x"}, "corr-1")
    assert result.error.node_kind == COMPUTE


async def test_an_action_ends_at_its_expiry(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R138, F9: an action that runs into its expires_at is stopped and answered as expired."""
    gate = Gate()
    caller = await serve(gate)
    made = action(await caller.own(), lasts_s=0.3)
    result = (await caller.streamed(made))[made.action_id]
    assert (result.status, result.error.reason) == (FAILED, "ACTION_EXPIRED")
    assert (gate.begun, gate.cancelled, gate.ended) == (1, 1, 0)


async def test_the_same_action_joins_the_one_under_way(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R9: sent again while it runs, by whatever way, it runs once and everybody gets the result."""
    gate = Gate()
    caller = await serve(gate)
    made = action(await caller.own(), "x")
    calls = [asyncio.create_task(caller.unary(made)), asyncio.create_task(caller.unary(made))]
    stream = asyncio.create_task(caller.streamed(made))
    await until(lambda: gate.begun == 1)
    await asyncio.sleep(0.1)
    gate.opened.set()
    assert [value_of(await call) for call in calls] == ["x", "x"]
    assert value_of((await stream)[made.action_id]) == "x"
    assert gate.begun == 1


async def test_a_forged_copy_does_not_join(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R144: knowing an action's id does not give its result to one who does not hold its lease."""
    gate = Gate()
    caller = await serve(gate)
    made = action(await caller.own(), "secret")
    real = asyncio.create_task(caller.unary(made))
    await until(lambda: gate.begun == 1)
    forged = action_pb2.Action.FromString(made.SerializeToString())
    forged.lease_id = str(uuid.uuid4())
    assert (await caller.streamed(forged))[made.action_id].error.reason == "LEASE_INVALID"
    gate.opened.set()
    assert value_of(await real) == "secret"


async def test_cancelling_over_the_stream(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R109, R125: a cancelled action is stopped and answered as CANCELLED; its siblings go on."""
    gate = Gate()
    caller = await serve(gate)
    own = await caller.own()
    one, two = action(own, 1), action(own, 2)
    call = caller.stub.Dispatch(timeout=10)
    await call.write(action_pb2.DispatchRequest(actions=[one, two]))
    await until(lambda: gate.begun == 2)
    await call.write(action_pb2.DispatchRequest(cancel_action_ids=[one.action_id, "unknown"]))
    first = (await call.read()).results
    assert [(result.action_id, result.status) for result in first] == [(one.action_id, CANCELLED)]
    assert first[0].error.reason == "CANCELLED"
    gate.opened.set()
    assert [value_of(result) for result in (await call.read()).results] == [2]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_cancelling_before_the_first_step(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R109: an action and its cancellation in one frame are answered too, exactly once."""
    caller = await serve(Gate())
    made = action(await caller.own())
    call = caller.stub.Dispatch(timeout=5)
    await call.write(action_pb2.DispatchRequest(actions=[made], cancel_action_ids=[made.action_id]))
    await call.done_writing()
    results = [result async for frame in call for result in frame.results]
    assert [(result.action_id, result.status) for result in results] == [(made.action_id, CANCELLED)]


@pytest.mark.parametrize(("kind", "cancelled"), [(COMPUTE, 1), (EFFECT, 0)])
async def test_a_client_that_disappears(
    serve: Callable[..., Awaitable[Caller]], kind: common_pb2.NodeKind, cancelled: int
) -> None:
    """R9, R164: pure work that nobody waits for stops, an effect that has begun ends; the node serves on."""
    gate = Gate()
    caller = await serve(gate, kind)
    own = await caller.own()
    made = action(own) if kind == COMPUTE else as_effect(action(own))
    call = caller.stub.Dispatch()
    await call.write(action_pb2.DispatchRequest(actions=[made]))
    await until(lambda: gate.begun == 1)
    call.cancel()
    if cancelled:
        await until(lambda: gate.cancelled == 1)
    else:
        await asyncio.sleep(0.2)
        assert gate.cancelled == 0
    gate.opened.set()
    if not cancelled:
        await until(lambda: gate.ended == 1)
    again = action(own) if kind == COMPUTE else as_effect(action(own))
    assert (await caller.unary(again)).status == COMPLETED


async def test_who_joined_keeps_the_work_alive(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R94: a stream that breaks does not take the action from the stream that sent it again."""
    gate = Gate()
    caller = await serve(gate)
    made = action(await caller.own(), "x")
    broken = caller.stub.Dispatch()
    await broken.write(action_pb2.DispatchRequest(actions=[made]))
    await until(lambda: gate.begun == 1)
    second = asyncio.create_task(caller.streamed(made))
    await asyncio.sleep(0.2)
    broken.cancel()
    await asyncio.sleep(0.2)
    gate.opened.set()
    assert value_of((await second)[made.action_id]) == "x"
    assert (gate.begun, gate.cancelled) == (1, 0)


async def test_more_than_the_bound_is_refused(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R94: one action more than the bound is OVERLOADED, retryable, and the others are not disturbed."""
    gate = Gate()
    caller = await serve(gate, calls_max=2)
    own = await caller.own()
    made = [action(own, index) for index in range(3)]
    running = asyncio.create_task(caller.streamed(*made[:2]))
    await until(lambda: gate.begun == 2)
    refused = (await caller.streamed(made[2]))[made[2].action_id]
    assert (refused.status, refused.error.reason, refused.error.retryable) == (FAILED, "OVERLOADED", True)
    with pytest.raises(errors.OverloadedError):
        await caller.unary(made[2])
    gate.opened.set()
    assert sorted(str(value_of(result)) for result in (await running).values()) == ["0", "1"]


async def test_large_results_do_not_end_the_stream(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R94: results go in frames below the largest message; one that no message carries is refused by itself."""
    size = 40_000

    async def behaviour(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        factor = int(command.compute.input_data.json.number_value)
        output = action_pb2.StepOutput()
        output.compute.processed_data.data = b"x" * (size * factor)
        return output

    caller = await serve(behaviour, message_bytes_max=64 * 1024)
    own = await caller.own()
    good, huge = [action(own, 1) for _ in range(20)], action(own, 3)
    results = await caller.streamed(*good[:10], huge, *good[10:])
    assert len(results) == 21
    assert results[huge.action_id].error.reason == "PAYLOAD_TOO_LARGE"
    assert all(len(results[made.action_id].outputs[0].compute.processed_data.data) == size for made in good)


async def test_log_lines_carry_the_id_of_their_own_action(serve: Callable[..., Awaitable[Caller]]) -> None:
    """R5, R115: actions of one stream run at the same time and do not see each other's correlation id."""
    seen: dict[str, object] = {}

    async def behaviour(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        await asyncio.sleep(0.01)
        seen[context.action_id] = structlog.contextvars.get_contextvars().get("correlation_id")
        return await echo(command, context)

    caller = await serve(behaviour)
    own = await caller.own()
    made = [action(own) for _ in range(5)]
    for index, one in enumerate(made):
        one.correlation_id = f"corr-{index}"
    await caller.streamed(*made)
    assert seen == {one.action_id: one.correlation_id for one in made}

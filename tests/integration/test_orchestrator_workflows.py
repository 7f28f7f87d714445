"""Workflows on a running mesh: a real orchestrator, real streams, a real etcd; what the nodes execute is scripted."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    intent_pb2,
    node_pb2,
    orchestrator_pb2,
    reducer_pb2,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Session, register_node
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.runtime import errors
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.inprocess import InProcessMesh, ScriptedNode, echo, until

COMPUTE = common_pb2.NODE_KIND_COMPUTE
EFFECT = common_pb2.NODE_KIND_EFFECT
REDUCER = common_pb2.NODE_KIND_REDUCER


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncIterator[InProcessMesh]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


def compute(step_id: str, data: object = None, *after: str) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id, depends_on=after)
    step.command.compute.algorithm_config.algorithm_type = "echo"
    step.command.compute.input_data.CopyFrom(json_payload(data))
    return step


def effect(step_id: str, *after: str, **parameters: str) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id, depends_on=after)
    step.command.effect.external_service_config.target = "t"
    step.command.effect.io_operation_config.effect_type = "echo"
    step.command.effect.io_operation_config.parameters.update(parameters)
    return step


def reduction(step_id: str, payload: object = None) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id)
    step.command.reduction.reduction_config.reducer = "r"
    step.command.reduction.fsm_action.action = "GO"
    step.command.reduction.fsm_action.payload.CopyFrom(json_payload(payload))
    return step


def contract(
    *steps: workflow_pb2.Step,
    parallel: bool = False,
    every_step: bool = False,
    data: object = None,
    **resolution: object,
) -> workflow_pb2.OrchestratorContract:
    made = workflow_pb2.OrchestratorContract(workflow_id=f"w-{uuid.uuid4().hex[:8]}", initial_state=json_payload(data))
    made.workflow_config.steps.extend(steps)
    if parallel:
        made.workflow_config.coordination_type = workflow_pb2.COORDINATION_TYPE_PARALLEL
    if every_step:
        made.workflow_config.durability = workflow_pb2.DURABILITY_EVERY_STEP
    made.conflict_resolution.CopyFrom(
        workflow_pb2.ConflictResolution(**resolution)  # type: ignore[arg-type]  # fields by name
    )
    made.conflict_resolution.retry_config.initial_backoff.CopyFrom(Duration(nanos=10_000_000))
    return made


async def execute(stub: object, made: workflow_pb2.OrchestratorContract) -> workflow_pb2.OrchestratorOutput:
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=made)
    response = await stub.ExecuteOrchestration(request, timeout=20)  # type: ignore[attr-defined]  # an aio stub
    output: workflow_pb2.OrchestratorOutput = response.output
    return output


async def history(stub: object, workflow_id: str) -> orchestrator_pb2.GetHistoryResponse:
    request = orchestrator_pb2.GetHistoryRequest(workflow_id=workflow_id)
    response: orchestrator_pb2.GetHistoryResponse = await stub.GetHistory(request, timeout=10)  # type: ignore[attr-defined]  # an aio stub
    return response


async def test_sequential_steps_read_each_other(mesh: InProcessMesh) -> None:
    """R95, R97, R106, R110–R112: steps run in order, read the input and each other, and the result says how it went."""
    await mesh.add(ScriptedNode(COMPUTE))
    await mesh.add(ScriptedNode(EFFECT))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(
        compute("a", {"n": "${input.n}"}),
        effect("b", text="n is ${steps.a.output.n}"),
        compute("c", {"first": "${steps.a.output.n}", "second": "${steps.b.output.text}"}),
        data={"n": 4},
    )
    made.correlation_id = "corr-1"
    output = await execute(stub, made)
    assert from_payload(output.orchestration_result.output) == {"first": 4, "second": "n is 4"}
    assert output.correlation_id == "corr-1"
    assert output.execution_metadata.success_rate == 1.0
    assert [row.step_id for row in output.orchestration_result.step_results] == ["a", "b", "c"]
    assert {row.status for row in output.orchestration_result.step_results} == {workflow_pb2.STEP_STATUS_COMPLETED}
    assert output.lease_id


async def test_quick_pure_steps_cost_two_commits(mesh: InProcessMesh) -> None:
    """R140: five pure steps cost two commits, and the log has the result of each."""
    await mesh.add(ScriptedNode(COMPUTE))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    output = await execute(stub, contract(*(compute(f"s{n}", n) for n in range(5))))
    assert output.execution_metadata.epoch == 2
    log = await history(stub, output.workflow_id)
    assert [commit.epoch for commit in log.commits] == [1, 2]
    assert [row.step_id for row in log.commits[1].results] == [f"s{n}" for n in range(5)]
    assert log.chain_valid


@pytest.mark.parametrize(("every_step", "step_s"), [(True, 0.01), (False, 0.06)])
async def test_a_chain_is_committed_as_it_goes(mesh: InProcessMesh, every_step: bool, step_s: float) -> None:
    """R140, R146: EVERY_STEP commits what a chain has done while it goes on; otherwise 50 ms of work are a commit."""
    go_on = asyncio.Event()

    async def stop_at_the_last(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        await (go_on.wait() if context.step_id == "s4" else asyncio.sleep(step_s))
        return await echo(command, context)

    await mesh.add(ScriptedNode(COMPUTE, stop_at_the_last))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(*(compute(f"s{n}", n) for n in range(5)), every_step=every_step)
    running = asyncio.create_task(execute(stub, made))
    log = orchestrator_pb2.GetHistoryResponse()
    async with asyncio.timeout(10):
        while sum(len(commit.results) for commit in log.commits) < 4:
            await asyncio.sleep(0.01)
            with contextlib.suppress(grpc.aio.AioRpcError):  # not there yet
                log = await history(stub, made.workflow_id)
    assert not running.done()
    go_on.set()
    output = await running
    log = await history(stub, made.workflow_id)
    rows = [row.step_id for commit in log.commits for row in commit.results]
    assert rows == [f"s{n}" for n in range(5)]  # none twice, although the result holds all of them
    assert output.execution_metadata.epoch >= 3
    assert log.chain_valid


async def test_a_chain_that_fails_keeps_what_it_told(mesh: InProcessMesh) -> None:
    """R103, R140: the links before the one that failed are not executed again when it is retried."""
    ran: list[str] = []

    async def fail_once(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        ran.append(context.step_id)
        await asyncio.sleep(0.01)
        if ran.count("s2") == 1 and context.step_id == "s2":
            raise errors.TargetUnavailableError("not now")
        return await echo(command, context)

    await mesh.add(ScriptedNode(COMPUTE, fail_once))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(*(compute(f"s{n}", n) for n in range(4)), every_step=True, retry_enabled=True, max_retries=1)
    output = await execute(stub, made)
    assert output.orchestration_result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
    assert ran == ["s0", "s1", "s2", "s2", "s3"]


async def test_every_action_traces_to_its_start(mesh: InProcessMesh) -> None:
    """R118, R135, R146: the log holds START_WORKFLOW first, and each delegated task has it as parent."""
    await mesh.add(ScriptedNode(EFFECT))
    orchestrator = await mesh.add_orchestrator()
    stub = mesh.orchestrator(orchestrator)
    output = await execute(stub, contract(effect("a"), effect("b")))
    log = await history(stub, output.workflow_id)
    actions = [record.action for commit in log.commits for record in commit.actions]
    assert actions[0].action_type == action_pb2.ACTION_TYPE_START_WORKFLOW
    assert {action.parent_action_id for action in actions[1:]} == {actions[0].action_id}
    assert {action.step_id for action in actions[1:]} == {"a", "b"}
    assert {commit.holder for commit in log.commits} == {orchestrator.info.instance_id}
    assert {action.lease_id for action in actions} == {output.lease_id}


async def test_an_effect_is_committed_before_it_leaves(mesh: InProcessMesh, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """F1, R130: when an effect executes, the log already says that it is about to."""
    client = await EtcdClient.connect(etcd.endpoint)
    journal = Journal(client, keys)
    seen: list[list[str]] = []

    async def look(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        rows = await journal.read_log(context.workflow_id)
        seen.append([record.action.step_id for commit, _ in rows for record in commit.actions][1:])
        return await echo(command, context)

    await mesh.add(ScriptedNode(EFFECT, look))
    await execute(mesh.orchestrator(await mesh.add_orchestrator()), contract(effect("a"), effect("b")))
    await client.close()
    assert seen == [["a"], ["a", "b"]]


async def test_parallel_steps_overlap(mesh: InProcessMesh) -> None:
    """R108, R111, R153: independent steps are under way at the same time, a dependent one waits for its inputs."""
    both = asyncio.Barrier(2)
    order: list[str] = []

    async def meet(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        if context.step_id != "c":
            await both.wait()
        order.append(context.step_id)
        return await echo(command, context)

    await mesh.add(ScriptedNode(EFFECT, meet))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    output = await execute(stub, contract(effect("a"), effect("b"), effect("c", "a", "b"), parallel=True))
    assert order[2] == "c"
    assert output.orchestration_result.parallelism_achieved == 2


async def test_retry_until_it_works(mesh: InProcessMesh) -> None:
    """R103, F32: a retryable failure is retried within the budget, and the result of the retry is kept."""
    tries = 0

    async def third_time(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise errors.TargetUnavailableError("away")
        return await echo(command, context)

    await mesh.add(ScriptedNode(EFFECT, third_time))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    output = await execute(stub, contract(effect("a", n="1"), retry_enabled=True, max_retries=3))
    result = output.orchestration_result.step_results[0]
    assert (tries, result.attempts, result.status) == (3, 3, workflow_pb2.STEP_STATUS_COMPLETED)
    assert from_payload(result.result) == {"n": "1"}


async def test_skip_goes_on(mesh: InProcessMesh) -> None:
    """R105: a skipped step has no result but the error's text; later steps read null and the rate falls."""

    async def refuse(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        raise errors.EffectFailedError("the shop is closed")

    await mesh.add(ScriptedNode(EFFECT, refuse))
    await mesh.add(ScriptedNode(COMPUTE))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    output = await execute(
        stub, contract(effect("a"), compute("b", {"read": "${steps.a.output}"}), continue_on_error=True)
    )
    skipped, after = output.orchestration_result.step_results
    assert (skipped.status, skipped.error.message) == (workflow_pb2.STEP_STATUS_SKIPPED, "the shop is closed")
    assert not skipped.HasField("result")
    assert from_payload(after.result) == {"read": None}
    assert output.execution_metadata.success_rate == 0.5


async def test_abort_carries_the_chain_and_cancels_siblings(mesh: InProcessMesh) -> None:
    """R104, R109, R151, R152, R163: the call ends with every error and its node; siblings under way are cancelled."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return await echo(command, context)

    async def refuse(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        await begun.wait()
        raise errors.EffectFailedError("refused")

    await mesh.add(ScriptedNode(COMPUTE, hang))
    await mesh.add(ScriptedNode(EFFECT, refuse))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(compute("slow"), effect("bad"), parallel=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(stub, made)
    error = errors.from_rpc_error(caught.value)
    assert (caught.value.code(), error.reason) == (grpc.StatusCode.ABORTED, "WORKFLOW_ABORTED")
    pipeline = errors.pipeline_of(caught.value)
    assert pipeline is not None
    assert [row.reason for row in pipeline.error_chain] == ["EFFECT_FAILED"]
    assert (list(pipeline.failed_nodes), pipeline.total_errors) == (["effect"], 1)
    async with asyncio.timeout(5):
        await cancelled.wait()
    shown = await stub.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id=made.workflow_id))
    statuses = {step.step_id: step.status for step in shown.workflow.steps}
    assert statuses == {"slow": workflow_pb2.STEP_STATUS_CANCELLED, "bad": workflow_pb2.STEP_STATUS_FAILED}


def with_intents(*targets: str) -> reducer_pb2.ReducerOutput:
    output = reducer_pb2.ReducerOutput(aggregated_data=json_payload({"status": "PLACED"}))
    output.state_metadata.new_state = "PLACED"
    for number, target in enumerate(targets):
        output.intents.add(intent_id=f"i{number}", intent_type=intent_pb2.INTENT_TYPE_DATABASE_WRITE, target=target)
    return output


async def test_intents_are_committed_and_executed(mesh: InProcessMesh) -> None:
    """F26, R84, R87: intents are in the log with the state that emitted them; only failed ones are tried again."""
    batches: list[list[str]] = []

    async def transition(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        return action_pb2.StepOutput(reduction=with_intents("one", "two"))

    async def run_intents(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        batches.append([intent.target for intent in command.intents.intents])
        output = action_pb2.StepOutput()
        for intent in command.intents.intents:
            row = output.intents.results.add(intent_id=intent.intent_id, status=intent_pb2.INTENT_STATUS_COMPLETED)
            if intent.target == "two" and len(batches) == 1:
                row.status = intent_pb2.INTENT_STATUS_FAILED
                row.error.reason, row.error.retryable = "TARGET_UNAVAILABLE", True
        return output

    await mesh.add(ScriptedNode(REDUCER, transition))
    await mesh.add(ScriptedNode(EFFECT, run_intents))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    output = await execute(stub, contract(reduction("place"), retry_enabled=True, max_retries=2))
    assert batches == [["one", "two"], ["two"]]
    result = output.orchestration_result.step_results[0]
    assert [row.status for row in result.intent_results] == [intent_pb2.INTENT_STATUS_COMPLETED] * 2
    assert from_payload(result.result) == {"status": "PLACED"}
    log = await history(stub, output.workflow_id)
    outbox = next(commit for commit in log.commits if commit.intents)
    assert [intent.target for intent in outbox.intents] == ["one", "two"]
    assert outbox.state.reducer_states["state"].fsm_state == "PLACED"
    assert outbox.epoch < log.commits[-1].epoch


async def test_a_reducer_continues_from_its_state(mesh: InProcessMesh) -> None:
    """R46, R60: the second transition of a state_key gets the state that the first one made."""
    states: list[object] = []

    async def transition(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        states.append(from_payload(command.reduction.current_state))
        return await echo(command, context)

    await mesh.add(ScriptedNode(REDUCER, transition))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    await execute(stub, contract(reduction("a", {"v": 1}), reduction("b", {"v": 2})))
    assert states == [None, {"v": 1}]


async def test_the_same_start_twice_is_one_workflow(mesh: InProcessMesh) -> None:
    """R96: the same id and contract returns what exists; another contract is refused."""
    await mesh.add(ScriptedNode(COMPUTE))
    first = mesh.orchestrator(await mesh.add_orchestrator())
    second = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(compute("a", 1))
    once = await execute(first, made)
    again = await execute(second, made)
    assert (once.execution_metadata.replayed, again.execution_metadata.replayed) == (False, True)
    assert again.orchestration_result == once.orchestration_result
    made.workflow_config.steps[0].command.compute.input_data.CopyFrom(json_payload(2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(first, made)
    assert errors.from_rpc_error(caught.value).reason == "WORKFLOW_EXISTS"


async def test_a_workflow_waits_for_its_node(mesh: InProcessMesh) -> None:
    """R94: without a node of its kind a step waits; the node comes and the workflow goes on."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    running = asyncio.create_task(execute(stub, contract(compute("a", 7))))
    await asyncio.sleep(0.3)
    await mesh.add(ScriptedNode(COMPUTE))
    assert from_payload((await running).orchestration_result.output) == 7


async def test_no_node_in_time_is_an_error_that_says_so(mesh: InProcessMesh) -> None:
    """R94, R100: a step that no node took before its timeout fails with DEPENDENCY_UNAVAILABLE."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    step = compute("a")
    step.timeout.CopyFrom(Duration(nanos=200_000_000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(stub, contract(step))
    pipeline = errors.pipeline_of(caught.value)
    assert pipeline is not None
    assert pipeline.error_chain[0].reason == "DEPENDENCY_UNAVAILABLE"
    assert "no compute node" in pipeline.error_chain[0].message


@pytest.mark.parametrize(
    ("dependency", "reason"),
    [
        (workflow_pb2.Dependency(service_name="compute", version_constraint=">=1,<2"), ""),
        (workflow_pb2.Dependency(service_name="compute", version_constraint=">=2"), "VERSION_INCOMPATIBLE"),
        (workflow_pb2.Dependency(service_name="billing"), "DEPENDENCY_UNAVAILABLE"),
        (workflow_pb2.Dependency(service_name="compute", version_constraint="new"), "VALIDATION_FAILED"),
        (
            workflow_pb2.Dependency(service_name="billing", dependency_type=workflow_pb2.DEPENDENCY_TYPE_OPTIONAL),
            "",
        ),
    ],
)
async def test_dependencies_are_checked(mesh: InProcessMesh, dependency: workflow_pb2.Dependency, reason: str) -> None:
    """R99–R101, R113: a required service must be there, healthy and of the right version; an optional one need not."""
    await mesh.add(ScriptedNode(COMPUTE, version="1.4.0"))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(compute("a", 1))
    made.dependency_resolution.append(dependency)
    if not reason:
        assert (await execute(stub, made)).execution_metadata.total_services == 1
        return
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(stub, made)
    error = errors.from_rpc_error(caught.value)
    assert error.reason == reason
    if reason == "VERSION_INCOMPATIBLE":
        assert (error.error_context["required"], error.error_context["found"]) == (">=2", "1.4.0")


async def test_watch_reports_each_epoch(mesh: InProcessMesh) -> None:
    """R107, R115: every epoch once and in order, with the steps that ended; the last one holds the result."""
    await mesh.add(ScriptedNode(EFFECT))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(effect("a"), effect("b"))
    await stub.StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made))
    updates = stub.WatchWorkflow(orchestrator_pb2.WatchWorkflowRequest(workflow_id=made.workflow_id))
    seen = [update async for update in updates]
    assert [update.epoch for update in seen] == [1, 2, 3]
    assert [row.step_id for update in seen for row in update.completed_steps] == ["a", "b"]
    assert seen[-1].result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED


async def test_list_get_and_state(mesh: InProcessMesh) -> None:
    """R146: workflows are listed a page at a time, and any epoch's state can be read."""
    await mesh.add(ScriptedNode(EFFECT))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    ids = []
    for number in range(5):
        made = contract(effect("a"))
        made.workflow_id = f"page-{number}"
        made.workflow_config.name = "paged"
        ids.append((await execute(stub, made)).workflow_id)
    listed: list[str] = []
    token = ""
    while True:
        page = await stub.ListWorkflows(
            orchestrator_pb2.ListWorkflowsRequest(page_size=2, page_token=token, workflow_id_prefix="page-")
        )
        assert len(page.workflows) <= 2
        listed += [row.workflow_id for row in page.workflows]
        token = page.next_page_token
        if not token:
            break
    assert listed == ids
    none = await stub.ListWorkflows(orchestrator_pb2.ListWorkflowsRequest(name="other"))
    assert not none.workflows
    first = await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="page-0", epoch=1))
    assert first.state.steps[0].status == workflow_pb2.STEP_STATUS_RUNNING
    last = await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="page-0"))
    assert (last.epoch, last.state.status) == (2, workflow_pb2.WORKFLOW_STATUS_COMPLETED)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="page-0", epoch=9))
    assert errors.from_rpc_error(caught.value).reason == "VALIDATION_FAILED"


async def test_what_is_not_there_is_not_found(mesh: InProcessMesh) -> None:
    """R149: every way to ask for an unknown workflow answers WORKFLOW_NOT_FOUND; unknown definitions too."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    named = workflow_pb2.OrchestratorContract()
    named.workflow_config.name = "nowhere"
    calls = [
        stub.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="no")),
        stub.GetHistory(orchestrator_pb2.GetHistoryRequest(workflow_id="no")),
        stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="no")),
        stub.WatchWorkflow(orchestrator_pb2.WatchWorkflowRequest(workflow_id="no")).read(),
        stub.StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=named)),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert errors.from_rpc_error(caught.value).reason == "WORKFLOW_NOT_FOUND"


async def test_definitions_are_started_by_name(mesh: InProcessMesh) -> None:
    """R96: a contract that only names a definition runs it with its own input."""
    await mesh.add(ScriptedNode(COMPUTE))
    registry = WorkflowRegistry()
    definition = contract(compute("a", {"got": "${input.n}"}))
    definition.ClearField("workflow_id")
    definition.ClearField("initial_state")
    definition.workflow_config.name = "demo"
    registry.add(definition)
    stub = mesh.orchestrator(await mesh.add_orchestrator(registry))
    started = workflow_pb2.OrchestratorContract(initial_state=json_payload({"n": 3}))
    started.workflow_config.name = "demo"
    output = await execute(stub, started)
    assert from_payload(output.orchestration_result.output) == {"got": 3}
    assert uuid.UUID(output.workflow_id)


async def test_a_workflow_ends_at_its_deadline(mesh: InProcessMesh) -> None:
    """R145: a workflow that does not end in time is aborted, and says so."""

    async def hang(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        await asyncio.sleep(30)
        return await echo(command, context)

    await mesh.add(ScriptedNode(EFFECT, hang))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    made = contract(effect("a"))
    made.timeout.CopyFrom(Duration(nanos=300_000_000))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(stub, made)
    pipeline = errors.pipeline_of(caught.value)
    assert pipeline is not None
    assert pipeline.error_chain[0].reason == "ACTION_EXPIRED"


async def test_a_stopping_orchestrator_hands_over(mesh: InProcessMesh) -> None:
    """R94: a clean stop hands its workflows over at once, and the other one goes on from the last commit."""
    release = asyncio.Event()
    runs: list[str] = []

    async def wait(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        runs.append(context.step_id)
        if context.step_id == "b":
            await release.wait()
        return await echo(command, context)

    await mesh.add(ScriptedNode(EFFECT, wait))
    first = await mesh.add_orchestrator(drain_s=0.1)
    second = await mesh.add_orchestrator()
    made = contract(effect("a"), effect("b"))
    await mesh.orchestrator(first).StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made))
    await until(lambda: "b" in runs)
    await mesh.remove(first)
    release.set()
    output = await execute(mesh.orchestrator(second), made)
    assert output.orchestration_result.success_rate == 1.0
    assert runs.count("a") == 1
    log = await history(mesh.orchestrator(second), made.workflow_id)
    # The new owner says anew that b is about to happen, under its own token.
    assert [commit.epoch for commit in log.commits] == [1, 2, 3, 4]
    assert log.chain_valid
    assert log.commits[0].fencing_token < log.commits[-1].fencing_token
    assert log.commits[-1].holder == second.info.instance_id


async def test_a_node_without_a_stream_gets_single_calls(
    mesh: InProcessMesh, etcd: EmbeddedEtcd, keys: Keyspace
) -> None:
    """R94: a node in another language needs only ExecuteAction."""

    class Unary(action_pb2_grpc.ActionServiceServicer):
        async def ExecuteAction(
            self, request: action_pb2.ExecuteActionRequest, context: object
        ) -> action_pb2.ExecuteActionResponse:
            result = action_pb2.ActionResult(
                action_id=request.action.action_id, status=action_pb2.ACTION_STATUS_COMPLETED, executed_by="foreign"
            )
            output = result.outputs.add(step_id=request.action.step_id)
            output.compute.processed_data.CopyFrom(request.action.command_payload.compute.input_data)
            return action_pb2.ExecuteActionResponse(result=result)

    server = grpc.aio.server()
    action_pb2_grpc.add_ActionServiceServicer_to_server(Unary(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = await EtcdClient.connect(etcd.endpoint)
    session = await Session.open(client, instance_id="foreign", ttl_s=3)
    info = node_pb2.NodeInfo(
        instance_id="foreign", kind=COMPUTE, address=f"127.0.0.1:{port}", service_name="compute", version="1"
    )
    await register_node(client, keys, session, info)
    output = await execute(mesh.orchestrator(await mesh.add_orchestrator()), contract(compute("a", 5)))
    assert output.orchestration_result.step_results[0].executed_by == "foreign"
    await session.close()
    await client.close()
    await server.stop(None)


@pytest.mark.parametrize("method", ["SignalWorkflow", "CancelWorkflow", "CheckpointWorkflow", "RollbackWorkflow"])
async def test_methods_to_come_say_so(mesh: InProcessMesh, method: str) -> None:
    """R95: what is in the contract but not built answers UNIMPLEMENTED, with its name."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    request = getattr(orchestrator_pb2, f"{method}Request")()
    with pytest.raises(grpc.aio.AioRpcError, match=method) as caught:
        await getattr(stub, method)(request)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

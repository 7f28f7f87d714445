"""Looking ahead and back: what an action would do, and what recorded actions come to in the present code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.app import App, Next, ReducerContext, transition
from onex_mesh.app.plain_form import to_plain
from onex_mesh.cli.commands import cli
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import from_payload, json_payload
from onex_mesh.testing.replay import replay
from tests.inprocess import InProcessMesh, ScriptedNode
from tests.order_machine import NewOrder, Order, OrderMachine, Payment, Status, paid_in_full

ORDER = {"items": [{"sku": "tea", "price": "2.50", "quantity": 3}], "customer_email": "ann@example.org"}


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncIterator[InProcessMesh]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


def app_of(machine: type) -> App:
    app = App("shop")
    app.reducer(name="order")(machine)
    return app


def contract() -> workflow_pb2.OrchestratorContract:
    """Places an order whose lines a computation gives, and takes the payment."""
    made = workflow_pb2.OrchestratorContract(
        workflow_id="order-1", initial_state=json_payload({"mail": "ann@example.org"})
    )
    lines = made.workflow_config.steps.add(step_id="lines")
    lines.command.compute.algorithm_config.algorithm_type = "echo"
    lines.command.compute.input_data.CopyFrom(json_payload(ORDER["items"]))
    for step_id, action, payload in (
        ("place", "PLACE_ORDER", {"items": "${steps.lines.output}", "customer_email": "${input.mail}"}),
        ("pay", "CONFIRM_PAYMENT", {"reference": "r-1", "amount": "7.50"}),
    ):
        step = made.workflow_config.steps.add(step_id=step_id)
        step.command.reduction.reduction_config.reducer = "order"
        step.command.reduction.fsm_action.action = action
        step.command.reduction.fsm_action.payload.CopyFrom(json_payload(payload))  # type: ignore[arg-type]  # plain JSON
    return made


async def started(mesh: InProcessMesh) -> orchestrator_pb2_grpc.OrchestratorServiceStub:
    """A mesh on which the workflow has run; its intents go to an effect node that says yes to all."""

    async def agree(command: action_pb2.Command, context: object) -> action_pb2.StepOutput:
        output = action_pb2.StepOutput()
        for intent in command.intents.intents:
            output.intents.results.add(intent_id=intent.intent_id, status=2)
        return output

    await mesh.add(ScriptedNode(common_pb2.NODE_KIND_COMPUTE))
    await mesh.add(ScriptedNode(common_pb2.NODE_KIND_EFFECT, agree))
    await mesh.add(ReducerNode(app_of(OrderMachine).reducers, "1.0.0"))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract())
    done = await stub.ExecuteOrchestration(request, timeout=20)
    assert done.output.orchestration_result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
    return stub


def reduction(action: str, payload: object = None) -> action_pb2.Command:
    command = action_pb2.Command()
    command.reduction.reduction_config.reducer = "order"
    command.reduction.fsm_action.action = action
    command.reduction.fsm_action.payload.CopyFrom(json_payload(payload))  # type: ignore[arg-type]  # plain JSON
    return command


async def previewed(
    stub: orchestrator_pb2_grpc.OrchestratorServiceStub, command: action_pb2.Command, workflow_id: str = ""
) -> orchestrator_pb2.PreviewActionResponse:
    request = orchestrator_pb2.PreviewActionRequest(workflow_id=workflow_id, command=command)
    try:
        return await stub.PreviewAction(request, timeout=10)
    except grpc.aio.AioRpcError as error:
        raise errors.from_rpc_error(error) from error


async def test_a_preview_tells_state_and_intents(mesh: InProcessMesh) -> None:
    """R46, R65: from the initial state and from a workflow's own; nothing is executed and nothing committed."""
    stub = await started(mesh)
    fresh = await previewed(stub, reduction("PLACE_ORDER", ORDER))
    assert [intent.target for intent in fresh.intents] == ["orders_table", "email_service", "order_events_topic"]
    state = from_payload(fresh.state)
    assert isinstance(state, dict)
    assert (state["status"], state["total"]) == ("ORDER_PLACED", "7.50")
    assert (fresh.details["previous_state"], fresh.details["new_state"]) == ("IDLE", "ORDER_PLACED")
    before = await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="order-1"))
    shipped = await previewed(stub, reduction("SHIP_ORDER"), "order-1")
    assert shipped.details["final"] is True
    after = await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id="order-1"))
    assert (after.epoch, after.state) == (before.epoch, before.state)


async def test_what_a_preview_refuses(mesh: InProcessMesh) -> None:
    """R66, R99, R149: what the reducer refuses; what is no reduction; workflows and nodes that are not there."""
    stub = await started(mesh)
    with pytest.raises(errors.TransitionRefusedError, match="it starts from PAYMENT_CONFIRMED"):
        await previewed(stub, reduction("SHIP_ORDER"))
    with pytest.raises(errors.WorkflowNotFoundError):
        await previewed(stub, reduction("SHIP_ORDER"), "order-2")
    effect = action_pb2.Command()
    effect.effect.external_service_config.target = "mail"
    for command in (effect, action_pb2.Command()):
        with pytest.raises(errors.ValidationError, match="only a reduction can be previewed"):
            await previewed(stub, command)


async def test_a_preview_without_a_reducer_node(mesh: InProcessMesh) -> None:
    """R100: it says that none is there."""
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    with pytest.raises(errors.OnexError, match="there is no reducer node") as refused:
        await previewed(stub, reduction("PLACE_ORDER", ORDER))
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"


async def commits_of(stub: orchestrator_pb2_grpc.OrchestratorServiceStub) -> list[workflow_pb2.Commit]:
    history = await stub.GetHistory(orchestrator_pb2.GetHistoryRequest(workflow_id="order-1"))
    return list(history.commits)


class Cheaper(OrderMachine):
    """The next release: a rebate, and another mail."""

    @staticmethod
    @transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
    def place(state: Order, payload: NewOrder, ctx: ReducerContext) -> Next[Order]:
        """Ten per cent less, and nobody is told."""
        placed = OrderMachine.place(state, payload, ctx)
        return Next(placed.state.model_copy(update={"total": placed.state.total * 9 / 10}), placed.intents[:2])


class Stricter(OrderMachine):
    """A release that refuses what was taken."""

    @staticmethod
    @transition("CONFIRM_PAYMENT", source=Status.PAYMENT_CONFIRMED, target=Status.PAYMENT_CONFIRMED, guard=paid_in_full)
    def confirm(state: Order, payload: Payment) -> Order:
        """Never from ORDER_PLACED."""
        return state


async def test_the_same_code_gives_the_same(mesh: InProcessMesh) -> None:
    """R48: each recorded transition comes out as it did, intents with their ids and keys included."""
    replayed = await replay(await commits_of(await started(mesh)), app_of(OrderMachine).reducers)
    assert (replayed.transitions, replayed.differences) == (2, ())


async def test_each_difference_is_told(mesh: InProcessMesh) -> None:
    """R48, R146: state and intents by their path; each transition from the state that was recorded before it."""
    commits = await commits_of(await started(mesh))
    replayed = await replay(commits, app_of(Cheaper).reducers)
    told = [(row.step_id, row.part, row.path, row.recorded, row.now) for row in replayed.differences]
    assert ("place", "state", "total", "7.50", "6.75") in told
    assert [row[2] for row in told if row[1] == "intents"] == ["[2]"]
    assert {row.step_id for row in replayed.differences} == {"place"}
    refused = await replay(commits, app_of(Stricter).reducers)
    assert [(row.step_id, row.part, row.path) for row in refused.differences] == [
        ("pay", "refusal", "TRANSITION_REFUSED")
    ]


async def test_a_history_that_is_not_whole(mesh: InProcessMesh) -> None:
    """R18: without its first epoch nothing can be told."""
    commits = await commits_of(await started(mesh))
    for part in ([], commits[1:]):
        with pytest.raises(errors.ValidationError, match="begins with epoch 1"):
            await replay(part, app_of(OrderMachine).reducers)


async def test_the_command_ends_with_1_where_something_differs(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R48: for CI: from files, without a mesh; exit code 0, or 1 with a line for each difference."""
    commits = await commits_of(await started(mesh))
    history = tmp_path / "order-1.json"
    history.write_text(json.dumps({"commits": [to_plain(commit) for commit in commits], "chain_valid": True}))
    here = "tests.integration.test_preview_and_replay"

    def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        # In a thread of its own: the command runs an event loop.
        done = CliRunner().invoke(cli, ["reducer", "replay", *arguments])
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    same = await asyncio.to_thread(run, "--history", str(history), "--app", f"{here}:same")
    assert (same[0], same[1]) == (0, [])
    assert "1 workflows, 2 transitions, 0 differences" in same[2]
    other = await asyncio.to_thread(run, "--history", str(history), "--app", f"{here}:cheaper")
    assert other[0] == 1
    assert {"workflow_id": "order-1", "step_id": "place", "path": "total"}.items() <= other[1][0].items()
    history.write_text("[]")
    assert (await asyncio.to_thread(run, "--history", str(history), "--app", f"{here}:same"))[0] == 2
    assert (await asyncio.to_thread(run, "--app", f"{here}:same"))[0] == 2


same = app_of(OrderMachine)
cheaper = app_of(Cheaper)

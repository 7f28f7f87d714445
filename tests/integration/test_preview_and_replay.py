"""Looking ahead and back: what an action would do, and what recorded actions come to in the present code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from pydantic import BaseModel, ConfigDict
from typer.testing import CliRunner

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2, orchestrator_pb2_grpc, reducer_pb2, workflow_pb2
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


class Range(BaseModel):
    """State of an aggregator."""

    model_config = ConfigDict(frozen=True)
    least: float = 0
    greatest: float = 0


class Spread:
    """An aggregator whose result is not its state."""

    @staticmethod
    def initial() -> Range:
        """Nothing."""
        return Range()

    @staticmethod
    def step(state: Range, record: object) -> Range:
        """One more number."""
        value = float(str(record))
        return Range(least=min(state.least, value), greatest=max(state.greatest, value))

    @staticmethod
    def finish(state: Range) -> float:
        """From the least to the greatest."""
        return state.greatest - state.least


class Wider(Spread):
    """The next release of it."""

    @staticmethod
    def finish(state: Range) -> float:
        """One more."""
        return state.greatest - state.least + 1


def long_contract() -> workflow_pb2.OrchestratorContract:
    """Also: a shipment that is committed together with the payment, one that is refused, and aggregations."""
    made = contract()
    for step_id, action in (("ship", "SHIP_ORDER"), ("again", "SHIP_ORDER")):
        step = made.workflow_config.steps.add(step_id=step_id)
        step.command.reduction.reduction_config.reducer = "order"
        step.command.reduction.fsm_action.action = action
        step.on_failure.continue_on_error = True
    for step_id, method in (
        ("spread", reducer_pb2.AGGREGATION_METHOD_CUSTOM),
        ("more", reducer_pb2.AGGREGATION_METHOD_CUSTOM),
        ("sum", reducer_pb2.AGGREGATION_METHOD_SUM),
    ):
        step = made.workflow_config.steps.add(step_id=step_id)
        config = step.command.reduction.reduction_config
        config.aggregation_method = method
        config.reducer = "spread" if method == reducer_pb2.AGGREGATION_METHOD_CUSTOM else ""
        config.state_key = "sum" if step_id == "sum" else "spread"
        step.command.reduction.input_data.CopyFrom(json_payload([1, 5, -2] if step_id == "spread" else [7, 1]))
    return made


async def started(
    mesh: InProcessMesh, wanted: workflow_pb2.OrchestratorContract | None = None
) -> orchestrator_pb2_grpc.OrchestratorServiceStub:
    """A mesh on which the workflow has run; its intents go to an effect node that says yes to all."""

    async def agree(command: action_pb2.Command, context: object) -> action_pb2.StepOutput:
        output = action_pb2.StepOutput()
        for intent in command.intents.intents:
            output.intents.results.add(intent_id=intent.intent_id, status=2)
        return output

    await mesh.add(ScriptedNode(common_pb2.NODE_KIND_COMPUTE))
    await mesh.add(ScriptedNode(common_pb2.NODE_KIND_EFFECT, agree))
    app = app_of(OrderMachine)
    app.reducer(name="spread")(Spread)
    await mesh.add(ReducerNode(app.reducers, "1.0.0"))
    stub = mesh.orchestrator(await mesh.add_orchestrator())
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=wanted or contract())
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


def app_of_all(machine: type, aggregator: type = Spread) -> App:
    app = app_of(machine)
    app.reducer(name="spread")(aggregator)
    return app


async def test_steps_that_were_committed_together(mesh: InProcessMesh) -> None:
    """R48: each begins where the one before it ended, though the log has the state at the end of the commit only."""
    commits = await commits_of(await started(mesh, long_contract()))
    epochs = {result.step_id: commit.epoch for commit in commits for result in commit.results}
    assert epochs["pay"] == epochs["ship"], "the log has them in one commit"
    assert epochs["spread"] == epochs["more"]
    replayed = await replay(commits, app_of_all(OrderMachine).reducers)
    assert replayed.differences == ()
    assert replayed.transitions == 7


async def test_aggregations_are_replayed_too(mesh: InProcessMesh) -> None:
    """R48, R54: what an aggregator gives now, from the state that it had."""
    commits = await commits_of(await started(mesh, long_contract()))
    replayed = await replay(commits, app_of_all(OrderMachine, Wider).reducers)
    assert [(row.step_id, row.part, row.recorded, row.now) for row in replayed.differences] == [
        ("spread", "state", 7, 8),
        ("more", "state", 9, 10),
    ]


class Laxer(OrderMachine):
    """A release that ships again and again."""

    final = ()

    @staticmethod
    @transition("SHIP_ORDER", source=(Status.PAYMENT_CONFIRMED, Status.SHIPPED), target=Status.SHIPPED)
    def ship(state: Order, ctx: ReducerContext) -> tuple[Order, list[object]]:
        """It is on its way."""
        return OrderMachine.ship(state, ctx)


class Forgetful(OrderMachine):
    """A release without payments."""

    confirm = None


class MorePay(BaseModel):
    """A payload that asks for more than before."""

    model_config = ConfigDict(frozen=True)
    reference: str
    amount: str
    currency: str


class Demanding(OrderMachine):
    """A release that wants to know the currency."""

    @staticmethod
    @transition("CONFIRM_PAYMENT", source=Status.ORDER_PLACED, target=Status.PAYMENT_CONFIRMED)
    def confirm(state: Order, payload: MorePay) -> Order:
        """The money is there."""
        return state.model_copy(update={"status": Status.PAYMENT_CONFIRMED, "payment": payload.reference})


async def test_refusals_are_compared(mesh: InProcessMesh) -> None:
    """R48, R66: what was refused and is taken now; actions, machines and payloads that are not the same any more."""
    commits = await commits_of(await started(mesh, long_contract()))

    async def told(app: App) -> list[tuple[str, str, str, object, object]]:
        found = (await replay(commits, app.reducers)).differences
        return [(row.step_id, row.part, row.path, row.recorded, row.now) for row in found]

    refused = "SHIP_ORDER is refused in the state SHIPPED; it starts from PAYMENT_CONFIRMED"
    assert await told(app_of_all(Laxer)) == [("again", "refusal", "TRANSITION_REFUSED", refused, "SHIPPED")]
    (gone,) = await told(app_of_all(Forgetful))
    assert gone[:4] == ("pay", "refusal", "UNKNOWN_ACTION", None)
    assert gone[4] == "the reducer 'order' knows no action 'CONFIRM_PAYMENT'; it knows PLACE_ORDER, SHIP_ORDER"
    (more,) = await told(app_of_all(Demanding))
    assert more == ("pay", "refusal", "VALIDATION_FAILED", None, "fsm_action.payload.currency: Field required")
    lost = {row[0]: row[1:] for row in await told(App("empty"))}
    gone_now = "no reducer 'order' is registered; known: none"
    assert lost["place"] == ("refusal", "REDUCER_NOT_FOUND", None, gone_now)
    assert lost["again"] == ("refusal", "REDUCER_NOT_FOUND", f"TRANSITION_REFUSED: {refused}", gone_now)
    assert set(lost) == {"place", "pay", "ship", "again", "spread", "more"}


async def test_a_history_with_a_gap(mesh: InProcessMesh) -> None:
    """R18: what lies between two epochs that do not follow each other cannot be told."""
    commits = await commits_of(await started(mesh))
    assert len(commits) > 2
    with pytest.raises(errors.ValidationError, match="epoch 1 is followed by 3"):
        await replay([commits[0], *commits[2:]], app_of(OrderMachine).reducers)


async def test_many_histories_at_once(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R48: a folder, or a pattern; one that cannot be read ends with 2 and does not hide what the others show."""
    commits = await commits_of(await started(mesh))
    folder = tmp_path / "histories"
    folder.mkdir()
    text = json.dumps({"commits": [to_plain(commit) for commit in commits], "chain_valid": True})
    for name in ("b", "a"):
        (folder / f"{name}.json").write_text(text)
    here, report = "tests.integration.test_preview_and_replay", tmp_path / "report.json"

    def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        done = CliRunner().invoke(cli, ["reducer", "replay", "--report", str(report), *arguments])
        return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    async def called(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
        return await asyncio.to_thread(run, *arguments)

    code, rows, told = await called("--history", str(folder), "--app", f"{here}:same")
    assert (code, rows) == (0, [])
    assert "2 workflows, 4 transitions, 0 differences" in told
    code, rows, told = await called(
        "--history", f"{folder}/[a]*.json", "--history", str(folder), "--app", f"{here}:cheaper"
    )
    assert code == 1
    assert "2 workflows, 4 transitions, 4 differences in 2 of them" in " ".join(told.split())
    written = json.loads(report.read_text())
    assert [Path(row["source"]).name for row in written["workflows"]] == ["a.json", "b.json"]
    assert [row["transitions"] for row in written["workflows"]] == [2, 2]
    assert [row for each in written["workflows"] for row in each["differences"]] == rows
    (folder / "c.json").write_text('{"commits": []}')
    (folder / "d.json").write_text("[")
    code, rows, told = await called("--history", str(folder), "--app", f"{here}:cheaper")
    assert code == 2
    assert len(rows) == 4
    flat = "".join(told.split())
    assert "c.json:ahistorybeginswithepoch1" in flat
    assert "d.json:1:notvalidYAML" in flat
    assert "2cannotberead" in flat
    for wrong, why in (
        (str(tmp_path / "none"), "cannot be read"),
        (f"{folder}/x*.json", "nothing fits"),
        (str(tmp_path), ""),
    ):
        code, _, told = await called("--history", wrong, "--app", f"{here}:same")
        assert code == 2, why
        assert "".join(why.split()) in "".join(told.split())
    code, _, told = await called("--history", str(folder / "a.json"), "--app", f"{here}:same", "--report", str(folder))
    assert (code, "cannot be written" in told) == (2, True)


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

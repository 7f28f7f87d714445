"""Workflows whose results are too large to travel, on a running mesh with a payload store: a folder, and S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from onex.v1 import (
    action_pb2,
    common_pb2,
    effect_pb2,
    effect_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.app import App
from onex_mesh.app import transition as fsm_transition
from onex_mesh.cli.commands import cli
from onex_mesh.compute.node import ComputeNode
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.node import EffectNode
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime import errors
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.payload import (
    ARROW_TYPE,
    BYTES_TYPE,
    JSON_TYPE,
    bytes_payload,
    from_payload,
    json_payload,
    to_value,
)
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.testing.replay import replay
from tests.inprocess import InProcessMesh, ScriptedNode, until
from tests.integration.test_orchestrator_workflows import contract, execute, history
from tests.mesh import ROOT
from tests.order_machine import NewOrder, OrderMachine, Status
from tests.order_machine import Order as State
from tests.payload_stores import BUCKET, Recording, use_s3
from tests.s3_server import S3Server

COMPUTE = common_pb2.NODE_KIND_COMPUTE
EFFECT = common_pb2.NODE_KIND_EFFECT
MIB = 1024 * 1024


class Many(BaseModel):
    """How many rows."""

    rows: int


class Order(BaseModel):
    """What the effects of these tests take."""

    size: int = 0
    text: object = None


def shop(calls: list[str]) -> App:
    app = App("shop")

    @app.algorithm()
    def rows(data: Many) -> list[dict[str, int]]:
        """So many rows."""
        return [{"number": number, "double": 2 * number} for number in range(data.rows)]

    @app.algorithm()
    def count(data: list[dict[str, int]]) -> dict[str, int]:
        """How many there are."""
        return {"count": len(data)}

    @app.effect("charge", ledger=True)
    def charge(parameters: Order, context: EffectContext) -> dict[str, object]:
        """Notes that it was called, and returns a text of a size."""
        calls.append(context.step_id)
        return {"receipt": len(calls), "text": "x" * parameters.size, "told": parameters.text}

    app.reducer(name="order")(Quiet)
    return app


def compute(step_id: str, algorithm: str, data: object) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id)
    step.command.compute.algorithm_config.algorithm_type = algorithm
    step.command.compute.input_data.CopyFrom(json_payload(data))
    return step


def charge(step_id: str, **parameters: object) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id)
    step.command.effect.io_operation_config.effect_type = "charge"
    step.command.effect.io_operation_config.parameters.update(parameters)  # type: ignore[arg-type]  # plain JSON
    return step


def transition(step_id: str, action: str, payload: object) -> workflow_pb2.Step:
    step = workflow_pb2.Step(step_id=step_id)
    step.command.reduction.reduction_config.reducer = "order"
    step.command.reduction.fsm_action.action = action
    step.command.reduction.fsm_action.payload.CopyFrom(json_payload(payload))
    return step


class Quiet(OrderMachine):
    """Whose intents are small: what is emitted is committed as it is."""

    @staticmethod
    @fsm_transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
    def place(state: State, payload: NewOrder) -> State:
        """A customer orders."""
        total = sum((item.price * item.quantity for item in payload.items), Decimal(0))
        return State(status=Status.ORDER_PLACED, items=payload.items, total=total)


async def serve(
    mesh: InProcessMesh, calls: list[str], url: str, *, stores: dict[common_pb2.NodeKind, str] | None = None
) -> orchestrator_pb2_grpc.OrchestratorServiceStub:
    """A node of each kind with one payload store, or with their own; intents are agreed to."""
    app = shop(calls)
    own = stores or {}
    await mesh.add(ComputeNode(app.algorithms, "1"), payload_store=own.get(COMPUTE, url))
    await mesh.add(EffectNode(app.effects, None, "1"), payload_store=own.get(EFFECT, url))
    await mesh.add(ReducerNode(app.reducers, "1"), payload_store=own.get(common_pb2.NODE_KIND_REDUCER, url))
    return mesh.orchestrator(await mesh.add_orchestrator(payload_store=own.get(common_pb2.NODE_KIND_ORCHESTRATOR, url)))


async def aborted(stub: object, made: workflow_pb2.OrchestratorContract) -> errors.WorkflowExecutionError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await execute(stub, made)
    error = errors.from_rpc_error(caught.value)
    assert isinstance(error, errors.WorkflowExecutionError)
    return error


def result_of(output: workflow_pb2.OrchestratorOutput, step_id: str) -> common_pb2.Payload:
    rows = {row.step_id: row.result for row in output.orchestration_result.step_results}
    return rows[step_id]


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncIterator[InProcessMesh]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str, None, None]:
    """The URL of a payload store of either kind."""
    if request.param == "folder":
        yield f"file://{tmp_path}/payloads"
        return
    server = S3Server()
    try:
        yield use_s3(server, monkeypatch.setenv)
    finally:
        server.kill()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """The store of every node of the test, which can be away."""
    made = Recording(tmp_path / "payloads")
    monkeypatch.setattr("onex_mesh.runtime.serving.FsspecPayloads", lambda url: made)
    return made


async def test_large_results_are_read_by_later_steps(mesh: InProcessMesh, url: str) -> None:
    """R39, R106, R147: a large result is committed as a location; a later step is handed all of it, another one looks
    into it, an effect takes a part of it, and the workflow's output too."""
    calls: list[str] = []
    stub = await serve(mesh, calls, url)
    made = contract(
        compute("rows", "rows", {"rows": 20_000}),
        compute("count", "count", "${steps.rows.output}"),
        charge("charge", text={"last": "${steps.rows.output[19999].double}", "count": "${steps.count.output.count}"}),
        compute("again", "identity", {"size": "${size(steps.rows.output)}"}),
    )
    made.workflow_config.output.CopyFrom(
        to_value({"first": "${steps.rows.output[0]}", "told": "${steps.charge.output}"})
    )
    output = await execute(stub, made)
    found = result_of(output, "rows")
    assert (found.content_type, found.location.size_bytes > MIB // 2) == (JSON_TYPE, True)
    rows = json.loads(await FsspecPayloads(url).get(found.location))
    assert (len(rows), rows[-1]) == (20_000, {"number": 19_999, "double": 39_998})
    assert from_payload(result_of(output, "count")) == {"count": 20_000}
    assert from_payload(result_of(output, "again")) == {"size": 20_000}
    assert from_payload(output.orchestration_result.output) == {
        "first": {"number": 0, "double": 0},
        "told": {"receipt": 1, "text": "", "told": {"last": 39_998, "count": 20_000}},
    }
    commits = (await history(stub, made.workflow_id)).commits
    recorded = next(row for commit in commits for row in commit.results if row.step_id == "rows")
    assert recorded.result == found
    assert sum(commit.ByteSize() for commit in commits) < 16 * 1024
    shown = await stub.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id=made.workflow_id))
    assert shown.workflow.result.step_results[0].result == found


async def test_a_new_owner_goes_on_from_the_locations_in_the_log(
    mesh: InProcessMesh, store: Recording, tmp_path: Path
) -> None:
    """R94, R106: what lies in the store is not computed again when an orchestrator takes over; it is looked into."""
    held, released = asyncio.Event(), asyncio.Event()

    async def hold(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        held.set()
        await released.wait()
        output = action_pb2.StepOutput()
        output.effect.operation_result.CopyFrom(json_payload("held"))
        return output

    await mesh.add(ComputeNode(shop([]).algorithms, "1"), payload_store="file:///one")
    await mesh.add(ScriptedNode(EFFECT, hold))
    first = await mesh.add_orchestrator(payload_store="file:///one")
    made = contract(
        compute("rows", "rows", {"rows": 20_000}),
        charge("hold"),
        compute("last", "identity", {"last": "${steps.rows.output[19999].number}"}),
    )
    await mesh.orchestrator(first).StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made), timeout=20)
    await held.wait()
    second = await mesh.add_orchestrator(payload_store="file:///one")
    await mesh.remove(first)
    released.set()
    output = await execute(mesh.orchestrator(second), made)
    assert from_payload(result_of(output, "last")) == {"last": 19_999}
    assert output.orchestration_result.step_results[0].attempts == 1
    assert len(store.puts) == 1


async def test_nothing_is_put_for_what_fits(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R39: small results travel as ever."""
    stub = await serve(mesh, [], f"file://{tmp_path}/payloads")
    await execute(stub, contract(compute("rows", "rows", {"rows": 10}), charge("charge", size=1000)))
    assert not (tmp_path / "payloads").exists()


async def test_a_chain_of_large_results_is_read_from_memory(mesh: InProcessMesh, store: Recording) -> None:
    """R28, R147: steps that travel together on one node put what is large, and do not read it back."""
    stub = await serve(mesh, [], "file:///one")
    made = contract(
        compute("rows", "rows", {"rows": 20_000}),
        compute("same", "identity", "${steps.rows.output}"),
        compute("part", "identity", {"third": "${steps.same.output[2]}"}),
    )
    output = await execute(stub, made)
    assert from_payload(result_of(output, "part")) == {"third": {"number": 2, "double": 4}}
    # Equal content has one place, whichever step made it.
    assert result_of(output, "rows") == result_of(output, "same")
    assert store.gets == []


async def test_a_table_keeps_its_type(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R38, R147: what is no JSON goes the same way, with its content type."""
    table = bytes_payload(b"\x00" * MIB, ARROW_TYPE)
    seen: list[common_pb2.Payload] = []

    async def make_and_take(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        seen.append(command.compute.input_data)
        output = action_pb2.StepOutput()
        output.compute.processed_data.CopyFrom(table if context.step_id == "make" else json_payload("taken"))
        return output

    store = f"file://{tmp_path}/payloads"
    await mesh.add(ScriptedNode(COMPUTE, make_and_take), payload_store=store)
    stub = mesh.orchestrator(await mesh.add_orchestrator(payload_store=store))
    output = await execute(stub, contract(compute("make", "a", 1), compute("take", "a", "${steps.make.output}")))
    assert result_of(output, "make").content_type == ARROW_TYPE
    assert seen[1] == table


async def test_the_input_of_a_workflow_may_be_a_location(mesh: InProcessMesh, url: str) -> None:
    """R96, R147: templates pass it on and look into it."""
    stub = await serve(mesh, [], url)
    made = contract(
        compute("count", "count", "${input}"),
        compute("tenth", "identity", {"tenth": "${input[10].number}", "id": "${workflow.id}"}),
    )
    content = json.dumps([{"number": number} for number in range(1000)]).encode()
    location = await FsspecPayloads(url).put(content)
    made.initial_state.CopyFrom(common_pb2.Payload(location=location, content_type=JSON_TYPE))
    output = await execute(stub, made)
    assert from_payload(result_of(output, "count")) == {"count": 1000}
    assert from_payload(result_of(output, "tenth")) == {"tenth": 10, "id": made.workflow_id}


async def test_the_body_of_an_effect_may_lie_in_the_store(mesh: InProcessMesh, url: str, tmp_path: Path) -> None:
    """R16, R147: a file is written from there, and one that is read is put there; both are the same bytes."""
    targets = tmp_path / "targets.yaml"
    targets.write_text("targets:\n  files: {kind: file, root: root, limits: {size_bytes: 4194304}}\n", encoding="utf-8")
    await mesh.add(EffectNode(shop([]).effects, targets, "1"), payload_store=url)
    stub = mesh.orchestrator(await mesh.add_orchestrator(payload_store=url))
    content = bytes(range(256)) * 8192
    write, read = charge("write"), charge("read")
    for step in (write, read):
        step.command.effect.external_service_config.target = "files"
        step.command.effect.io_operation_config.effect_type = "file_operation"
        step.command.effect.io_operation_config.operation = step.step_id
        step.command.effect.io_operation_config.parameters.update({"path": "a.bin"})
    read.command.effect.io_operation_config.parameters.update({"format": "bytes"})
    write.command.effect.io_operation_config.body.CopyFrom(json_payload("${input}"))
    made = contract(write, read)
    location = await FsspecPayloads(url).put(content)
    made.initial_state.CopyFrom(common_pb2.Payload(location=location, content_type=BYTES_TYPE))
    output = await execute(stub, made)
    assert (tmp_path / "root" / "a.bin").read_bytes() == content
    assert result_of(output, "read").location.digest == location.digest


async def test_an_input_that_is_too_large_to_be_committed_is_put(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R96: the contract is committed with its location; asking again with the same input finds the same workflow."""
    stub = await serve(mesh, [], f"file://{tmp_path}/payloads")
    rows = [{"number": number} for number in range(60_000)]
    made = contract(compute("count", "count", "${input}"), data=rows)
    assert made.ByteSize() > MIB
    output = await execute(stub, made)
    assert from_payload(result_of(output, "count")) == {"count": 60_000}
    first = (await history(stub, made.workflow_id)).commits[0]
    assert first.contract.initial_state.HasField("location")
    again = await stub.StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made), timeout=20)
    assert not again.created
    made.initial_state.json.list_value.values.add(null_value=0)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made), timeout=20)
    assert errors.from_rpc_error(refused.value).reason == "WORKFLOW_EXISTS"


async def test_an_output_that_is_too_large_is_put(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R112: the orchestrator keeps what its template assembles like any result."""
    url = f"file://{tmp_path}/payloads"
    stub = await serve(mesh, [], url)
    made = contract(compute("rows", "rows", {"rows": 20_000}))
    made.workflow_config.output.CopyFrom(to_value({"rows": "${steps.rows.output}"}))
    output = await execute(stub, made)
    found = output.orchestration_result.output
    assert found.location.digest != result_of(output, "rows").location.digest
    assert len(json.loads(await FsspecPayloads(url).get(found.location))["rows"]) == 20_000
    commits = (await history(stub, made.workflow_id)).commits
    assert commits[-1].output == found


async def placed(stub: object) -> workflow_pb2.OrchestratorContract:
    """Runs an order with so many lines that its state is large, and takes its payment."""
    lines = [{"sku": f"sku-{number}", "price": "0.25"} for number in range(10_000)]
    made = contract(
        compute("lines", "identity", lines),
        transition("place", "PLACE_ORDER", {"items": "${steps.lines.output}", "customer_email": "ann@example.org"}),
        transition("pay", "CONFIRM_PAYMENT", {"reference": "r-1", "amount": "2500.00"}),
    )
    output = await execute(stub, made)
    assert output.orchestration_result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
    return made


@dataclass(frozen=True, slots=True)
class Ordered:
    """A mesh on which a large order was placed and paid."""

    stub: orchestrator_pb2_grpc.OrchestratorServiceStub
    contract: workflow_pb2.OrchestratorContract
    app: App
    address: str


@pytest.fixture
async def ordered(mesh: InProcessMesh, tmp_path: Path) -> Ordered:
    """A mesh on which a large order was placed and paid; its intents went to an effect node that says yes to all."""

    async def agree(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        output = action_pb2.StepOutput()
        for intent in command.intents.intents:
            output.intents.results.add(intent_id=intent.intent_id, status=2)
        return output

    app = App("shop")
    app.reducer(name="order")(Quiet)
    url = f"file://{tmp_path}/payloads"
    await mesh.add(ComputeNode(app.algorithms, "1"), payload_store=url)
    await mesh.add(ScriptedNode(EFFECT, agree))
    await mesh.add(ReducerNode(app.reducers, "1"), payload_store=url)
    orchestrator = await mesh.add_orchestrator(payload_store=url)
    stub = mesh.orchestrator(orchestrator)
    return Ordered(stub, await placed(stub), app, orchestrator.info.address)


async def test_states_above_the_bound_are_locations(
    ordered: Ordered,
) -> None:
    """R60, R65: the workflow's state key stays compact; the next transition goes on from what lies in the store."""
    stub, made = ordered.stub, ordered.contract
    found = await stub.GetState(orchestrator_pb2.GetStateRequest(workflow_id=made.workflow_id))
    state = found.state.reducer_states["state"]
    assert state.fsm_state == "PAYMENT_CONFIRMED"
    assert state.state.location.size_bytes > 256 * 1024
    assert found.state.ByteSize() < 4096


async def test_a_preview_goes_on_from_a_state_in_the_store(
    ordered: Ordered,
) -> None:
    """R46: the answer has the state itself."""
    stub, made = ordered.stub, ordered.contract
    command = transition("ship", "SHIP_ORDER", None).command
    request = orchestrator_pb2.PreviewActionRequest(workflow_id=made.workflow_id, command=command)
    shown = await stub.PreviewAction(request, timeout=20)
    state = from_payload(shown.state)
    assert isinstance(state, dict)
    assert (state["status"], state["total"]) == ("SHIPPED", "2500.00")
    assert isinstance(state["items"], list)
    assert len(state["items"]) == 10_000


async def test_a_replay_fetches_what_it_takes(
    ordered: Ordered,
    tmp_path: Path,
) -> None:
    """R48, R146: states and inputs in the store are compared like any other; without it, it says what is missing."""
    stub, made, app = ordered.stub, ordered.contract, ordered.app
    commits = list((await history(stub, made.workflow_id)).commits)
    payloads = Payloads(FsspecPayloads(f"file://{tmp_path}/payloads"))
    same = await replay(commits, app.reducers, payloads)
    assert (same.transitions, same.differences) == (2, ())
    other = App("shop")
    other.reducer(name="order")(Dearer)
    changed = await replay(commits, other.reducers, payloads)
    assert [(row.step_id, row.path, row.now) for row in changed.differences] == [("place", "total", "5000.00")]
    with pytest.raises(errors.DependencyResolutionError, match="ONEX_PAYLOAD_STORE"):
        await replay(commits, app.reducers)


class Dearer(Quiet):
    """A release that doubles the prices."""

    @staticmethod
    @fsm_transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
    def place(state: State, payload: NewOrder) -> State:
        """A customer orders."""
        total = sum((item.price * 2 * item.quantity for item in payload.items), Decimal(0))
        return State(status=Status.ORDER_PLACED, items=payload.items, total=total)


async def test_the_command_line_shows_and_reads_what_lies_in_the_store(
    ordered: Ordered,
    tmp_path: Path,
) -> None:
    """R20, R146: get and history tell where; payload get reads it; replay of the written history needs the store."""
    stub, made = ordered.stub, ordered.contract
    address = ordered.address
    store = f"file://{tmp_path}/payloads"

    async def ran(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, cli, arguments, env={"COLUMNS": "400"})
        assert done.exit_code == 0, done.output
        return done.stdout

    shown = await ran("get", made.workflow_id, "--address", address)
    commits = list((await history(stub, made.workflow_id)).commits)
    result = next(row.result for commit in commits for row in commit.results if row.step_id == "lines")
    text = f"{result.location.size_bytes / 1024:.1f} KiB of application/json at {result.location.uri}"
    assert text in shown
    assert text in await ran("history", made.workflow_id, "--address", address)
    target = tmp_path / "lines.json"
    await ran("payload", "get", result.location.uri, "--payload-store", store, "-o", str(target))
    assert len(json.loads(target.read_bytes())) == 10_000
    file = tmp_path / "history.json"
    file.write_text(await ran("history", made.workflow_id, "--address", address, "--output", "json"))
    app = ["--app", "tests.integration.test_large_payloads:APP", "--app-dir", str(ROOT)]
    assert await ran("reducer", "replay", "--history", str(file), *app, "--payload-store", store) == ""


APP = App("shop")
APP.reducer(name="order")(Quiet)


async def test_a_store_that_is_away_when_a_result_is_put(mesh: InProcessMesh, store: Recording) -> None:
    """R20, R102: a pure step fails with a reason that a retry may cure, and is computed again."""
    stub = await serve(mesh, [], "file:///one")
    store.is_away = True
    failed = await aborted(stub, contract(compute("rows", "rows", {"rows": 20_000})))
    assert failed.error_context["cause"] == "DEPENDENCY_UNAVAILABLE"
    made = contract(compute("rows", "rows", {"rows": 20_000}), retry_enabled=True, max_retries=50)
    running = asyncio.create_task(execute(stub, made))
    await until(lambda: store.refused > 2)
    store.is_away = False
    output = await running
    assert result_of(output, "rows").HasField("location")
    assert output.orchestration_result.step_results[0].attempts > 1


async def test_an_effect_waits_for_the_store_as_long_as_it_may(mesh: InProcessMesh, store: Recording) -> None:
    """R9: before its time is over the node goes on trying to put what the effect returned: one attempt, one effect."""
    calls: list[str] = []
    stub = await serve(mesh, calls, "file:///one")
    store.is_away = True
    running = asyncio.create_task(execute(stub, contract(charge("charge", size=MIB // 2))))
    await until(lambda: store.refused > 1)
    store.is_away = False
    output = await running
    assert result_of(output, "charge").HasField("location")
    assert (output.orchestration_result.step_results[0].attempts, calls) == (1, ["charge"])


@pytest.mark.parametrize("size", [MIB // 2, 3 * MIB])
async def test_an_effect_whose_result_cannot_be_put_is_not_repeated(
    mesh: InProcessMesh, store: Recording, size: int
) -> None:
    """R9: the effect happened while the store was away: its result waits, in the ledger or at the node, and a retry
    brings it, however large it is; the effect is had once."""
    calls: list[str] = []
    stub = await serve(mesh, calls, "file:///one")
    store.is_away = True
    made = contract(charge("charge", size=size), retry_enabled=True, max_retries=100)
    made.workflow_config.steps[0].timeout.FromMilliseconds(1500)
    running = asyncio.create_task(execute(stub, made))
    await until(lambda: bool(calls))
    await asyncio.sleep(2.5)
    store.is_away = False
    output = await running
    row = output.orchestration_result.step_results[0]
    assert row.attempts > 1
    assert row.effect.outcome == "replayed"
    content = await store.get(result_of(output, "charge").location)
    assert json.loads(content) == {"receipt": 1, "text": "x" * size, "told": None}
    assert calls == ["charge"]


async def test_another_node_waits_for_a_result_that_is_owed(
    mesh: InProcessMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9, R25: the ledger tells any node that the effect was had, and where its result will be; none has it again."""
    calls: list[str] = []
    app = shop(calls)
    # Two ways to one folder, of which the first is broken.
    stores = {"file:///one": Recording(tmp_path), "file:///two": Recording(tmp_path)}
    monkeypatch.setattr("onex_mesh.runtime.serving.FsspecPayloads", stores.__getitem__)
    first, second = [
        effect_pb2_grpc.EffectServiceStub(
            mesh.channel(await mesh.add(EffectNode(app.effects, None, "1"), payload_store=url))
        )
        for url in stores
    ]
    request = effect_pb2.ExecuteEffectRequest(contract=charge("charge", size=3 * MIB).command.effect)
    request.contract.idempotency_key = "k"
    stores["file:///one"].is_away = True
    await first.ExecuteEffect(request, timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await second.ExecuteEffect(request, timeout=20)
    error = errors.from_rpc_error(refused.value)
    assert (error.reason, error.retryable) == ("DEPENDENCY_UNAVAILABLE", True)
    assert "the effect was had before; its result is not in the payload store" in error.message
    stores["file:///one"].is_away = False
    await until(lambda: bool(stores["file:///one"].puts))
    again = await second.ExecuteEffect(request, timeout=20)
    assert again.output.metadata.replayed
    assert len(again.output.operation_result.json.struct_value["text"]) == 3 * MIB
    assert calls == [""]


async def test_other_steps_go_on_while_one_waits_for_the_store(
    mesh: InProcessMesh, store: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R108: what a template looks into is fetched beside the workflow, which goes on with what needs none of it."""
    released = asyncio.Event()
    location = await store.put(b'{"n": 4}')
    get = store.get

    async def slow(*arguments: object) -> bytes:
        await released.wait()
        return await get(*arguments)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(store, "get", slow)
    calls: list[str] = []
    stub = await serve(mesh, calls, "file:///one")
    made = contract(
        compute("slow", "identity", {"n": "${input.n}"}),
        charge("first"),
        charge("second", text="${steps.first.output.receipt}"),
        parallel=True,
    )
    made.initial_state.CopyFrom(common_pb2.Payload(location=location, content_type=JSON_TYPE))
    running = asyncio.create_task(execute(stub, made))
    await until(lambda: calls == ["first", "second"])
    assert not running.done()
    released.set()
    assert from_payload(result_of(await running, "slow")) == {"n": 4}


async def test_an_output_waits_for_the_store(mesh: InProcessMesh, store: Recording) -> None:
    """R25: at its end a workflow has had its effects; a store that is away does not undo it."""
    stub = await serve(mesh, [], "file:///one")
    location = await store.put(b'{"n": 4}')
    made = contract(charge("charge"))
    made.initial_state.CopyFrom(common_pb2.Payload(location=location, content_type=JSON_TYPE))
    made.workflow_config.output.CopyFrom(to_value("${input.n}"))
    store.is_away = True
    running = asyncio.create_task(execute(stub, made))
    await until(lambda: store.refused > 1)
    assert not running.done()
    store.is_away = False
    assert from_payload((await running).orchestration_result.output) == 4


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (compute("read", "count", "${input}"), "compute.input_data.location"),
        (compute("read", "identity", {"n": "${input[0].number}"}), "input.location"),
        (charge("read", text="${input}"), "input.location"),
    ],
)
async def test_what_is_not_there_fails_the_step(
    mesh: InProcessMesh, tmp_path: Path, step: workflow_pb2.Step, path: str
) -> None:
    """R20: missing, or with another content: the step says which payload it is, and nothing is executed."""
    calls: list[str] = []
    stub = await serve(mesh, calls, f"file://{tmp_path}/payloads")
    location = await FsspecPayloads(f"file://{tmp_path}/payloads").put(b'[{"number": 1}]')
    made = contract(step)
    made.initial_state.CopyFrom(common_pb2.Payload(location=location, content_type=JSON_TYPE))
    for prepare, text in ((changed, "another SHA-256"), (removed, "nothing is at")):
        prepare(tmp_path / "payloads" / location.uri)
        made.workflow_id = f"{made.workflow_id}-{prepare.__name__}"
        failed = await aborted(stub, made)
        assert failed.error_context["cause"] == "VALIDATION_FAILED"
        assert text in failed.message
        assert path in failed.message
    assert calls == []


def changed(path: Path) -> None:
    path.write_bytes(b'[{"number": 2}]')


def removed(path: Path) -> None:
    path.unlink()


async def test_a_node_without_the_store(mesh: InProcessMesh, tmp_path: Path) -> None:
    """R20: it says which setting it lacks, and another node may do better."""
    stub = await serve(mesh, [], f"file://{tmp_path}/payloads", stores={common_pb2.NODE_KIND_REDUCER: ""})
    lines = [{"sku": f"sku-{number}", "price": "0.25"} for number in range(10_000)]
    made = contract(compute("lines", "identity", {"items": lines, "customer_email": "a@b.c"}))
    made.workflow_config.steps.append(transition("place", "PLACE_ORDER", "${steps.lines.output}"))
    failed = await aborted(stub, made)
    assert failed.error_context["cause"] == "DEPENDENCY_UNAVAILABLE"
    assert "reduction.fsm_action.payload is in a payload store, and this node has none" in failed.message
    assert "ONEX_PAYLOAD_STORE" in failed.message


async def test_without_any_store_all_is_as_it_was(mesh: InProcessMesh) -> None:
    """R39: the large result of a computation travels and is not kept; that of an effect is refused, and told why."""
    stub = await serve(mesh, [], "")
    made = contract(compute("rows", "rows", {"rows": 20_000}), compute("count", "count", "${steps.rows.output}"))
    output = await execute(stub, made)
    assert from_payload(result_of(output, "count")) == {"count": 20_000}
    failed = await aborted(stub, contract(charge("charge", size=MIB)))
    assert failed.error_context["cause"] == "PAYLOAD_TOO_LARGE"
    assert "set ONEX_PAYLOAD_STORE on the node" in failed.message


async def test_an_s3_that_goes_away_and_comes_back(mesh: InProcessMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: on a real server: steps are tried again until it is back, and the effect is had once."""
    server = S3Server()
    try:
        url = use_s3(server, monkeypatch.setenv)
        calls: list[str] = []
        stub = await serve(mesh, calls, url)
        await execute(stub, contract(compute("rows", "rows", {"rows": 20_000})))
        assert len(server.keys(BUCKET)) == 1
        server.kill()
        made = contract(charge("charge", size=MIB // 2), retry_enabled=True, max_retries=100)
        made.workflow_config.steps[0].timeout.FromSeconds(15)
        running = asyncio.create_task(execute(stub, made))
        await until(lambda: bool(calls))
        server.start()
        server.make_bucket(BUCKET)
        output = await running
        assert server.keys(BUCKET) == [f"mesh/{result_of(output, 'charge').location.uri}"]
        assert calls == ["charge"]
    finally:
        server.kill()

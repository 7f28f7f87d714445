"""EFFECT → COMPUTE → REDUCER under the ORCHESTRATOR, four processes: one correlation id, one chain of errors."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import grpc
import pytest

from examples.orders.inbox import OrderFile, fill_inbox
from examples.orders.mailbox import Mailbox
from onex.v1 import common_pb2, intent_pb2, orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_mesh.runtime.errors import from_rpc_error, pipeline_of
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.mesh import ROOT, MeshProcesses

CORRELATION_ID = "7d1e0a52-6a3e-4a53-9a4e-0c52f2f0a001"


def targets_with_audit(folder: Path) -> Path:
    """The example's targets, with the audit in a file of the test's."""
    text = (ROOT / "examples/orders/targets.yaml").read_text()
    text = text.replace("templates: templates", f"templates: {ROOT / 'examples/orders/templates'}")
    path = folder / "targets.yaml"
    path.write_text(f"audit: {{path: {folder / 'audit.jsonl'}, flush_interval_s: 0.05}}\n{text}")
    return path


def order(file: OrderFile) -> orchestrator_pb2.ExecuteOrchestrationRequest:
    contract = workflow_pb2.OrchestratorContract(
        correlation_id=CORRELATION_ID,
        workflow_id=file.workflow_id,
        workflow_config=workflow_pb2.WorkflowConfig(name="order"),
        initial_state=json_payload({"file": file.path.name}),
    )
    return orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)


async def test_the_whole_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R2, R3, R5, R11, R22, R147, R161, R163, R164: one order through all four, and one that fails, with one id."""
    files = fill_inbox(ROOT / "examples/orders/orders.csv", tmp_path / "inbox")
    async with Mailbox(tmp_path / "mailbox") as mailbox:
        monkeypatch.setenv("ORDERS_DIR", str(tmp_path))
        monkeypatch.setenv("ORDERS_SMTP_PORT", str(mailbox.port))
        # Leaving the mesh asserts that no process, port and key of a session is left.
        async with MeshProcesses(tmp_path, app="examples.orders.app:app", targets=targets_with_audit(tmp_path)) as mesh:
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(mesh.channel("orchestrator"))
            output = (await stub.ExecuteOrchestration(order(files[0]), timeout=30)).output
            await check_success(stub, output, mesh)
            files[1].path.unlink()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ExecuteOrchestration(order(files[1]), timeout=60)
            check_failure(caught.value)
    audited = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {row["correlation_id"] for row in audited} == {CORRELATION_ID}
    assert {row["target"] for row in audited} == {"inbox", "orders_table", "email_service", "order_events_topic"}
    with sqlite3.connect(tmp_path / "orders.db") as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    event = json.loads((tmp_path / "order-events.jsonl").read_text())
    assert CORRELATION_ID in json.dumps(event)


async def check_success(
    stub: orchestrator_pb2_grpc.OrchestratorServiceStub, output: workflow_pb2.OrchestratorOutput, mesh: MeshProcesses
) -> None:
    assert output.correlation_id == CORRELATION_ID
    steps = output.orchestration_result.step_results
    assert [step.step_id for step in steps] == ["read", "price", "record"]
    # Each by its own kind of node.
    ran_on = [mesh.effects[0], mesh.computes[0], mesh.reducers[0]]
    assert [step.executed_by for step in steps] == [node.instance_id for node in ran_on]
    assert steps[2].state_metadata.new_state == "ORDER_PLACED"
    assert [row.status for row in steps[2].intent_results] == [intent_pb2.INTENT_STATUS_COMPLETED] * 3
    state = from_payload(output.orchestration_result.output)
    assert isinstance(state, dict)
    assert state["status"] == "ORDER_PLACED"
    log = await stub.GetHistory(orchestrator_pb2.GetHistoryRequest(workflow_id=output.workflow_id), timeout=10)
    assert log.chain_valid
    assert [row.epoch for row in log.commits] == [1, 2, 3]
    ids = {record.action.correlation_id for row in log.commits for record in row.actions}
    ids |= {intent.correlation_id for row in log.commits for intent in row.intents}
    assert ids == {CORRELATION_ID}
    emitted = next(row.intents for row in log.commits if row.intents)
    assert [(row.target, row.priority) for row in emitted] == [
        ("orders_table", intent_pb2.INTENT_PRIORITY_CRITICAL),
        ("email_service", intent_pb2.INTENT_PRIORITY_HIGH),
        ("order_events_topic", intent_pb2.INTENT_PRIORITY_NORMAL),
    ]


def check_failure(raised: grpc.aio.AioRpcError) -> None:
    error = from_rpc_error(raised)
    assert (error.reason, error.correlation_id) == ("WORKFLOW_ABORTED", CORRELATION_ID)
    pipeline = pipeline_of(raised)
    assert pipeline is not None
    assert (pipeline.correlation_id, list(pipeline.failed_nodes), pipeline.total_errors) == (
        CORRELATION_ID,
        ["effect"],
        1,
    )
    assert pipeline.error_chain[0].node_kind == common_pb2.NODE_KIND_EFFECT
    assert pipeline.error_chain[0].correlation_id == CORRELATION_ID

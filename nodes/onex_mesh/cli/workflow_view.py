"""How a workflow and its result are shown: as plain values, and as tables."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from onex.v1 import common_pb2, intent_pb2, workflow_pb2
from onex_mesh.app.plain_form import payload_plain, to_plain
from onex_mesh.cli.console import status_text, table
from onex_mesh.runtime.payload import Json


def status_name(status: workflow_pb2.WorkflowStatus) -> str:
    """RUNNING, COMPLETED, …"""
    return workflow_pb2.WorkflowStatus.Name(status).removeprefix("WORKFLOW_STATUS_")


def step_status_name(status: workflow_pb2.StepStatus) -> str:
    """PENDING, RUNNING, COMPLETED, …"""
    name = workflow_pb2.StepStatus.Name(status).removeprefix("STEP_STATUS_")
    return "PENDING" if name == "UNSPECIFIED" else name


def kind_name(kind: common_pb2.NodeKind) -> str:
    """effect, compute, reducer or orchestrator."""
    return common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_").lower()


def intent_status_name(status: intent_pb2.IntentStatus) -> str:
    """PENDING, COMPLETED or FAILED."""
    return intent_pb2.IntentStatus.Name(status).removeprefix("INTENT_STATUS_")


def duration_text(duration: Duration) -> str:
    """A duration for people: "12.3 ms", "4.56 s"."""
    seconds = duration.seconds + duration.nanos / 1e9
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def time_text(moment: Timestamp) -> str:
    """A time for people: local, to the second; empty if there is none."""
    if not moment.seconds:
        return ""
    return moment.ToDatetime().replace(microsecond=0).isoformat(sep=" ") + "Z"


def result_plain(workflow: workflow_pb2.Workflow, result: workflow_pb2.OrchestrationResult) -> Json:
    """What `onex-mesh run` writes to stdout: ids, how it ended, the output, and each step without its payload."""
    steps: list[Json] = []
    for row in result.step_results:
        step: dict[str, Json] = {
            "step_id": row.step_id,
            "status": step_status_name(row.status),
            "attempts": row.attempts,
        }
        if row.intent_results:
            step["intents"] = [intent_status_name(intent.status) for intent in row.intent_results]
        if row.HasField("error"):
            step["error"] = to_plain(row.error)
        steps.append(step)
    plain: dict[str, Json] = {
        "workflow_id": workflow.workflow_id,
        "correlation_id": workflow.correlation_id,
        "name": workflow.name,
        "status": status_name(result.status),
        "epoch": workflow.epoch,
        "output": payload_plain(result.output),
        "steps": steps,
    }
    if workflow.fsm_states:
        plain["fsm_states"] = {key: workflow.fsm_states[key] for key in sorted(workflow.fsm_states)}
    if workflow.HasField("error"):
        plain["error"] = to_plain(workflow.error)
    return plain


def size_text(size_bytes: int) -> str:
    """A size for people: "812 bytes", "1.2 MiB"."""
    if size_bytes < 1024:
        return f"{size_bytes} bytes"
    kib = size_bytes / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"


def location_text(payload: common_pb2.Payload) -> str:
    """A payload that lies in the payload store, for people; empty for any other."""
    if not payload.HasField("location"):
        return ""
    return f"{size_text(payload.location.size_bytes)} of {payload.content_type} at {payload.location.uri}"


def steps_table(workflow: workflow_pb2.Workflow, results: dict[str, workflow_pb2.StepResult]) -> Table:
    """The steps of a workflow: where each stands, and what is known of its result."""
    grid = table("step", "node", "status", "attempts", "time", "executed by", "")
    for step in workflow.steps:
        result = results.get(step.step_id)
        grid.add_row(
            step.step_id,
            kind_name(step.node_kind),
            status_text(step_status_name(step.status)),
            str(step.attempts or ""),
            duration_text(result.execution_time) if result and result.HasField("execution_time") else "",
            result.executed_by if result else "",
            step_remark(result) if result else "",
        )
    return grid


def step_remark(result: workflow_pb2.StepResult) -> str:
    """What else there is to say about a step's result: where it lies, its error, its FSM transition, its intents."""
    if result.HasField("error"):
        return f"{result.error.reason}: {result.error.message}"
    remarks: list[str] = []
    stored = location_text(result.result)
    if stored:
        remarks.append(stored)
    change = result.state_metadata
    if change.new_state:
        remarks.append(f"{change.previous_state or '?'} → {change.new_state}")
    if result.intent_results:
        done = sum(1 for row in result.intent_results if row.status == intent_pb2.INTENT_STATUS_COMPLETED)
        remarks.append(f"{done} of {len(result.intent_results)} intents done")
    return ", ".join(remarks)

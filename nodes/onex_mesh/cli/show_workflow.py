"""Writes a workflow and what it brought to stdout, and says by the exit code how it stands."""

from __future__ import annotations

import json

from onex.v1 import workflow_pb2
from onex_mesh.app.plain_form import payload_plain
from onex_mesh.cli import exit_codes
from onex_mesh.cli.console import notes, print_facts, print_json, print_table
from onex_mesh.cli.options import OutputForm
from onex_mesh.cli.workflow_view import duration_text, location_text, result_plain, status_name, steps_table, time_text

_FAILED = frozenset({workflow_pb2.WORKFLOW_STATUS_ABORTED, workflow_pb2.WORKFLOW_STATUS_CANCELLED})


def show_result(workflow: workflow_pb2.Workflow, result: workflow_pb2.OrchestrationResult, output: OutputForm) -> int:
    """Writes the result of a workflow that has ended; 1 where it was aborted or cancelled."""
    if output is OutputForm.JSON:
        print_json(result_plain(workflow, result))
    else:
        show_tables(workflow, result)
    if result.status not in _FAILED:
        return exit_codes.OK
    cause = f": {workflow.error.message}" if workflow.HasField("error") else ""
    reason = f"reason {workflow.error.reason}, " if workflow.error.reason else ""
    notes().print(
        f"error: the workflow {workflow.workflow_id} ended {status_name(result.status)}{cause}\n"
        f"  ({reason}correlation id {workflow.correlation_id})",
        soft_wrap=True,
        markup=False,
    )
    return exit_codes.WORKFLOW_FAILED


def show_tables(workflow: workflow_pb2.Workflow, result: workflow_pb2.OrchestrationResult) -> None:
    """Writes a workflow as tables for people."""
    facts = [
        ("workflow", workflow.workflow_id),
        ("definition", workflow.name),
        ("status", status_name(workflow.status)),
        ("epoch", str(workflow.epoch)),
        ("correlation id", workflow.correlation_id),
        ("owner", workflow.owner or "none"),
        ("started", time_text(workflow.started_at)),
        ("updated", time_text(workflow.updated_at)),
    ]
    if result.HasField("total_execution_time"):
        facts.append(("took", duration_text(result.total_execution_time)))
    facts += [(f"state {key!r}", workflow.fsm_states[key]) for key in sorted(workflow.fsm_states)]
    if result.HasField("output"):
        shown = location_text(result.output) or json.dumps(payload_plain(result.output), ensure_ascii=False)
        facts.append(("output", shown))
    if workflow.HasField("error"):
        facts.append(("error", f"{workflow.error.reason}: {workflow.error.message}"))
    print_facts([*facts, ("", "")])
    print_table(steps_table(workflow, {row.step_id: row for row in result.step_results}))

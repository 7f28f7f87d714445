"""How workflows are shown: live on a terminal, as lines elsewhere, and as results."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from onex.v1 import common_pb2, intent_pb2, orchestrator_pb2, workflow_pb2
from onex_mesh.cli import live_steps
from onex_mesh.cli.console import print_error, print_facts, print_table, table
from onex_mesh.cli.live_steps import LiveSteps
from onex_mesh.cli.options import OutputForm
from onex_mesh.cli.show_workflow import show_result
from onex_mesh.cli.workflow_view import duration_text, result_plain
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import json_payload


def workflow(status: workflow_pb2.WorkflowStatus) -> workflow_pb2.Workflow:
    shown = workflow_pb2.Workflow(workflow_id="w-1", name="order", status=status, epoch=2, correlation_id="c-1")
    shown.steps.add(step_id="place", status=workflow_pb2.STEP_STATUS_COMPLETED, node_kind=common_pb2.NODE_KIND_REDUCER)
    shown.steps.add(step_id="mail", status=workflow_pb2.STEP_STATUS_RUNNING, node_kind=common_pb2.NODE_KIND_EFFECT)
    return shown


def placed() -> workflow_pb2.StepResult:
    result = workflow_pb2.StepResult(step_id="place", status=workflow_pb2.STEP_STATUS_COMPLETED, attempts=1)
    result.state_metadata.previous_state, result.state_metadata.new_state = "IDLE", "PLACED"
    result.execution_time.FromMilliseconds(12)
    result.intent_results.add(status=intent_pb2.INTENT_STATUS_COMPLETED)
    result.intent_results.add(status=intent_pb2.INTENT_STATUS_FAILED)
    return result


def update() -> orchestrator_pb2.WatchWorkflowResponse:
    running = workflow(workflow_pb2.WORKFLOW_STATUS_RUNNING)
    response = orchestrator_pb2.WatchWorkflowResponse(epoch=2, workflow=running, started_steps=["mail"])
    response.completed_steps.add(workflow_id="w-1", step_id="place", result=placed())
    return response


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_are_shown_as_they_go(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 2 §5: live steps on stderr: a table on a terminal, lines elsewhere."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr(live_steps, "notes", lambda: console)
    with LiveSteps(enabled=True) as steps:
        steps.show(update())
    text = out.getvalue()
    assert "IDLE → PLACED, 1 of 2 intents done" in text
    assert "12.0 ms" in text
    if terminal:
        assert "RUNNING" in text
    else:
        assert text.splitlines()[0] == "epoch 2: mail started"


def test_nothing_is_shown_that_was_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --watch stderr stays empty."""
    out = io.StringIO()
    monkeypatch.setattr(live_steps, "notes", lambda: Console(file=out, force_terminal=True))
    with LiveSteps(enabled=False) as steps:
        steps.show(update())
    assert out.getvalue() == ""


def test_a_failed_workflow_is_a_result_and_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/cli.md: exit code 1, the result on stdout, reason and correlation id on stderr."""
    failed = workflow(workflow_pb2.WORKFLOW_STATUS_ABORTED)
    failed.error.reason, failed.error.message = "TARGET_UNAVAILABLE", "the [mail] server is away"
    result = workflow_pb2.OrchestrationResult(
        status=workflow_pb2.WORKFLOW_STATUS_ABORTED, output=json_payload({"b": 1, "a": 2})
    )
    result.step_results.append(placed())
    assert show_result(failed, result, OutputForm.JSON) == 1
    out, err = capsys.readouterr()
    plain = json.loads(out)
    assert (plain["status"], plain["epoch"], plain["output"]) == ("ABORTED", 2, {"a": 2, "b": 1})
    assert plain["steps"] == [
        {"step_id": "place", "status": "COMPLETED", "attempts": 1, "intents": ["COMPLETED", "FAILED"]}
    ]
    assert "error: the workflow w-1 ended ABORTED: the [mail] server is away" in err
    assert "(reason TARGET_UNAVAILABLE, correlation id c-1)" in err
    assert plain == result_plain(failed, result)


def test_errors_show_each_violation_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Violations that the message does not name are listed; markup in messages is text."""
    violations = (("a.b", "is [bold]wrong[/]"), ("c", "missing"))
    print_error(ValidationError("a.b: is [bold]wrong[/] (and 1 more)", violations=violations, correlation_id="c-2"))
    assert capsys.readouterr().err.splitlines() == [
        "error: a.b: is [bold]wrong[/] (and 1 more)",
        "  c: missing",
        "  (reason VALIDATION_FAILED, correlation id c-2)",
    ]


def test_rows_in_pipes_are_whole_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read by another program is neither folded nor padded."""
    monkeypatch.delenv("COLUMNS", raising=False)
    grid = table("name", "value")
    grid.add_row("n" * 150, "v")
    print_table(grid)
    print_facts([("short", "x" * 500), ("", "")])
    header, row, fact, blank = capsys.readouterr().out.splitlines()
    assert header == f"name{' ' * 148}value"
    assert row == f"{'n' * 150}  v"
    assert fact == f"short  {'x' * 500}"
    assert blank == ""


def test_durations_are_for_people() -> None:
    """Below a second in milliseconds, above in seconds."""
    result = placed()
    assert duration_text(result.execution_time) == "12.0 ms"
    result.execution_time.FromMilliseconds(2340)
    assert duration_text(result.execution_time) == "2.34 s"

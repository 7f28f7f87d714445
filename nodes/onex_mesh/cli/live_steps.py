"""The steps of a running workflow on stderr: a table that changes where that is a terminal, lines where it is not."""

from __future__ import annotations

from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.text import Text

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.cli.console import notes, status_text
from onex_mesh.cli.workflow_view import (
    duration_text,
    status_name,
    step_remark,
    step_status_name,
    steps_table,
)


class LiveSteps:
    """Shows the updates of one workflow; use it as a context manager.

    Args:
        enabled: False shows nothing.
        transient: Take the table away at the end, because another one follows.
    """

    def __init__(self, *, enabled: bool, transient: bool = False) -> None:
        self._console = notes()
        self._enabled = enabled
        self._live: Live | None = None
        if enabled and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=transient)
        self._results: dict[str, workflow_pb2.StepResult] = {}

    def __enter__(self) -> LiveSteps:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, update: orchestrator_pb2.WatchWorkflowResponse) -> None:
        """Shows one epoch."""
        for completed in update.completed_steps:
            self._results[completed.step_id] = completed.result
        if self._live is not None:
            self._live.update(Group(_headline(update), steps_table(update.workflow, self._results)), refresh=True)
        elif self._enabled:
            self._print_lines(update)

    def _print_lines(self, update: orchestrator_pb2.WatchWorkflowResponse) -> None:
        for step_id in update.started_steps:
            self._console.print(f"epoch {update.epoch}: {step_id} started", soft_wrap=True, markup=False)
        for completed in update.completed_steps:
            result = completed.result
            line = f"epoch {update.epoch}: {completed.step_id} {step_status_name(result.status)}"
            if result.HasField("execution_time"):
                line += f" in {duration_text(result.execution_time)}"
            remark = step_remark(result)
            self._console.print(f"{line}; {remark}" if remark else line, soft_wrap=True, markup=False)
        if update.HasField("result"):
            name = status_name(update.workflow.status)
            self._console.print(f"epoch {update.epoch}: workflow {name}", soft_wrap=True, markup=False)


def _headline(update: orchestrator_pb2.WatchWorkflowResponse) -> Text:
    workflow = update.workflow
    return Text.assemble(
        (workflow.workflow_id, "bold"),
        f"  {workflow.name}  ",
        status_text(status_name(workflow.status)),
        f"  epoch {update.epoch}  correlation id {workflow.correlation_id}",
    )

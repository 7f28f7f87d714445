"""What the machine's progress looks like in etcd, and what people are shown of it. Pure translation, both ways."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import common_pb2, intent_pb2, workflow_pb2
from onex.v1.workflow_pb2 import (
    STEP_STATUS_COMPLETED,
    STEP_STATUS_PENDING,
    STEP_STATUS_RETRYING,
)
from onex_mesh.orchestrator.core.machine import Progress, StepProgress
from onex_mesh.orchestrator.core.plan import Plan
from onex_mesh.runtime.payload import INLINE_BYTES_MAX

RESULT_BYTES_MAX = INLINE_BYTES_MAX
"""Largest result that the log keeps. Nodes with a payload store send the location of a larger one; without, that of a
COMPUTE step is left out and recomputed after a crash."""

_OMITTED = "omitted"


def contract_digest(contract: workflow_pb2.OrchestratorContract) -> bytes:
    """SHA-256 of what makes two starts of one id the same: all of the contract but its correlation id."""
    same = workflow_pb2.OrchestratorContract()
    same.CopyFrom(contract)
    same.ClearField("correlation_id")
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()


def timestamp(seconds: float) -> Timestamp:
    """A protobuf timestamp of seconds since the epoch of UTC."""
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def instant(stamp: Timestamp) -> float:
    """Seconds since the epoch of UTC."""
    return float(stamp.seconds) + stamp.nanos / 1e9


def duration(seconds: float) -> Duration:
    """A protobuf duration."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def write_steps(
    state: workflow_pb2.WorkflowState, progress: Progress, before: Progress | None, brought: Mapping[int, int]
) -> None:
    """Writes the steps' progress into a state.

    Args:
        state: The state of the last commit; changed in place.
        progress: Where the workflow stands.
        before: Where it stood when `state` was last written; only what changed since is written.
        brought: Epoch that brings a result, by step, for results new in this commit.
    """
    if before is None:
        del state.steps[:]
        for _ in progress.steps:
            state.steps.add(status=STEP_STATUS_PENDING)
    for index, step in enumerate(progress.steps):
        if before is not None and before.steps[index] is step:
            continue
        row = state.steps[index]
        row.status = step.status
        row.attempts = step.attempts
        if step.status == STEP_STATUS_RETRYING:
            row.retry_at.CopyFrom(timestamp(step.retry_at))
        else:
            row.ClearField("retry_at")
    for index, epoch in brought.items():
        state.steps[index].result_epoch = epoch
    state.status = progress.status
    state.parallelism_achieved = progress.parallelism
    if progress.error is not None:
        state.error.CopyFrom(progress.error)


def read_progress(state: workflow_pb2.WorkflowState) -> Progress:
    """The progress that a state holds."""
    steps = tuple(
        StepProgress(
            status=row.status or STEP_STATUS_PENDING,
            attempts=row.attempts,
            retry_at=instant(row.retry_at) if row.HasField("retry_at") else 0.0,
            # A failed attempt that has a result all the same is a transition whose intents failed.
            intents_failed=row.status == STEP_STATUS_RETRYING and row.result_epoch > 0,
        )
        for row in state.steps
    )
    return Progress(
        status=state.status,
        steps=steps,
        error=state.error if state.HasField("error") else None,
        parallelism=state.parallelism_achieved,
    )


@dataclass(slots=True)
class Results:
    """What the steps brought so far, by step id."""

    by_step: dict[str, workflow_pb2.StepResult] = field(default_factory=dict)

    def add(self, result: workflow_pb2.StepResult) -> None:
        """Takes a result in; a later one of the same step completes the earlier one."""
        known = self.by_step.get(result.step_id)
        if known is None or result.HasField("result"):
            merged = workflow_pb2.StepResult()
            merged.CopyFrom(result)
        else:
            merged = workflow_pb2.StepResult()
            merged.CopyFrom(known)
            merged.ClearField("error")
            intents = {row.intent_id: row for row in (*known.intent_results, *result.intent_results)}
            merged.MergeFrom(result)
            del merged.intent_results[:]
            merged.intent_results.extend(intents.values())
        self.by_step[result.step_id] = merged

    def output(self, step_id: str) -> common_pb2.Payload | None:
        """What a step returned; None if it returned nothing."""
        result = self.by_step.get(step_id)
        return result.result if result is not None and result.HasField("result") else None


def without_large_result(result: workflow_pb2.StepResult) -> workflow_pb2.StepResult:
    """The result as the log keeps it: a payload over the bound is replaced by a note of its size."""
    size = result.result.ByteSize()
    if size <= RESULT_BYTES_MAX:
        return result
    kept = workflow_pb2.StepResult()
    kept.CopyFrom(result)
    kept.ClearField("result")
    kept.metadata[_OMITTED] = f"{size} bytes, recomputed when needed"
    return kept


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the log of a workflow says."""

    contract: workflow_pb2.OrchestratorContract
    results: Results
    due: Mapping[str, Sequence[intent_pb2.Intent]]
    """Intents by the step that emitted them."""
    output: common_pb2.Payload | None


def read_log(commits: Sequence[workflow_pb2.Commit]) -> Recovered:
    """Reads contract, results and intents from the log records of a workflow, by epoch."""
    results = Results()
    due: dict[str, list[intent_pb2.Intent]] = {}
    for commit in commits:
        for result in commit.results:
            results.add(result)
        emitted: dict[str, list[intent_pb2.Intent]] = {}
        for intent in commit.intents:
            emitted.setdefault(intent.step_id, []).append(intent)
        due.update(emitted)
    output = commits[-1].output if commits and commits[-1].HasField("output") else None
    contract = commits[0].contract if commits else workflow_pb2.OrchestratorContract()
    return Recovered(contract, results, due, output)


def forget_omitted(plan: Plan, progress: Progress, results: Results) -> Progress:
    """Sends completed steps whose result the log left out back to the start, if a step still to come reads them."""
    steps = list(progress.steps)
    needed: set[int] = set()
    for planned in reversed(plan.steps):
        unsettled = steps[planned.index].status in (STEP_STATUS_PENDING, STEP_STATUS_RETRYING)
        if unsettled or planned.index in needed:
            needed.update(planned.depends_on)
        omitted = _OMITTED in results.by_step[planned.step_id].metadata if planned.step_id in results.by_step else False
        if planned.index in needed and omitted and steps[planned.index].status == STEP_STATUS_COMPLETED:
            steps[planned.index] = StepProgress()
            needed.update(planned.depends_on)
    return Progress(progress.status, tuple(steps), progress.error, progress.parallelism)


def orchestration_result(
    contract: workflow_pb2.OrchestratorContract,
    state: workflow_pb2.WorkflowState,
    results: Results,
    output: common_pb2.Payload | None,
) -> workflow_pb2.OrchestrationResult:
    """What a workflow brought so far (R111)."""
    result = workflow_pb2.OrchestrationResult(
        total_execution_time=state.execution_time,
        success_rate=success_rate(state),
        parallelism_achieved=state.parallelism_achieved,
        status=state.status,
        output=output,
    )
    for step, row in zip(contract.workflow_config.steps, state.steps, strict=False):
        known = results.by_step.get(step.step_id)
        added = result.step_results.add(step_id=step.step_id)
        if known is not None:
            added.CopyFrom(known)
        added.status = row.status
        added.attempts = row.attempts
    errors = [added.error for added in result.step_results if added.HasField("error")]
    if state.HasField("error") and not errors:
        errors = [state.error]
    if errors:
        result.errors.CopyFrom(pipeline_errors(state.correlation_id, errors))
    return result


def success_rate(state: workflow_pb2.WorkflowState) -> float:
    """Completed steps divided by all steps; 1.0 for none (F29)."""
    if not state.steps:
        return 1.0
    return sum(row.status == STEP_STATUS_COMPLETED for row in state.steps) / len(state.steps)


def pipeline_errors(correlation_id: str, errors: Sequence[common_pb2.OnexError]) -> common_pb2.PipelineErrorContext:
    """All errors of a request and the nodes that they came from (R151, R152)."""
    return common_pb2.PipelineErrorContext(
        correlation_id=correlation_id,
        error_chain=errors,
        failed_nodes=[common_pb2.NodeKind.Name(error.node_kind).removeprefix("NODE_KIND_").lower() for error in errors],
        total_errors=len(errors),
    )


def workflow_view(
    state: workflow_pb2.WorkflowState,
    epoch: int,
    *,
    owner: str = "",
    contract: workflow_pb2.OrchestratorContract | None = None,
) -> workflow_pb2.Workflow:
    """A workflow as it is shown to people, without results."""
    view = workflow_pb2.Workflow(
        workflow_id=state.workflow_id,
        name=state.name,
        status=state.status,
        epoch=epoch,
        correlation_id=state.correlation_id,
        owner=owner,
        started_at=state.started_at,
        updated_at=state.updated_at,
    )
    for key, reducer_state in state.reducer_states.items():
        view.fsm_states[key] = reducer_state.fsm_state
    if state.HasField("error"):
        view.error.CopyFrom(state.error)
    if contract is not None:
        view.coordination_type = contract.workflow_config.coordination_type or workflow_pb2.COORDINATION_TYPE_SEQUENTIAL
        for step, row in zip(contract.workflow_config.steps, state.steps, strict=False):
            view.steps.add(
                step_id=step.step_id,
                status=row.status,
                attempts=row.attempts,
                node_kind=_KIND_BY_COMMAND.get(step.command.WhichOneof("command") or "", 0),
            )
    return view


_KIND_BY_COMMAND: Mapping[str, common_pb2.NodeKind] = {
    "effect": common_pb2.NODE_KIND_EFFECT,
    "intents": common_pb2.NODE_KIND_EFFECT,
    "compute": common_pb2.NODE_KIND_COMPUTE,
    "reduction": common_pb2.NODE_KIND_REDUCER,
}

"""Recorded actions through the present code: what a deploy would change in states and intents, before it does.

The log of a workflow keeps what a reducer step led to, not what it was given; that follows from the contract, the input
and the results of the steps before, exactly as it did when the workflow ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from itertools import pairwise

from google.protobuf.message import Message

from onex.v1 import action_pb2, common_pb2, intent_pb2, reducer_pb2, workflow_pb2
from onex_mesh.app.plain_form import to_plain
from onex_mesh.orchestrator.core import actions, records
from onex_mesh.orchestrator.core.plan import PlannedStep, compile_plan
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.reducer.core.contract import is_aggregation
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, ValidationError
from onex_mesh.runtime.payload import JSON_TYPE, Json, parse_json
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved

# Filled in by the orchestrator when it commits, not by the reducer.
_FILLED_IN = ("step_id", "correlation_id")
# What the code of a reducer says no with; other failures are not its own.
_REFUSALS = frozenset(
    {
        "TRANSITION_REFUSED", "UNKNOWN_ACTION", "VALIDATION_FAILED", "PURITY_VIOLATION", "REDUCTION_FAILED",
        "REDUCER_NOT_FOUND",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that comes out otherwise now.

    Attributes:
        workflow_id: The workflow.
        epoch: The epoch that recorded it.
        step_id: The reducer step.
        part: "state", "intents" or "refusal".
        path: The field that differs, such as "total" or "[0].payload.data.total"; of a refusal, its reason.
        recorded: What the log says; None if it was not there. Of a refusal, its message.
        now: What the present code gives; None if it gives nothing. Of a refusal, its message, or what it leads to now.
    """

    workflow_id: str
    epoch: int
    step_id: str
    part: str
    path: str
    recorded: Json
    now: Json


@dataclass(frozen=True, slots=True)
class Replayed:
    """What replaying a workflow came to.

    Attributes:
        workflow_id: The workflow.
        transitions: Reducer steps that were run again: transitions and aggregations.
        differences: What comes out otherwise.
    """

    workflow_id: str
    transitions: int
    differences: tuple[Difference, ...]


async def replay(
    commits: Sequence[workflow_pb2.Commit], reducers: ReducerRegistry, payloads: Payloads | None = None
) -> Replayed:
    """Runs the reducer steps of a workflow's history through the reducers that are there now.

    Each starts from the state that was recorded before it, so one difference is not told again by those after it. Steps
    that were refused are tried as well: that they are taken now is a difference too.

    Args:
        commits: The whole history, from epoch 1 on.
        reducers: The present code.
        payloads: Where large inputs and states are, as the nodes had it.

    Raises:
        ValidationError: The history does not begin with epoch 1, has a gap, or its contract cannot be read any more; or
            something lies in the payload store no more.
        DependencyResolutionError: Something lies in a payload store that was not given, or is away.
    """
    _check_whole(commits)
    contract = commits[0].contract
    plan = compile_plan(contract)
    inputs = actions.Inputs(plan, contract, records.Results())
    run = _Run(Reductions(reducers), inputs, payloads or Payloads())
    issued: dict[str, action_pb2.Action] = {}
    for commit in commits:
        for row in commit.actions:
            if row.action.target_node == common_pb2.NODE_KIND_REDUCER and row.action.step_id:
                issued[row.action.step_id] = row.action
        for result in commit.results:
            index = plan.index_of.get(result.step_id)
            if index is not None and plan.steps[index].state_key and result.step_id in issued:
                recorded = _Recorded(commit, await run.payloads.fetched(result, result.step_id))
                await run.again(recorded, plan.steps[index], issued[result.step_id])
            if result.HasField("result"):
                run.inputs.add(result.step_id, result.result)
            elif result.status == workflow_pb2.STEP_STATUS_SKIPPED:
                run.inputs.skip(result.step_id)
        run.states = dict(commit.state.reducer_states)
    return Replayed(contract.workflow_id, run.count, tuple(run.found))


def _check_whole(commits: Sequence[workflow_pb2.Commit]) -> None:
    if not commits or commits[0].epoch != 1:
        raise ValidationError("a history begins with epoch 1; ask for all of it")
    for before, after in pairwise(commits):
        if after.epoch != before.epoch + 1:
            raise ValidationError(f"a history has no gaps: epoch {before.epoch} is followed by {after.epoch}")


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the log says of one reducer step."""

    commit: workflow_pb2.Commit
    result: workflow_pb2.StepResult

    @property
    def intents(self) -> list[intent_pb2.Intent]:
        return [intent for intent in self.commit.intents if intent.step_id == self.result.step_id]

    @property
    def refusal(self) -> tuple[str, str]:
        """Reason and message of why it failed; empty if it did not."""
        error = self.result.error
        return ("", "") if self.result.HasField("result") else (error.reason, error.message)

    def differ(self, part: str, path: str, recorded: Json, now: Json) -> Difference:
        commit, step_id = self.commit, self.result.step_id
        return Difference(commit.workflow_id, commit.epoch, step_id, part, path, recorded, now)


@dataclass(slots=True)
class _Run:
    """One history on its way through the present code."""

    reductions: Reductions
    inputs: actions.Inputs
    payloads: Payloads
    states: dict[str, workflow_pb2.ReducerState] = field(default_factory=dict)
    found: list[Difference] = field(default_factory=list)
    count: int = 0

    async def again(self, recorded: _Recorded, step: PlannedStep, action: action_pb2.Action) -> None:
        """Runs one step, notes what differs, and goes on from the state that was recorded."""
        reason, message = recorded.refusal
        if not recorded.result.HasField("result") and reason not in _REFUSALS:
            # Skipped, cancelled, or failed for what is not in the code: nothing to compare with.
            return
        self.count += 1
        origin = Origin(action.correlation_id, action.action_id, action.issued_at.ToDatetime(tzinfo=UTC))
        try:
            command = await self._command(step)
            output = await self.reductions.reduce(command, origin)
        except DependencyResolutionError:
            raise
        except OnexError as error:
            if error.reason != reason:
                before: Json = f"{reason}: {message}" if reason else None
                self.found.append(recorded.differ("refusal", error.reason, before, error.message))
            self._go_on(step, recorded.result.result if not reason else None)
            return
        if reason:
            now = output.state_metadata.new_state or "it is reduced"
            self.found.append(recorded.differ("refusal", reason, message, now))
            return
        self.found += _compared(recorded, output)
        # The log has what an aggregation gave, and its state only at the end of a commit.
        is_state = not is_aggregation(command.reduction_config) or not output.HasField("state")
        self._go_on(step, recorded.result.result if is_state else output.state)

    async def _command(self, step: PlannedStep) -> reducer_pb2.ReducerContract:
        command = await resolved(step.template, self.inputs.scope(step), self.payloads)
        command = await self.payloads.fetched(actions.continued(command, step, self.states), step.step_id)
        return command.reduction

    def _go_on(self, step: PlannedStep, state: common_pb2.Payload | None) -> None:
        """Steps that were committed together with this one begin where it ended."""
        if state is not None:
            self.states[step.state_key] = workflow_pb2.ReducerState(state=state)


def _compared(recorded: _Recorded, output: reducer_pb2.ReducerOutput) -> list[Difference]:
    found = [
        recorded.differ("state", path, before, after)
        for path, before, after in _differences("", _plain(recorded.result.result), _plain(output.aggregated_data))
    ]
    before_status = recorded.result.state_metadata.new_state
    if before_status != output.state_metadata.new_state and not found:
        found.append(recorded.differ("state", "new_state", before_status, output.state_metadata.new_state))
    found += [
        recorded.differ("intents", path, before, after)
        for path, before, after in _differences("", _intents(recorded.intents), _intents(output.intents))
    ]
    return found


def _plain(payload: common_pb2.Payload) -> Json:
    """A payload as a plain value; JSON that was fetched is the same as JSON that travelled."""
    if payload.HasField("data") and payload.content_type == JSON_TYPE:
        return parse_json(payload.data)
    return to_plain(payload)


def _intents(messages: Sequence[intent_pb2.Intent]) -> Json:
    rows: list[Json] = []
    for message in messages:
        plain = to_plain(_without(message, _FILLED_IN))
        rows.append(plain)
    return rows


def _without(message: intent_pb2.Intent, fields: Sequence[str]) -> Message:
    copy = intent_pb2.Intent()
    copy.CopyFrom(message)
    for name in fields:
        copy.ClearField(name)
    return copy


def _differences(path: str, one: Json, other: Json) -> Iterator[tuple[str, Json, Json]]:
    """The innermost parts that differ, with their paths."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            yield from _differences(f"{path}.{key}" if path else key, one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list):
        for index in range(max(len(one), len(other))):
            before = one[index] if index < len(one) else None
            after = other[index] if index < len(other) else None
            yield from _differences(f"{path}[{index}]", before, after)
    elif one != other:
        yield path, one, other

"""Recorded actions through the present code: what a deploy would change in states and intents, before it does.

The log of a workflow keeps what a reducer step led to, not what it was given; that follows from the contract, the input
and the results of the steps before, exactly as it did when the workflow ran.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import partial

from google.protobuf.message import Message

from onex.v1 import action_pb2, common_pb2, intent_pb2, workflow_pb2
from onex_mesh.app.plain_form import to_plain
from onex_mesh.orchestrator.core import actions, records
from onex_mesh.orchestrator.core.plan import PlannedStep, compile_plan
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, ValidationError
from onex_mesh.runtime.payload import JSON_TYPE, Json, parse_json
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved
from onex_mesh.runtime.templates import Scope

# Filled in by the orchestrator when it commits, not by the reducer.
_FILLED_IN = ("step_id", "correlation_id")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that comes out otherwise now.

    Attributes:
        workflow_id: The workflow.
        epoch: The epoch that recorded it.
        step_id: The reducer step.
        part: "state", "intents" or "refusal".
        path: The field that differs, such as "total" or "[0].payload.data.total".
        recorded: What the log says; None if it was not there.
        now: What the present code gives; None if it gives nothing.
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
        transitions: Reducer steps that were run again.
        differences: What comes out otherwise.
    """

    workflow_id: str
    transitions: int
    differences: tuple[Difference, ...]


async def replay(
    commits: Sequence[workflow_pb2.Commit], reducers: ReducerRegistry, payloads: Payloads | None = None
) -> Replayed:
    """Runs the reducer steps of a workflow's history through the reducers that are there now.

    Args:
        commits: The whole history, from epoch 1 on.
        reducers: The present code.
        payloads: Where large inputs and states are, as the nodes had it.

    Raises:
        ValidationError: The history does not begin with epoch 1, or its contract cannot be read any more; or something
            lies in the payload store no more.
        DependencyResolutionError: Something lies in a payload store that was not given, or is away.
    """
    payloads = payloads or Payloads()
    if not commits or commits[0].epoch != 1:
        raise ValidationError("a history begins with epoch 1; ask for all of it")
    contract = commits[0].contract
    plan = compile_plan(contract)
    inputs = actions.Inputs(plan, contract, records.Results())
    reductions = Reductions(reducers)
    states: dict[str, workflow_pb2.ReducerState] = {}
    issued: dict[str, action_pb2.Action] = {}
    found: list[Difference] = []
    transitions = 0
    for commit in commits:
        for row in commit.actions:
            if row.action.target_node == common_pb2.NODE_KIND_REDUCER and row.action.step_id:
                issued[row.action.step_id] = row.action
        for result in commit.results:
            index = plan.index_of.get(result.step_id)
            step = plan.steps[index] if index is not None else None
            if step is not None and step.state_key and result.HasField("result") and result.step_id in issued:
                transitions += 1
                command = partial(_command, step, inputs.scope(step), states, payloads)
                recorded = _Recorded(commit, await payloads.fetched(result, step.step_id))
                found += await _again(reductions, command, recorded, issued[step.step_id])
            if result.HasField("result"):
                inputs.add(result.step_id, result.result)
            elif result.status == workflow_pb2.STEP_STATUS_SKIPPED:
                inputs.skip(result.step_id)
        states = dict(commit.state.reducer_states)
    return Replayed(contract.workflow_id, transitions, tuple(found))


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What the log says of one reducer step."""

    commit: workflow_pb2.Commit
    result: workflow_pb2.StepResult

    @property
    def intents(self) -> list[intent_pb2.Intent]:
        return [intent for intent in self.commit.intents if intent.step_id == self.result.step_id]

    def differ(self, part: str, path: str, recorded: Json, now: Json) -> Difference:
        commit, step_id = self.commit, self.result.step_id
        return Difference(commit.workflow_id, commit.epoch, step_id, part, path, recorded, now)


async def _command(
    step: PlannedStep, scope: Scope, states: Mapping[str, workflow_pb2.ReducerState], payloads: Payloads
) -> action_pb2.Command:
    command = await resolved(step.template, scope, payloads)
    return await payloads.fetched(actions.continued(command, step, states), step.step_id)


async def _again(
    reductions: Reductions,
    command: Callable[[], Awaitable[action_pb2.Command]],
    recorded: _Recorded,
    action: action_pb2.Action,
) -> list[Difference]:
    origin = Origin(action.correlation_id, action.action_id, action.issued_at.ToDatetime(tzinfo=UTC))
    try:
        output = await reductions.reduce((await command()).reduction, origin)
    except DependencyResolutionError:
        raise
    except OnexError as error:
        return [recorded.differ("refusal", error.reason, None, error.message)]
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
    for field in fields:
        copy.ClearField(field)
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

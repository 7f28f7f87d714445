"""From plan and progress to actions, and from their results to events. Pure: ids derive, times are handed in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import struct_pb2

from onex.v1 import action_pb2, common_pb2, effect_pb2, intent_pb2, workflow_pb2
from onex_mesh.orchestrator.core.plan import Plan, PlannedStep
from onex_mesh.orchestrator.core.records import RESULT_BYTES_MAX, Results, timestamp
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import NO_STORE
from onex_mesh.runtime.templates import Scope


@dataclass(frozen=True, slots=True)
class Issuer:
    """What all actions of a workflow share."""

    workflow_id: str
    correlation_id: str
    name: str
    start_action_id: str
    lease_id: str
    fencing_token: int
    epoch: int


def action_id(start_action_id: str, step_id: str, attempt: int, part: str = "") -> str:
    """Id of an action: derived, so that the same attempt has the same id under every owner (F13)."""
    return str(uuid.uuid5(uuid.UUID(start_action_id), f"{step_id}/{attempt}/{part}"))


def task(
    issuer: Issuer,
    steps: Sequence[PlannedStep],
    attempt: int,
    command: action_pb2.Command,
    now: float,
    *,
    part: str = "",
) -> tuple[action_pb2.Action, action_pb2.ActionRecord]:
    """A DELEGATE_TASK action, and its record as the log keeps it: without the command, which contract and results say.

    Args:
        issuer: The workflow and its lease.
        steps: The steps that it executes; more than one for a chain.
        attempt: Number of the attempt, from 1.
        command: What to execute.
        now: Seconds since the epoch of UTC.
        part: "intents" where it executes the intents of the step.
    """
    first = steps[0]
    action = action_pb2.Action(
        action_id=action_id(issuer.start_action_id, first.step_id, attempt, part),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=issuer.lease_id,
        epoch=issuer.epoch,
        target_node=common_pb2.NODE_KIND_EFFECT if part else first.kind,
        correlation_id=issuer.correlation_id,
        issued_at=timestamp(now),
        expires_at=timestamp(now + sum(step.timeout_s for step in steps)),
        parent_action_id=issuer.start_action_id,
        workflow_id=issuer.workflow_id,
        fencing_token=issuer.fencing_token,
        step_id=first.step_id,
    )
    record = action_pb2.ActionRecord(action=action, status=action_pb2.ACTION_STATUS_IN_PROGRESS)
    action.command_payload.CopyFrom(command)
    return action, record


class Inputs:
    """What the templates of a workflow's steps read."""

    def __init__(self, plan: Plan, contract: workflow_pb2.OrchestratorContract, results: Results) -> None:
        self._plan = plan
        self._input = contract.initial_state
        self._workflow = {
            "id": contract.workflow_id,
            "correlation_id": contract.correlation_id,
            "name": contract.workflow_config.name,
        }
        self._outputs: dict[str, common_pb2.Payload] = {}
        self._statuses: dict[str, str] = {}
        for step_id in results.by_step:
            output = results.output(step_id)
            if output is not None:
                self._outputs[step_id] = output
            elif results.by_step[step_id].status == workflow_pb2.STEP_STATUS_SKIPPED:
                self.skip(step_id)

    def add(self, step_id: str, output: common_pb2.Payload) -> None:
        """Makes the output of a step readable for the steps after it (R106)."""
        self._outputs[step_id] = output

    def skip(self, step_id: str) -> None:
        """Makes a step readable that was skipped: its output is null, its status "skipped" (R105)."""
        self._outputs.pop(step_id, None)
        self._statuses[step_id] = "skipped"

    def command(self, step: PlannedStep, states: Mapping[str, workflow_pb2.ReducerState]) -> action_pb2.Command:
        """The step's command with its templates resolved, and the state that a reduction continues from.

        Raises:
            ValidationError: A template cannot be resolved.
        """
        return continued(step.template.resolve(self.scope(step)), step, states)

    def is_stored(self, step: PlannedStep) -> bool:
        """Whether the step's templates look into something that lies in the payload store and has to be fetched."""
        return bool(self.scope(step).stored(step.template.opens))

    def chain(self, steps: Sequence[PlannedStep]) -> action_pb2.Command | None:
        """Several steps as one command; None if something that they read is not JSON and so cannot travel along."""
        inside = {step.step_id for step in steps}
        chain = action_pb2.CommandChain()
        if not all(step.template.is_constant for step in steps):
            if self._input.WhichOneof("content") == "json":
                chain.context.fields["input"].CopyFrom(self._input.json)
            elif self._input.WhichOneof("content") is not None:
                return None
            outputs = chain.context.fields["steps"].struct_value
            for step_id in sorted({name for step in steps for name in step.template.reads} - inside):
                output = self._outputs.get(step_id)
                if output is None:
                    fields = outputs.fields[step_id].struct_value.fields
                    fields["output"].null_value = struct_pb2.NULL_VALUE
                    fields["status"].string_value = self._statuses.get(step_id, "")
                    continue
                if output.WhichOneof("content") != "json":
                    return None
                outputs.fields[step_id].struct_value.fields["output"].CopyFrom(output.json)
            for key, value in self._workflow.items():
                chain.context.fields["workflow"].struct_value.fields[key].string_value = value
        for step in steps:
            chain.links.add(step_id=step.step_id, command=step.template.command, parameters=step.parameters)
        return action_pb2.Command(chain=chain)

    def last_output(self) -> common_pb2.Payload | None:
        """The output of the last step that has one: that of a workflow without a template for it."""
        for step in reversed(self._plan.steps):
            if step.step_id in self._outputs:
                return self._outputs[step.step_id]
        return None

    def scope(self, step: PlannedStep | None) -> Scope:
        """The variables of templates."""
        return Scope(
            input=self._input,
            steps=self._outputs,
            params=step.parameters if step is not None else struct_pb2.Struct(),
            workflow=self._workflow,
            statuses=self._statuses,
        )


def continued(
    command: action_pb2.Command, step: PlannedStep, states: Mapping[str, workflow_pb2.ReducerState]
) -> action_pb2.Command:
    """The command of a step with the state that its reduction continues from; the command itself without one."""
    if not step.state_key or step.state_key not in states:
        return command
    with_state = action_pb2.Command()
    with_state.CopyFrom(command)
    with_state.reduction.current_state.CopyFrom(states[step.state_key].state)
    return with_state


def step_result(
    output: action_pb2.StepOutput, status: workflow_pb2.StepStatus, attempts: int, executed_by: str
) -> workflow_pb2.StepResult:
    """The record of what a step returned."""
    result = workflow_pb2.StepResult(
        step_id=output.step_id,
        execution_time=output.execution_time,
        status=status,
        attempts=attempts,
        executed_by=executed_by,
    )
    match output.WhichOneof("output"):
        case "effect":
            result.result.CopyFrom(output.effect.operation_result)
            if output.effect.metadata.replayed:
                result.metadata["replayed"] = "true"
            result.effect.CopyFrom(effect_record(output.effect.metadata))
        case "compute":
            result.result.CopyFrom(output.compute.processed_data)
        case "reduction":
            result.result.CopyFrom(output.reduction.aggregated_data)
            result.state_metadata.CopyFrom(output.reduction.state_metadata)
        case "intents":
            result.intent_results.extend(output.intents.results)
        case "error":
            result.error.CopyFrom(output.error)
    return result


def effect_record(metadata: effect_pb2.EffectMetadata) -> intent_pb2.EffectRecord:
    """The audit record of an effect step that succeeded, as the workflow's log keeps it (R11, R146)."""
    return intent_pb2.EffectRecord(
        target=metadata.target,
        effect_type=metadata.effect_type,
        operation=metadata.operation,
        idempotency_key=metadata.idempotency_key,
        fencing_token=metadata.fencing_token,
        executed_by=metadata.executed_by,
        started_at=metadata.started_at,
        attempts=metadata.attempts,
        outcome="cached" if metadata.from_cache else "replayed" if metadata.replayed else "completed",
    )


def failed_effect_record(error: common_pb2.OnexError) -> intent_pb2.EffectRecord | None:
    """The audit record of an effect step that failed: what the node put into the error's context; None without it."""
    context = dict(error.error_context)
    if not context.get("effect_type"):
        return None
    return intent_pb2.EffectRecord(
        target=str(context.get("target", "")),
        effect_type=str(context["effect_type"]),
        operation=str(context.get("operation", "")),
        idempotency_key=str(context.get("idempotency_key", "")),
        fencing_token=_whole(context.get("fencing_token")),
        executed_by=str(context.get("executed_by", "")),
        attempts=_whole(context.get("attempts")),
        outcome="failed",
    )


def _whole(given: object) -> int:
    """A number of an error's context, which is a string where it crossed an RPC."""
    text = f"{given:.0f}" if isinstance(given, float) else str(given)
    return int(text) if text.isdigit() else 0


def reducer_state(step: PlannedStep, output: action_pb2.StepOutput) -> workflow_pb2.ReducerState:
    """The state that a reduction led to."""
    reduction = output.reduction
    return workflow_pb2.ReducerState(
        reducer=step.template.command.reduction.reduction_config.reducer,
        state=reduction.state if reduction.HasField("state") else reduction.aggregated_data,
        fsm_state=reduction.state_metadata.new_state,
    )


def emitted_intents(step: PlannedStep, output: action_pb2.StepOutput, correlation_id: str) -> list[intent_pb2.Intent]:
    """The intents of a reduction, as the outbox keeps them."""
    intents = []
    for emitted in output.reduction.intents:
        intent = intent_pb2.Intent()
        intent.CopyFrom(emitted)
        intent.step_id = step.step_id
        intent.correlation_id = intent.correlation_id or correlation_id
        intents.append(intent)
    return intents


def too_large(output: action_pb2.StepOutput, step: PlannedStep) -> common_pb2.OnexError | None:
    """Why a result cannot be kept, if it cannot: a large result is kept only where it can be recomputed."""
    size = output.ByteSize()
    if size <= RESULT_BYTES_MAX or step.chainable:
        return None
    error = errors.PayloadTooLargeError(
        f"the result of step {step.step_id!r} has {size} bytes; at most {RESULT_BYTES_MAX} are kept; {NO_STORE}",
        error_context={"step_id": step.step_id, "size_bytes": size, "size_bytes_max": RESULT_BYTES_MAX},
    )
    return errors.to_proto(error, node_kind=common_pb2.NODE_KIND_ORCHESTRATOR)


def failed_intent(results: Sequence[intent_pb2.IntentResult]) -> common_pb2.OnexError | None:
    """The error of the first intent that failed, if one did."""
    for result in results:
        if result.status != intent_pb2.INTENT_STATUS_COMPLETED:
            return result.error
    return None


def work_s(output: action_pb2.StepOutput) -> float:
    """Seconds that a node worked on a step."""
    return float(output.execution_time.seconds) + output.execution_time.nanos / 1e9

"""Plans: what a contract says, checked and compiled, so that deciding is cheap.

A plan is derived from the contract alone; two orchestrators derive the same plan from the same contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.orchestrator.core.policy import FailurePolicy, compile_policy
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import require_shallow
from onex_mesh.runtime.templates import CommandTemplate, ValueTemplate, compile_command, compile_value

STEPS_MAX = 1_000
STEP_TIMEOUT_S_DEFAULT = 30.0

_WORKFLOW_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

_KIND_OF_COMMAND: Mapping[str, common_pb2.NodeKind] = {
    "effect": common_pb2.NODE_KIND_EFFECT,
    "intents": common_pb2.NODE_KIND_EFFECT,
    "compute": common_pb2.NODE_KIND_COMPUTE,
    "reduction": common_pb2.NODE_KIND_REDUCER,
}


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step, compiled."""

    index: int
    step_id: str
    kind: common_pb2.NodeKind
    service_name: str
    template: CommandTemplate
    parameters: struct_pb2.Struct
    depends_on: frozenset[int]
    timeout_s: float
    policy: FailurePolicy
    state_key: str
    """Name of the state that a reducer step changes; empty for other steps."""

    @property
    def pure(self) -> bool:
        """Whether the step can be recomputed instead of recorded."""
        return self.kind != common_pb2.NODE_KIND_EFFECT

    @property
    def chainable(self) -> bool:
        """Whether the step may travel with its neighbours in one call."""
        return self.kind == common_pb2.NODE_KIND_COMPUTE


@dataclass(frozen=True, slots=True)
class Plan:
    """A contract, compiled."""

    name: str
    steps: tuple[PlannedStep, ...]
    index_of: Mapping[str, int]
    coordination: workflow_pb2.CoordinationType
    every_step: bool
    """Whether a result is committed as soon as it is here (durability EVERY_STEP)."""
    output: ValueTemplate | None
    timeout_s: float
    """Longest time from start to end; 0 for none."""


def check_workflow_id(workflow_id: str) -> None:
    """Refuses an id that cannot be a key.

    Raises:
        ValidationError: It is not [A-Za-z0-9._-]{1,128}.
    """
    if not _WORKFLOW_ID.fullmatch(workflow_id):
        raise _refused([("workflow_id", f"{workflow_id!r} is not [A-Za-z0-9._-]{{1,128}}")])


def compile_plan(contract: workflow_pb2.OrchestratorContract) -> Plan:
    """Checks a contract and compiles it.

    Raises:
        ValidationError: With every violation found and the path of its field.
    """
    config = contract.workflow_config
    violations = [*_too_deep(contract), *_violations_of(config)]
    steps: list[PlannedStep] = []
    index_of = {step.step_id: index for index, step in enumerate(config.steps)}
    if not violations:
        default = compile_policy(contract.conflict_resolution, "conflict_resolution", violations)
        for index, step in enumerate(config.steps):
            planned = _plan_step(config, index, step, index_of, default, violations)
            if planned is not None:
                steps.append(planned)
    if not violations:
        violations.extend(_cycles(steps))
    output = None
    if not violations and config.HasField("output"):
        try:
            output = compile_value(config.output)
        except ValidationError as error:
            violations.extend((f"workflow_config.output.{field}", text) for field, text in error.violations)
        else:
            violations.extend(
                ("workflow_config.output", f"reads the unknown step {step_id!r}")
                for step_id in sorted(output.reads - index_of.keys())
            )
    if violations:
        raise _refused(violations)
    return Plan(
        name=config.name,
        steps=tuple(steps),
        index_of=index_of,
        coordination=config.coordination_type or workflow_pb2.COORDINATION_TYPE_SEQUENTIAL,
        every_step=config.durability == workflow_pb2.DURABILITY_EVERY_STEP,
        output=output,
        timeout_s=seconds(contract.timeout),
    )


def seconds(duration: Duration) -> float:
    """A protobuf duration in seconds."""
    return float(duration.seconds) + duration.nanos / 1e9


def _too_deep(contract: workflow_pb2.OrchestratorContract) -> Iterator[tuple[str, str]]:
    """JSON that came in but is too deep to go on: in a chain, or in a frame, no parser would take it."""
    values = [("initial_state", contract.initial_state.json)]
    for index, step in enumerate(contract.workflow_config.steps):
        values += ((f"workflow_config.steps[{index}].parameters.{k}", v) for k, v in step.parameters.fields.items())
    for path, value in values:
        try:
            require_shallow(value, path)
        except ValidationError as error:
            yield from error.violations


def _violations_of(config: workflow_pb2.WorkflowConfig) -> Iterator[tuple[str, str]]:
    path = "workflow_config"
    if not config.steps:
        yield f"{path}.steps", "a workflow has at least one step"
    if len(config.steps) > STEPS_MAX:
        yield f"{path}.steps", f"{len(config.steps)} steps; at most {STEPS_MAX}"
    if config.coordination_type in (
        workflow_pb2.COORDINATION_TYPE_PIPELINE,
        workflow_pb2.COORDINATION_TYPE_EVENT_DRIVEN,
    ):
        name = workflow_pb2.CoordinationType.Name(config.coordination_type).removeprefix("COORDINATION_TYPE_")
        yield f"{path}.coordination_type", f"{name} is not built yet; use SEQUENTIAL or PARALLEL"
    seen: set[str] = set()
    for index, step in enumerate(config.steps):
        at = f"{path}.steps[{index}]"
        if not _STEP_ID.fullmatch(step.step_id):
            yield f"{at}.step_id", f"{step.step_id!r} is not [A-Za-z_][A-Za-z0-9_]{{0,63}}"
        elif step.step_id in seen:
            yield f"{at}.step_id", f"{step.step_id!r} is there twice"
        seen.add(step.step_id)
        kind = _KIND_OF_COMMAND.get(step.command.WhichOneof("command") or "")
        if kind is None:
            yield f"{at}.command", "one of effect, intents, compute or reduction is required"
        elif step.target_node_type not in (common_pb2.NODE_KIND_UNSPECIFIED, kind):
            given = common_pb2.NodeKind.Name(step.target_node_type).removeprefix("NODE_KIND_")
            needed = common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_")
            yield f"{at}.target_node_type", f"the command is for {needed}, not {given}"
        if step.HasField("timeout") and seconds(step.timeout) <= 0:
            yield f"{at}.timeout", "must be more than zero"


def _plan_step(
    config: workflow_pb2.WorkflowConfig,
    index: int,
    step: workflow_pb2.Step,
    index_of: Mapping[str, int],
    default: FailurePolicy,
    violations: list[tuple[str, str]],
) -> PlannedStep | None:
    at = f"workflow_config.steps[{index}]"
    try:
        template = compile_command(step.command)
    except ValidationError as error:
        violations.extend((f"{at}.command.{field}", text) for field, text in error.violations)
        return None
    depends_on = _dependencies(config, index, step, template, index_of, violations)
    policy = default
    if step.HasField("on_failure"):
        policy = compile_policy(step.on_failure, f"{at}.on_failure", violations)
    state_key = ""
    if step.command.WhichOneof("command") == "reduction":
        state_key = step.command.reduction.reduction_config.state_key or "state"
    return PlannedStep(
        index=index,
        step_id=step.step_id,
        kind=_KIND_OF_COMMAND[step.command.WhichOneof("command") or ""],
        service_name=step.service_name,
        template=template,
        parameters=step.parameters,
        depends_on=frozenset(depends_on),
        timeout_s=seconds(step.timeout) if step.HasField("timeout") else STEP_TIMEOUT_S_DEFAULT,
        policy=policy,
        state_key=state_key,
    )


def _dependencies(
    config: workflow_pb2.WorkflowConfig,
    index: int,
    step: workflow_pb2.Step,
    template: CommandTemplate,
    index_of: Mapping[str, int],
    violations: list[tuple[str, str]],
) -> set[int]:
    at = f"workflow_config.steps[{index}]"
    found: set[int] = set()
    for position, name in enumerate(step.depends_on):
        if name not in index_of:
            violations.append((f"{at}.depends_on[{position}]", f"{name!r} is not a step"))
        else:
            found.add(index_of[name])
    for name in sorted(template.reads):
        if name not in index_of:
            violations.append((f"{at}.command", f"reads the unknown step {name!r}"))
        else:
            found.add(index_of[name])
    if config.coordination_type != workflow_pb2.COORDINATION_TYPE_PARALLEL:
        violations.extend(
            (
                f"{at}.command",
                f"in a SEQUENTIAL workflow it cannot read {config.steps[other].step_id!r}, which comes later",
            )
            for other in sorted(found)
            if other >= index
        )
        if index > 0:
            found.add(index - 1)
    return found


def _cycles(steps: Sequence[PlannedStep]) -> Iterator[tuple[str, str]]:
    """Kahn's algorithm: what cannot be ordered stands in a cycle or behind one (F31)."""
    waiting = {step.index: set(step.depends_on) for step in steps}
    ready = [index for index, needed in waiting.items() if not needed]
    while ready:
        done = ready.pop()
        del waiting[done]
        for index, needed in waiting.items():
            if done in needed:
                needed.discard(done)
                if not needed:
                    ready.append(index)
    if waiting:
        names = ", ".join(steps[index].step_id for index in sorted(waiting))
        yield "workflow_config.steps", f"these steps wait for each other in a circle: {names}"


def _refused(violations: Sequence[tuple[str, str]]) -> ValidationError:
    first = f"{violations[0][0]}: {violations[0][1]}"
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return ValidationError(first + more, violations=tuple(violations[:50]))

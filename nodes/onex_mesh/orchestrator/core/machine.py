"""The orchestrator's machine: `decide(plan, progress) → decision`, `evolve(plan, progress, event) → progress`.

Both are pure: no clock, no randomness, no I/O; what they need of those comes in an event. The runner around them
leases, dispatches, commits and keeps time. Recovery is to read the committed progress and decide again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from onex.v1 import common_pb2, workflow_pb2
from onex.v1.workflow_pb2 import (
    STEP_STATUS_CANCELLED,
    STEP_STATUS_COMPLETED,
    STEP_STATUS_EXECUTING_INTENTS,
    STEP_STATUS_FAILED,
    STEP_STATUS_PENDING,
    STEP_STATUS_RETRYING,
    STEP_STATUS_RUNNING,
    STEP_STATUS_SKIPPED,
    WORKFLOW_STATUS_ABORTED,
    WORKFLOW_STATUS_CANCELLED,
    WORKFLOW_STATUS_COMPLETED,
    WORKFLOW_STATUS_RUNNING,
)
from onex_mesh.orchestrator.core.plan import Plan, PlannedStep
from onex_mesh.orchestrator.core.policy import Verdict

CHAIN_MAX = 64

_SETTLED = frozenset((STEP_STATUS_COMPLETED, STEP_STATUS_SKIPPED))
_ENDED = frozenset((STEP_STATUS_COMPLETED, STEP_STATUS_SKIPPED, STEP_STATUS_FAILED, STEP_STATUS_CANCELLED))
FINAL = frozenset((WORKFLOW_STATUS_COMPLETED, WORKFLOW_STATUS_ABORTED, WORKFLOW_STATUS_CANCELLED))


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Where one step stands."""

    status: workflow_pb2.StepStatus = STEP_STATUS_PENDING
    attempts: int = 0
    """Attempts started."""
    retry_at: float = 0.0
    """When the next attempt may start, in seconds since the epoch of UTC; while RETRYING."""
    in_flight: bool = False
    """Whether this owner has handed it to a node. Not durable: a new owner has handed out nothing."""
    chained: bool = False
    """Whether it travels behind another step, in the same call."""
    intents_failed: bool = False
    """Whether the last execution of its intents failed; a retry repeats the intents, not the transition."""


_FRESH = StepProgress()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a workflow stands."""

    status: workflow_pb2.WorkflowStatus
    steps: tuple[StepProgress, ...]
    error: common_pb2.OnexError | None = None
    """Why it was aborted."""
    parallelism: int = 0
    """Most steps that were in flight at the same time so far."""

    @property
    def final(self) -> bool:
        """Whether nothing can happen any more."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Steps were handed to a node; more than one travel as a chain."""

    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A step returned a result."""

    step: int
    has_intents: bool = False


@dataclass(frozen=True, slots=True)
class IntentsDispatched:
    """The intents of a step were handed to a node."""

    step: int


@dataclass(frozen=True, slots=True)
class IntentsExecuted:
    """All intents of a step were executed."""

    step: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A step, or the execution of its intents, failed.

    `now` is in seconds since the epoch of UTC, `chance` in [0, 1) spreads the retry.
    """

    step: int
    error: common_pb2.OnexError
    now: float
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class NotReached:
    """A chain ended before it came to these steps."""

    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The workflow as a whole ends early: its deadline passed, or it was cancelled."""

    status: workflow_pb2.WorkflowStatus
    error: common_pb2.OnexError


Event: TypeAlias = Dispatched | Succeeded | IntentsDispatched | IntentsExecuted | Failed | NotReached | Stopped


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. Empty in all parts: wait for what is in flight."""

    pure: tuple[tuple[int, ...], ...] = ()
    """Groups of pure steps to hand out; each group travels as one call. They need no commit before."""
    effects: tuple[int, ...] = ()
    """Effect steps to hand out, once a commit says that they are about to happen."""
    intents: tuple[int, ...] = ()
    """Steps whose intents to execute, once a commit holds them."""
    wake_at: float | None = None
    """When to decide again although nothing happened, in seconds since the epoch of UTC."""
    finished: bool = False
    """Whether the workflow is at its end."""


def begin(plan: Plan) -> Progress:
    """A workflow before its first step."""
    return Progress(status=WORKFLOW_STATUS_RUNNING, steps=(_FRESH,) * len(plan.steps))


def recover(progress: Progress) -> Progress:
    """The progress that a new owner starts from: what was handed out by the last one is to be handed out again.

    That is safe: pure steps have no effect, and effects run under the same idempotency key.
    """
    steps = tuple(
        replace(step, status=STEP_STATUS_PENDING, attempts=max(step.attempts - 1, 0), in_flight=False)
        if step.status == STEP_STATUS_RUNNING
        else replace(step, in_flight=False)
        for step in progress.steps
    )
    return replace(progress, steps=steps)


def decide(plan: Plan, progress: Progress, now: float) -> Decision:
    """What to do now.

    Args:
        plan: The compiled contract.
        progress: Where the workflow stands.
        now: Seconds since the epoch of UTC; only compared with retry_at.
    """
    if progress.final:
        return Decision(finished=True)
    steps = progress.steps
    busy_states = {plan.steps[i].state_key for i, step in enumerate(steps) if _holds_state(plan.steps[i], step)}
    pure: list[tuple[int, ...]] = []
    effects: list[int] = []
    intents: list[int] = []
    taken: set[int] = set()
    wake_at: float | None = None
    for planned in plan.steps:
        step = steps[planned.index]
        if step.in_flight or planned.index in taken or step.status in _ENDED:
            continue
        if step.status == STEP_STATUS_RETRYING and step.retry_at > now:
            wake_at = step.retry_at if wake_at is None else min(wake_at, step.retry_at)
        elif step.status == STEP_STATUS_EXECUTING_INTENTS or step.intents_failed:
            intents.append(planned.index)
        elif not all(steps[needed].status in _SETTLED for needed in planned.depends_on):
            continue
        elif not planned.pure:
            effects.append(planned.index)
        elif planned.chainable:
            chain = _chain(plan, progress, planned)
            taken.update(chain)
            pure.append(chain)
        elif planned.state_key not in busy_states:
            # Two transitions of one state never overlap: each continues from what the other made.
            busy_states.add(planned.state_key)
            pure.append((planned.index,))
    return Decision(tuple(pure), tuple(effects), tuple(intents), wake_at)


def evolve(plan: Plan, progress: Progress, event: Event) -> Progress:
    """The progress after an event. Events that come too late, for a workflow that has ended, change nothing."""
    if progress.final:
        return progress
    match event:
        case Dispatched(steps):
            changes = {
                i: StepProgress(
                    STEP_STATUS_RUNNING, progress.steps[i].attempts + 1, in_flight=True, chained=i != steps[0]
                )
                for i in steps
            }
            return _counted(_with(progress, changes))
        case IntentsDispatched(step):
            old = progress.steps[step]
            attempts = old.attempts + 1 if old.intents_failed else old.attempts
            new = StepProgress(STEP_STATUS_EXECUTING_INTENTS, attempts, in_flight=True)
            return _counted(_with(progress, {step: new}))
        case Succeeded(step, has_intents):
            old = progress.steps[step]
            if has_intents:
                return _with(progress, {step: StepProgress(STEP_STATUS_EXECUTING_INTENTS, old.attempts)})
            return _completed(progress, step)
        case IntentsExecuted(step):
            return _completed(progress, step)
        case NotReached(steps):
            changes = {i: StepProgress(attempts=max(progress.steps[i].attempts - 1, 0)) for i in steps}
            return _with(progress, changes)
        case Failed():
            return _failed(plan, progress, event)
        case Stopped(status, error):
            return _ended(progress, status, error)


def _chain(plan: Plan, progress: Progress, first: PlannedStep) -> tuple[int, ...]:
    """The step and the pure ones behind it that can travel with it in one call.

    A step joins if it waits for nothing but steps of the chain, has the same destination, and something in the chain is
    needed by it: it could not start earlier anywhere else.
    """
    chain = [first.index]
    members = {first.index}
    for candidate in plan.steps[first.index + 1 :]:
        if len(chain) == CHAIN_MAX:
            break
        open_needs = {i for i in candidate.depends_on if progress.steps[i].status not in _SETTLED}
        if not open_needs or not open_needs <= members:
            continue
        fresh = progress.steps[candidate.index].status == STEP_STATUS_PENDING
        if not (fresh and candidate.chainable and candidate.service_name == first.service_name):
            continue
        if any(_startable_after(progress, other, members, candidate.index) for other in plan.steps):
            # Something else waits for the chain too: it would be held up until the whole chain is back.
            break
        chain.append(candidate.index)
        members.add(candidate.index)
    return tuple(chain)


def _startable_after(progress: Progress, other: PlannedStep, members: set[int], candidate: int) -> bool:
    """Whether `other` could start as soon as `members` are done, so that waiting for `candidate` would delay it."""
    if other.index in members or other.index == candidate or progress.steps[other.index].status in _ENDED:
        return False
    open_needs = {i for i in other.depends_on if progress.steps[i].status not in _SETTLED}
    return bool(open_needs) and open_needs <= members


def _holds_state(planned: PlannedStep, step: StepProgress) -> bool:
    return bool(planned.state_key) and (step.in_flight or step.status == STEP_STATUS_EXECUTING_INTENTS)


def _with(progress: Progress, changes: Mapping[int, StepProgress]) -> Progress:
    steps = list(progress.steps)
    for index, step in changes.items():
        steps[index] = step
    return replace(progress, steps=tuple(steps))


def _counted(progress: Progress) -> Progress:
    in_flight = sum(step.in_flight and not step.chained for step in progress.steps)
    return replace(progress, parallelism=in_flight) if in_flight > progress.parallelism else progress


def _completed(progress: Progress, index: int) -> Progress:
    done = StepProgress(STEP_STATUS_COMPLETED, progress.steps[index].attempts)
    return _finished_if_done(_with(progress, {index: done}))


def _finished_if_done(progress: Progress) -> Progress:
    if all(step.status in _SETTLED for step in progress.steps):
        return replace(progress, status=WORKFLOW_STATUS_COMPLETED)
    return progress


def _failed(plan: Plan, progress: Progress, event: Failed) -> Progress:
    step = progress.steps[event.step]
    policy = plan.steps[event.step].policy
    intents_failed = step.status == STEP_STATUS_EXECUTING_INTENTS
    match policy.verdict(event.error, step.attempts):
        case Verdict.RETRY:
            again = StepProgress(
                STEP_STATUS_RETRYING,
                step.attempts,
                retry_at=event.now + policy.delay_s(step.attempts, event.chance),
                intents_failed=intents_failed,
            )
            return _with(progress, {event.step: again})
        case Verdict.SKIP:
            skipped = StepProgress(STEP_STATUS_SKIPPED, step.attempts)
            return _finished_if_done(_with(progress, {event.step: skipped}))
        case Verdict.ABORT:
            failed = StepProgress(STEP_STATUS_FAILED, step.attempts)
            return _ended(_with(progress, {event.step: failed}), WORKFLOW_STATUS_ABORTED, event.error)


def _ended(progress: Progress, status: workflow_pb2.WorkflowStatus, error: common_pb2.OnexError) -> Progress:
    """Ends the workflow: what has not ended is cancelled, siblings in flight too (R109)."""
    steps = tuple(
        step if step.status in _ENDED else StepProgress(STEP_STATUS_CANCELLED, step.attempts) for step in progress.steps
    )
    return replace(progress, status=status, steps=steps, error=error)

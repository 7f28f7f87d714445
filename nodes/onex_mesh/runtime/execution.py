"""The actions that a node has under way: each one task, joined by whoever sends the same one again."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Protocol, TypeAlias

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, common_pb2
from onex_mesh.runtime.action_validation import ActionValidator
from onex_mesh.runtime.chain import ChainScope, TemplateCache
from onex_mesh.runtime.command import CommandContext, CommandExecutor
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    CancelledError,
    InternalError,
    OnexError,
    OverloadedError,
    to_proto,
)
from onex_mesh.runtime.metrics import Metrics
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved

log = structlog.get_logger(__name__)

SWEEP_S = 0.05
"""How late an action may be stopped after its expiry. One timer for all is cheaper than one for each."""

REPORT_S = 0.005
"""A chain that has worked longer than this since its last report tells what is done before it goes on: what a crash
can cost is bounded by it, and a chain of quick steps is still one message."""

_ABANDON_S = 2.0
_ANSWER_S = 0.25
"""What is left of an action's time for its answer."""
_LINKS = uuid.UUID("0d5ee5a6-5c0c-5d5c-9c2f-3f6a5a1a7e01")
_Key: TypeAlias = tuple[str, str, int]


class Waiter(Protocol):
    """Who waits for results: a stream or a call."""

    def put(self, result: action_pb2.ActionResult) -> None:
        """Takes the result of an action that it waits for; never waits itself."""

    def progress(self, result: action_pb2.ActionResult) -> None:
        """Takes the outputs of links that ended since the last report of a chain; all come again with the result."""


@dataclass(frozen=True, slots=True)
class ActionParts:
    """What executing actions takes."""

    kind: common_pb2.NodeKind
    executor: CommandExecutor
    validator: ActionValidator
    metrics: Metrics
    payloads: Payloads
    instance_id: str
    actions_max: int


@dataclass(slots=True, eq=False)
class Execution:
    """One action under way."""

    key: _Key
    action: action_pb2.Action
    waiters: list[Waiter]
    deadline: float
    """Its expires_at on the monotonic clock."""
    is_started: bool = False
    is_expired: bool = False
    task: asyncio.Task[None] = field(init=False)


class Executions:
    """Executes actions. The same action under the same lease joins the one that is under way; it never runs twice at
    the same time."""

    def __init__(self, parts: ActionParts) -> None:
        self._parts = parts
        self._templates = TemplateCache()
        self._under_way: dict[_Key, Execution] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        # An effect that has begun ends, and its key remembers its result. Pure work that nobody waits for is stopped.
        self._stops_unwanted = parts.kind != common_pb2.NODE_KIND_EFFECT

    def submit(self, action: action_pb2.Action, waiter: Waiter, *, validated: bool) -> Execution:
        """Begins an action, or joins it; the waiter is given its result.

        Args:
            action: The action.
            waiter: Who wants its result.
            validated: Whether it was checked already; otherwise it is checked as one that came over the stream.

        Raises:
            OverloadedError: As many actions are under way as may be.
        """
        key = (action.action_id, action.lease_id, action.fencing_token)
        execution = self._under_way.get(key)
        if execution is not None:
            execution.waiters.append(waiter)
            return execution
        count = len(self._under_way)
        if count >= self._parts.actions_max:
            self._parts.metrics.refused()
            raise OverloadedError(f"{count} actions are under way; that is the bound")
        deadline = time.monotonic() + seconds_of(action.expires_at) - time.time()
        execution = self._under_way[key] = Execution(key, action, [waiter], deadline)
        execution.task = asyncio.create_task(self._run(execution, validated))
        self._idle.clear()
        self._parts.metrics.actions_under_way = count + 1
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        return execution

    def cancel(self, action_id: str) -> None:
        """Stops an action, whoever waits for it; one that is not under way is left as it is."""
        for execution in [found for found in self._under_way.values() if found.key[0] == action_id]:
            self._stop(execution)

    def leave(self, execution: Execution, waiter: Waiter) -> None:
        """A waiter does not wait any more; pure work that nobody waits for is stopped."""
        if waiter in execution.waiters:
            execution.waiters.remove(waiter)
        if not execution.waiters and self._stops_unwanted:
            self._stop(execution)

    async def wait_idle(self) -> None:
        """Returns when no action is under way."""
        await self._idle.wait()

    async def abandon(self) -> None:
        """Stops what is still under way and answers nobody: the orchestrators give it to other nodes."""
        executions = list(self._under_way.values())
        for execution in executions:
            execution.waiters.clear()
            self._stop(execution)
        if executions:
            await asyncio.wait([execution.task for execution in executions], timeout=_ABANDON_S)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def refusal(self, action: action_pb2.Action, error: OnexError) -> action_pb2.ActionResult:
        """The result of an action that was not begun."""
        result = action_pb2.ActionResult(action_id=action.action_id, executed_by=self._parts.instance_id)
        self._fail(result, error, action)
        self._parts.metrics.observe("action", 0.0, error.reason)
        return result

    def _stop(self, execution: Execution) -> None:
        execution.task.cancel()
        if not execution.is_started:
            # A task that is cancelled before its first step never runs any of its code.
            error = CancelledError("the action was cancelled")
            self._finish(execution, self.refusal(execution.action, error))

    def _sweep(self) -> None:
        now = time.monotonic()
        for execution in list(self._under_way.values()):
            if execution.deadline <= now and execution.is_started and not execution.is_expired:
                execution.is_expired = True
                execution.task.cancel()
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep) if self._under_way else None

    async def _run(self, execution: Execution, validated: bool) -> None:
        execution.is_started = True
        action, parts = execution.action, self._parts
        # The task's context is its own; without this, log lines would carry the id of the stream.
        structlog.contextvars.bind_contextvars(correlation_id=action.correlation_id)
        began = time.monotonic()
        result = action_pb2.ActionResult(action_id=action.action_id, executed_by=parts.instance_id)
        error: OnexError | None = None
        try:
            if not validated:
                await parts.validator.validate(action, streamed=True)
            await self._execute(execution, result)
            result.status = action_pb2.ACTION_STATUS_COMPLETED
        except asyncio.CancelledError:
            # Nobody awaits this task: its waiters are given the result instead.
            if execution.is_expired:
                error = ActionExpiredError(f"the action did not end before {action.expires_at.ToJsonString()}")
            else:
                error = CancelledError("the action was cancelled")
        except OnexError as raised:
            error = raised
        except (Exception, SystemExit) as cause:  # whatever user code does must end neither stream nor node
            log.error("an action failed unexpectedly", action_id=action.action_id, exc_info=cause)
            error = InternalError("the action failed unexpectedly; see the node's log")
        if error is not None:
            self._fail(result, error, action)
        parts.metrics.observe("action", time.monotonic() - began, "" if error is None else error.reason)
        self._finish(execution, result)

    def _finish(self, execution: Execution, result: action_pb2.ActionResult) -> None:
        if self._under_way.pop(execution.key, None) is None:
            return
        self._parts.metrics.actions_under_way = len(self._under_way)
        if not self._under_way:
            self._idle.set()
        for waiter in execution.waiters:
            waiter.put(result)

    async def _execute(self, execution: Execution, result: action_pb2.ActionResult) -> None:
        action = execution.action
        context = CommandContext(
            correlation_id=action.correlation_id,
            workflow_id=action.workflow_id,
            step_id=action.step_id,
            action_id=action.action_id,
            lease_id=action.lease_id,
            epoch=action.epoch,
            fencing_token=action.fencing_token,
            # Not by way of a float: whoever replays the action must come to the same microsecond.
            issued_at=action.issued_at.ToDatetime(tzinfo=UTC),
            deadline=execution.deadline,
        )
        command = action.command_payload
        if command.HasField("chain"):
            await self._run_chain(execution, context, result)
        else:
            result.outputs.append(await self._run_step(action.step_id, command, context))

    async def _run_step(
        self, step_id: str, command: action_pb2.Command, context: CommandContext, links: int = 1
    ) -> action_pb2.StepOutput:
        """One step: its inputs are fetched where they are locations, and a large result becomes one."""
        began = time.monotonic_ns()
        command = await self._parts.payloads.fetched(command)
        output = await self._parts.executor.execute(command, context)
        output.step_id = step_id
        output.execution_time.FromNanoseconds(time.monotonic_ns() - began)
        await self._parts.payloads.fit_step(output, links, self._until(context))
        return output

    def _until(self, context: CommandContext) -> float:
        """How long a result is tried to be put: an effect has happened, so its result is worth the time."""
        if self._parts.kind != common_pb2.NODE_KIND_EFFECT or context.deadline is None:
            return 0.0
        return context.deadline - _ANSWER_S

    async def _run_chain(self, execution: Execution, context: CommandContext, result: action_pb2.ActionResult) -> None:
        chain = execution.action.command_payload.chain
        scope = ChainScope(chain)
        reported, reported_at = 0, time.monotonic()
        for link in chain.links:
            if len(result.outputs) > reported and time.monotonic() - reported_at >= REPORT_S:
                self._report(execution, result, reported)
                reported, reported_at = len(result.outputs), time.monotonic()
            command = await resolved(self._templates.get(link.command), scope.of(link), self._parts.payloads)
            link_context = _link_context(context, link.step_id)
            output = await self._run_step(link.step_id, command, link_context, len(chain.links))
            result.outputs.append(output)
            scope.add(output)
            # A chain of quick steps must not hold the loop from one end to the other, nor outlive its expiry.
            await asyncio.sleep(0)

    def _report(self, execution: Execution, result: action_pb2.ActionResult, reported: int) -> None:
        progress = action_pb2.ActionResult(
            action_id=result.action_id,
            status=action_pb2.ACTION_STATUS_IN_PROGRESS,
            outputs=result.outputs[reported:],
            executed_by=result.executed_by,
        )
        for waiter in execution.waiters:
            waiter.progress(progress)

    def _fail(self, result: action_pb2.ActionResult, error: OnexError, action: action_pb2.Action) -> None:
        error.correlation_id = error.correlation_id or action.correlation_id
        is_cancelled = isinstance(error, CancelledError)
        result.status = action_pb2.ACTION_STATUS_CANCELLED if is_cancelled else action_pb2.ACTION_STATUS_FAILED
        result.error.CopyFrom(to_proto(error, node_kind=self._parts.kind))
        # The result, the metrics and the workflow's log tell it too: a storm of refusals must not become one of lines.
        log.debug(
            "an action failed",
            action_id=action.action_id,
            step_id=action.step_id,
            workflow_id=action.workflow_id,
            correlation_id=error.correlation_id,
            reason=error.reason,
            why=error.message,
        )


def _link_context(context: CommandContext, step_id: str) -> CommandContext:
    """The context of a link: ids derive from the action and the step, lest two links make the same ones (F13)."""
    if step_id == context.step_id:
        return context
    return replace(context, step_id=step_id, action_id=str(uuid.uuid5(_LINKS, f"{context.action_id}/{step_id}")))


def seconds_of(stamp: Timestamp) -> float:
    """A timestamp as seconds since 1970."""
    return float(stamp.seconds) + stamp.nanos / 1e9

"""ActionService: takes actions one by one or batched over a stream, checks them and has the node's executor do them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import action_pb2, action_pb2_grpc, common_pb2
from onex_mesh.runtime.action_validation import ActionValidator
from onex_mesh.runtime.call import CallContext
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
from onex_mesh.runtime.templates import CommandTemplate, Scope, compile_command

log = structlog.get_logger(__name__)

FRAME_RESULTS_MAX = 256
_TEMPLATES_KEPT = 1_024


@dataclass(frozen=True, slots=True)
class ActionParts:
    """What the service is made of."""

    kind: common_pb2.NodeKind
    executor: CommandExecutor
    validator: ActionValidator
    metrics: Metrics
    instance_id: str
    actions_max: int


class ActionServicer(action_pb2_grpc.ActionServiceServicer):
    """See the module."""

    def __init__(self, parts: ActionParts) -> None:
        self._parts = parts
        self._under_way: dict[str, asyncio.Task[action_pb2.ActionResult]] = {}
        self._templates: dict[bytes, CommandTemplate] = {}

    async def ExecuteAction(
        self, request: action_pb2.ExecuteActionRequest, context: CallContext
    ) -> action_pb2.ExecuteActionResponse:
        """Checks and executes one action; a refused one ends the call with a status."""
        await self._parts.validator.validate(request.action, streamed=False)
        return action_pb2.ExecuteActionResponse(result=await self._joined(request.action))

    async def Dispatch(
        self, request_iterator: AsyncIterator[action_pb2.DispatchRequest], context: CallContext
    ) -> AsyncIterator[action_pb2.DispatchResponse]:
        """Executes what comes, each action by itself; answers with whatever is ready."""
        stream = _Stream()
        reader = asyncio.create_task(self._read(request_iterator, stream))
        reader.add_done_callback(lambda _: stream.end())
        try:
            while True:
                results = await stream.ready_results()
                if not results:
                    break
                yield action_pb2.DispatchResponse(results=results)
            reader.result()
        finally:
            reader.cancel()
            if self._parts.kind != common_pb2.NODE_KIND_EFFECT:
                # Nobody waits for pure work any more. An effect that has begun ends, and its key remembers its result.
                for task in stream.tasks.values():
                    task.cancel()

    async def drain(self) -> None:
        """Returns when every action under way has ended."""
        while self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    async def _read(self, requests: AsyncIterator[action_pb2.DispatchRequest], stream: _Stream) -> None:
        async for frame in requests:
            for action in frame.actions:
                task = asyncio.create_task(self._streamed(action, stream))
                stream.tasks[action.action_id] = task
            for action_id in frame.cancel_action_ids:
                running = self._under_way.get(action_id)
                if running is not None:
                    running.cancel()

    async def _streamed(self, action: action_pb2.Action, stream: _Stream) -> None:
        try:
            await self._parts.validator.validate(action, streamed=True)
            result = await self._joined(action)
        except OnexError as error:
            result = self._refused(action, error)
        finally:
            stream.tasks.pop(action.action_id, None)
        stream.put(result)

    async def _joined(self, action: action_pb2.Action) -> action_pb2.ActionResult:
        """Executes an action, or waits for the execution of the same one that is under way."""
        running = self._under_way.get(action.action_id)
        if running is None:
            if len(self._under_way) >= self._parts.actions_max:
                self._parts.metrics.refused()
                raise OverloadedError(f"{len(self._under_way)} actions are under way; that is the bound")
            running = asyncio.create_task(self._execute(action))
            self._under_way[action.action_id] = running
            running.add_done_callback(lambda _: self._under_way.pop(action.action_id, None))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled():
                return self._refused(action, CancelledError("the action was cancelled"))
            if self._parts.kind != common_pb2.NODE_KIND_EFFECT:
                running.cancel()
            raise

    async def _execute(self, action: action_pb2.Action) -> action_pb2.ActionResult:
        began = time.monotonic()
        result = action_pb2.ActionResult(action_id=action.action_id, executed_by=self._parts.instance_id)
        remaining_s = _instant(action.expires_at) - time.time()
        context = CommandContext(
            correlation_id=action.correlation_id,
            workflow_id=action.workflow_id,
            step_id=action.step_id,
            action_id=action.action_id,
            lease_id=action.lease_id,
            epoch=action.epoch,
            fencing_token=action.fencing_token,
            issued_at=datetime.fromtimestamp(_instant(action.issued_at), UTC),
            deadline=began + remaining_s,
        )
        error_type = ""
        try:
            async with asyncio.timeout(remaining_s):
                if action.command_payload.WhichOneof("command") == "chain":
                    await self._run_chain(action.command_payload.chain, context, result)
                else:
                    await self._run_step(action.step_id, action.command_payload, context, result)
            result.status = action_pb2.ACTION_STATUS_COMPLETED
        except TimeoutError:
            error = ActionExpiredError(f"the action did not end within {remaining_s:.3g} s")
            error_type = self._fail(result, error, action)
        except OnexError as error:
            error_type = self._fail(result, error, action)
        except Exception as cause:  # whatever user code raises must not end the stream
            log.error(
                "an action failed unexpectedly",
                action_id=action.action_id,
                correlation_id=action.correlation_id,
                exc_info=cause,
            )
            error_type = self._fail(result, InternalError("the action failed unexpectedly; see the node's log"), action)
        self._parts.metrics.observe("action", time.monotonic() - began, error_type)
        return result

    async def _run_step(
        self, step_id: str, command: action_pb2.Command, context: CommandContext, result: action_pb2.ActionResult
    ) -> action_pb2.StepOutput:
        began = time.monotonic()
        output = await self._parts.executor.execute(command, context)
        output.step_id = step_id
        output.execution_time.CopyFrom(_duration(time.monotonic() - began))
        result.outputs.append(output)
        return output

    async def _run_chain(
        self, chain: action_pb2.CommandChain, context: CommandContext, result: action_pb2.ActionResult
    ) -> None:
        scope = _ChainScope(chain)
        for link in chain.links:
            command = self._template(link.command).resolve(scope.of(link))
            output = await self._run_step(link.step_id, command, context, result)
            scope.add(output)
            # A chain of quick steps must not hold the loop from one end to the other.
            await asyncio.sleep(0)

    def _template(self, command: action_pb2.Command) -> CommandTemplate:
        key = command.SerializeToString(deterministic=True)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) >= _TEMPLATES_KEPT:
                self._templates.clear()
            template = self._templates[key] = compile_command(command)
        return template

    def _fail(self, result: action_pb2.ActionResult, error: OnexError, action: action_pb2.Action) -> str:
        error.correlation_id = error.correlation_id or action.correlation_id
        result.status = action_pb2.ACTION_STATUS_FAILED
        result.error.CopyFrom(to_proto(error, node_kind=self._parts.kind))
        log.info(
            "an action failed",
            action_id=action.action_id,
            step_id=action.step_id,
            workflow_id=action.workflow_id,
            correlation_id=error.correlation_id,
            reason=error.reason,
            why=error.message,
        )
        return error.reason

    def _refused(self, action: action_pb2.Action, error: OnexError) -> action_pb2.ActionResult:
        result = action_pb2.ActionResult(action_id=action.action_id, executed_by=self._parts.instance_id)
        self._parts.metrics.observe("action", 0.0, self._fail(result, error, action))
        if isinstance(error, CancelledError):
            result.status = action_pb2.ACTION_STATUS_CANCELLED
        return result


@dataclass(slots=True)
class _Stream:
    """What one Dispatch stream has under way and ready."""

    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    results: list[action_pb2.ActionResult] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    def put(self, result: action_pb2.ActionResult) -> None:
        """Adds a result to the next frame."""
        self.results.append(result)
        self.wake.set()

    def end(self) -> None:
        """No action comes any more; what is under way is still answered."""
        self.ended = True
        self.wake.set()

    async def ready_results(self) -> list[action_pb2.ActionResult]:
        """Waits for results and takes those that are there; none once the stream has ended."""
        while not self.results:
            if self.ended and not self.tasks:
                return []
            self.wake.clear()
            await self.wake.wait()
        taken, self.results = self.results[:FRAME_RESULTS_MAX], self.results[FRAME_RESULTS_MAX:]
        return taken


class _ChainScope:
    """What the links of a chain read: the context that came along, and what the links before returned."""

    def __init__(self, chain: action_pb2.CommandChain) -> None:
        fields = chain.context.fields
        self._input = common_pb2.Payload()
        if "input" in fields:
            self._input.json.CopyFrom(fields["input"])
        self._workflow = (
            {key: value.string_value for key, value in fields["workflow"].struct_value.fields.items()}
            if "workflow" in fields
            else {}
        )
        self._steps: dict[str, common_pb2.Payload] = {}
        self._statuses: dict[str, str] = {}
        steps: Mapping[str, object] = fields["steps"].struct_value.fields if "steps" in fields else {}
        for step_id in steps:
            given = fields["steps"].struct_value.fields[step_id].struct_value.fields
            if "output" in given:
                self._steps[step_id] = common_pb2.Payload(json=given["output"])
            if "status" in given:
                self._statuses[step_id] = given["status"].string_value

    def of(self, link: action_pb2.ChainLink) -> Scope:
        """The scope of one link."""
        return Scope(self._input, self._steps, link.parameters, self._workflow, self._statuses)

    def add(self, output: action_pb2.StepOutput) -> None:
        """Makes the output of a link readable for those after it."""
        if output.HasField("compute"):
            self._steps[output.step_id] = output.compute.processed_data
        else:
            self._steps[output.step_id] = output.reduction.aggregated_data


def _instant(stamp: Timestamp) -> float:
    return float(stamp.seconds) + stamp.nanos / 1e9


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))

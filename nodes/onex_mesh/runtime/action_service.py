"""ActionService: takes actions one by one or batched over a stream, checks them and has the node's executor do them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from onex.v1 import action_pb2, action_pb2_grpc
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.errors import OnexError, PayloadTooLargeError
from onex_mesh.runtime.execution import ActionParts, Execution, Executions
from onex_mesh.runtime.payload import NO_STORE

FRAME_RESULTS_MAX = 256
_FRAME_SHARE = 4
"""A frame is ended where it holds this fraction of the largest message."""
MESSAGE_OVERHEAD_BYTES = 64
"""What a message takes beside a result."""


class ActionServicer(action_pb2_grpc.ActionServiceServicer):
    """See the module.

    Args:
        parts: What executing actions takes.
        message_bytes_max: Largest message that may be sent.
    """

    def __init__(self, parts: ActionParts, *, message_bytes_max: int) -> None:
        self._validator = parts.validator
        self._executions = Executions(parts)
        self._advice = "" if parts.payloads.is_configured else f"; {NO_STORE}"
        self._result_bytes_max = message_bytes_max - MESSAGE_OVERHEAD_BYTES
        self._frame_bytes_max = message_bytes_max // _FRAME_SHARE
        self._streams: set[_Stream] = set()

    async def ExecuteAction(
        self, request: action_pb2.ExecuteActionRequest, context: CallContext
    ) -> action_pb2.ExecuteActionResponse:
        """Checks and executes one action; a refused one ends the call with a status."""
        await self._validator.validate(request.action, streamed=False)
        answer = _Answer()
        execution = self._executions.submit(request.action, answer, validated=True)
        try:
            result = await answer.result
            return action_pb2.ExecuteActionResponse(result=self._fitting(result, result.ByteSize()))
        except asyncio.CancelledError:
            self._executions.leave(execution, answer)
            raise

    async def Dispatch(
        self, request_iterator: AsyncIterator[action_pb2.DispatchRequest], context: CallContext
    ) -> AsyncIterator[action_pb2.DispatchResponse]:
        """Executes what comes, each action by itself; answers with whatever is ready."""
        stream = _Stream(self._frame_bytes_max, self._fitting)
        self._streams.add(stream)
        reader = asyncio.create_task(self._read(request_iterator, stream))
        reader.add_done_callback(stream.reader_done)
        try:
            while results := await stream.ready_results():
                yield action_pb2.DispatchResponse(results=results)
            if stream.failure is not None:
                raise stream.failure
        finally:
            self._streams.discard(stream)
            reader.cancel()
            for execution in stream.under_way():
                self._executions.leave(execution, stream)

    async def drain(self) -> None:
        """Returns when every action under way has ended."""
        await self._executions.wait_idle()

    async def stop(self) -> None:
        """Ends every stream once the results that are ready are sent, and stops what is still under way.

        Clients send elsewhere what was not answered.
        """
        for stream in self._streams:
            stream.close()
        await self._executions.abandon()

    async def _read(self, requests: AsyncIterator[action_pb2.DispatchRequest], stream: _Stream) -> None:
        async for frame in requests:
            for action in frame.actions:
                try:
                    execution = self._executions.submit(action, stream, validated=False)
                except OnexError as error:
                    stream.put(self._executions.refusal(action, error))
                else:
                    stream.add(execution)
            for action_id in frame.cancel_action_ids:
                self._executions.cancel(action_id)

    def _fitting(self, result: action_pb2.ActionResult, size_bytes: int) -> action_pb2.ActionResult:
        """The result, or a refusal in its place if no message can carry it: that would end the stream for all."""
        if size_bytes <= self._result_bytes_max:
            return result
        action = action_pb2.Action(action_id=result.action_id)
        text = f"the result has {size_bytes} bytes; a message carries at most {self._result_bytes_max}{self._advice}"
        return self._executions.refusal(action, PayloadTooLargeError(text))


class _Answer:
    """The result of a single call."""

    def __init__(self) -> None:
        self.result: asyncio.Future[action_pb2.ActionResult] = asyncio.get_running_loop().create_future()

    def put(self, result: action_pb2.ActionResult) -> None:
        """Takes the result."""
        if not self.result.done():
            self.result.set_result(result)

    def progress(self, result: action_pb2.ActionResult) -> None:
        """A single call has one answer, and that holds everything."""


class _Stream:
    """What one Dispatch stream has under way and ready.

    Args:
        frame_bytes_max: From this size on a frame takes no further result.
        fitting: Gives the result that is sent for one of the given size.
    """

    def __init__(
        self, frame_bytes_max: int, fitting: Callable[[action_pb2.ActionResult, int], action_pb2.ActionResult]
    ) -> None:
        self.failure: BaseException | None = None
        self._frame_bytes_max = frame_bytes_max
        self._fitting = fitting
        self._under_way: dict[str, Execution] = {}
        self._ready: deque[tuple[action_pb2.ActionResult, int]] = deque()
        self._wake = asyncio.Event()
        self._is_read = False
        self._is_closed = False

    def add(self, execution: Execution) -> None:
        """Waits for an action."""
        self._under_way[execution.action.action_id] = execution

    def put(self, result: action_pb2.ActionResult) -> None:
        """Adds a result to the next frame."""
        self._under_way.pop(result.action_id, None)
        size_bytes = result.ByteSize()
        fitting = self._fitting(result, size_bytes)
        self._ready.append((fitting, size_bytes if fitting is result else 0))
        self._wake.set()

    def progress(self, result: action_pb2.ActionResult) -> None:
        """Adds a report to the next frame; one that no message can carry is left to the result."""
        size_bytes = result.ByteSize()
        if self._fitting(result, size_bytes) is result:
            self._ready.append((result, size_bytes))
            self._wake.set()

    def under_way(self) -> list[Execution]:
        """The actions that it waits for."""
        return list(self._under_way.values())

    def close(self) -> None:
        """Waits for nothing any more; what is ready is still sent."""
        self._is_closed = True
        self._wake.set()

    def reader_done(self, reader: asyncio.Task[None]) -> None:
        """No action comes any more; what is under way is still answered."""
        if not reader.cancelled():
            self.failure = reader.exception()
        self._is_read = True
        self._wake.set()

    async def ready_results(self) -> list[action_pb2.ActionResult]:
        """Waits for results and takes those that go into one frame; none once the stream has ended."""
        while not self._ready:
            if self._is_closed or (self._is_read and not self._under_way):
                return []
            self._wake.clear()
            await self._wake.wait()
        ready, size_bytes = self._ready, 0
        taken: list[action_pb2.ActionResult] = []
        while ready and len(taken) < FRAME_RESULTS_MAX and size_bytes < self._frame_bytes_max:
            result, result_bytes = ready[0]
            if taken and size_bytes + result_bytes > self._frame_bytes_max:
                break
            ready.popleft()
            taken.append(result)
            size_bytes += result_bytes
        return taken

"""Links to single nodes: a Dispatch stream that batches both ways, or unary calls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import grpc
import structlog

from onex.v1 import action_pb2, action_pb2_grpc, node_pb2
from onex_mesh.orchestrator.core.records import instant
from onex_mesh.runtime import errors
from onex_mesh.runtime.channels import Channels

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    _DispatchCall: TypeAlias = grpc.aio.StreamStreamCall[action_pb2.DispatchRequest, action_pb2.DispatchResponse]

_BATCH_MAX = 256
_BATCH_BYTES_MAX = 1024 * 1024
"""Far below what a node accepts as a message (16 MiB by default)."""
_RECONNECT_S = 0.1
_RECONNECT_MAX_S = 2.0


class LinkOwner(Protocol):
    """Who a link reports to: the dispatcher."""

    def deliver(self, result: action_pb2.ActionResult) -> None:
        """Takes a result."""

    def progress(self, result: action_pb2.ActionResult) -> None:
        """Takes what a chain has done so far."""

    def reroute(self, action_ids: Iterable[str]) -> None:
        """Takes back what was not answered."""

    def link_restored(self) -> None:
        """Is told that a link works again."""

    def stream_refused(self, node: node_pb2.NodeInfo) -> None:
        """Is told that a node has no stream."""


class NodeLink(Protocol):
    """A way to one node."""

    usable: bool

    def send(self, action: action_pb2.Action) -> None:
        """Sends an action as soon as possible."""

    def cancel(self, action_id: str) -> None:
        """Tells the node to give an action up, if it was sent there."""

    def abandon(self) -> None:
        """The node is gone: hands back what it had not answered."""

    async def close(self) -> None:
        """Ends the link; what it had not answered is forgotten."""


class StreamLink:
    """A Dispatch stream. What is to be sent while a write is under way goes together in the next frame."""

    def __init__(self, node: node_pb2.NodeInfo, channels: Channels, owner: LinkOwner) -> None:
        self.usable = True
        self._node = node
        self._stub = action_pb2_grpc.ActionServiceStub(channels.get(node.address))
        self._owner = owner
        self._outgoing: list[action_pb2.Action] = []
        self._cancels: list[str] = []
        self._sent: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"link-{node.instance_id}")

    def send(self, action: action_pb2.Action) -> None:
        """Sends an action with the next frame."""
        self._outgoing.append(action)
        self._wake.set()

    def cancel(self, action_id: str) -> None:
        """Tells the node to give an action up with the next frame."""
        if action_id in self._sent:
            del self._sent[action_id]
            self._cancels.append(action_id)
            self._wake.set()
        else:
            self._outgoing = [action for action in self._outgoing if action.action_id != action_id]

    def abandon(self) -> None:
        """Ends the link and hands back what was not answered."""
        self.usable = False
        self._task.cancel()
        self._hand_back()

    async def close(self) -> None:
        """Ends the link."""
        self.usable = False
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _hand_back(self) -> None:
        unanswered = [*self._sent, *(action.action_id for action in self._outgoing)]
        self._sent.clear()
        self._outgoing.clear()
        self._cancels.clear()
        self._owner.reroute(unanswered)

    async def _run(self) -> None:
        wait_s = _RECONNECT_S
        while True:
            began = time.monotonic()
            try:
                await self._stream()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    self.usable = False
                    self._owner.stream_refused(self._node)
                    self._hand_back()
                    return
                log.info("lost the stream to a node", node=self._node.instance_id, code=error.code().name)
            except asyncio.InvalidStateError:
                # A write to a stream that ended a moment ago; grpc.aio says so in this way.
                log.info("lost the stream to a node", node=self._node.instance_id, code="CLOSED")
            self.usable = False
            self._hand_back()
            wait_s = _RECONNECT_S if time.monotonic() - began > _RECONNECT_MAX_S else min(wait_s * 2, _RECONNECT_MAX_S)
            await asyncio.sleep(wait_s)
            # The next attempt decides whether the node is back; until then others get the work where there are others.
            self.usable = True
            self._owner.link_restored()

    async def _stream(self) -> None:
        call = self._stub.Dispatch()
        reader = asyncio.create_task(self._read(call))
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            await self._write(call, reader)
        finally:
            reader.cancel()
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await reader

    async def _write(self, call: _DispatchCall, reader: asyncio.Task[None]) -> None:
        while True:
            if not self._outgoing and not self._cancels:
                self._wake.clear()
                await self._wake.wait()
            if reader.done():
                reader.result()
                return
            count = _fitting_count(self._outgoing)
            batch, self._outgoing = self._outgoing[:count], self._outgoing[count:]
            cancels, self._cancels = self._cancels, []
            for action in batch:
                self._sent[action.action_id] = None
            await call.write(action_pb2.DispatchRequest(actions=batch, cancel_action_ids=cancels))

    async def _read(self, call: _DispatchCall) -> None:
        sent = self._sent
        async for frame in call:
            for result in frame.results:
                if result.status == action_pb2.ACTION_STATUS_IN_PROGRESS:
                    if result.action_id in sent:
                        self._owner.progress(result)
                elif sent.pop(result.action_id, 0) is None:
                    self._owner.deliver(result)


def _fitting_count(waiting: Sequence[action_pb2.Action]) -> int:
    """How many of the waiting actions go into the next frame: at least one, bounded in number and bytes."""
    size = 0
    for count, action in enumerate(waiting[:_BATCH_MAX]):
        size += action.ByteSize()
        if size > _BATCH_BYTES_MAX:
            return max(count, 1)
    return min(len(waiting), _BATCH_MAX)


class UnaryLink:
    """One call per action: for nodes in languages that have no Dispatch stream."""

    def __init__(self, node: node_pb2.NodeInfo, channels: Channels, owner: LinkOwner) -> None:
        self.usable = True
        self._node = node
        self._stub = action_pb2_grpc.ActionServiceStub(channels.get(node.address))
        self._owner = owner
        self._calls: dict[str, asyncio.Task[None]] = {}

    def send(self, action: action_pb2.Action) -> None:
        """Calls the node."""
        task = asyncio.create_task(self._call(action), name=f"action-{action.action_id}")
        self._calls[action.action_id] = task
        task.add_done_callback(lambda _: self._calls.pop(action.action_id, None))

    def cancel(self, action_id: str) -> None:
        """Cancels the call."""
        task = self._calls.get(action_id)
        if task is not None:
            task.cancel()

    def abandon(self) -> None:
        """Cancels all calls and hands their actions back."""
        self.usable = False
        unanswered = list(self._calls)
        for task in self._calls.values():
            task.cancel()
        self._owner.reroute(unanswered)

    async def close(self) -> None:
        """Cancels all calls."""
        self.usable = False
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call(self, action: action_pb2.Action) -> None:
        timeout_s = max(instant(action.expires_at) - time.time(), 0.001)
        try:
            answer = await self._stub.ExecuteAction(action_pb2.ExecuteActionRequest(action=action), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and not error.trailing_metadata():
                await asyncio.sleep(_RECONNECT_S)
                self._owner.reroute([action.action_id])
                return
            failure = errors.from_rpc_error(error)
            self._owner.deliver(
                action_pb2.ActionResult(
                    action_id=action.action_id,
                    status=action_pb2.ACTION_STATUS_FAILED,
                    error=errors.to_proto(failure, node_kind=action.target_node),
                    executed_by=self._node.instance_id,
                )
            )
            return
        self._owner.deliver(answer.result)

"""Calls to orchestrators: any of them answers for any workflow, so one that is gone is replaced by the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import grpc

from onex.v1 import lease_pb2, node_pb2, orchestrator_pb2, workflow_pb2
from onex.v1.lease_pb2_grpc import LeaseServiceStub
from onex.v1.node_pb2_grpc import NodeServiceStub
from onex.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, from_rpc_error

if TYPE_CHECKING:
    from onex.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub

_MESSAGE_SIZE_MAX = 64 * 1024 * 1024
_ROUNDS = 3
_ROUND_PAUSE_S = 0.5
_WATCH_ROUNDS = 40
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", _MESSAGE_SIZE_MAX),
)

_Reply = TypeVar("_Reply")
_Call = Callable[[grpc.aio.Channel], Awaitable[_Reply]]


class MeshClient:
    """A client of the orchestrators at some addresses; use it as an async context manager.

    Args:
        addresses: host:port of each, at least one.
        timeout_s: Longest time for one call; watching has none.
    """

    def __init__(self, addresses: Sequence[str], *, timeout_s: float = 30.0) -> None:
        assert addresses
        self._addresses = list(addresses)
        self._timeout_s = timeout_s
        self._channel = self._open()

    async def __aenter__(self) -> MeshClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._channel.close()

    @property
    def address(self) -> str:
        """The orchestrator that is asked now."""
        return self._addresses[0]

    async def start(self, contract: workflow_pb2.OrchestratorContract) -> orchestrator_pb2.StartWorkflowResponse:
        """Starts a workflow; safe to repeat, because its id and contract decide."""
        request = orchestrator_pb2.StartWorkflowRequest(contract=contract)
        return await self._call(
            lambda channel: self._orchestrator(channel).StartWorkflow(request, timeout=self._timeout_s)
        )

    async def get(self, workflow_id: str) -> workflow_pb2.Workflow:
        """The workflow with what is known so far."""
        request = orchestrator_pb2.GetWorkflowRequest(workflow_id=workflow_id)
        reply = await self._call(
            lambda channel: self._orchestrator(channel).GetWorkflow(request, timeout=self._timeout_s)
        )
        return reply.workflow

    async def list(self, request: orchestrator_pb2.ListWorkflowsRequest) -> orchestrator_pb2.ListWorkflowsResponse:
        """One page of workflows."""
        return await self._call(
            lambda channel: self._orchestrator(channel).ListWorkflows(request, timeout=self._timeout_s)
        )

    async def history(self, request: orchestrator_pb2.GetHistoryRequest) -> orchestrator_pb2.GetHistoryResponse:
        """One page of the commits of a workflow."""
        return await self._call(
            lambda channel: self._orchestrator(channel).GetHistory(request, timeout=self._timeout_s)
        )

    async def nodes(self, request: node_pb2.ListNodesRequest) -> Sequence[node_pb2.NodeInfo]:
        """The nodes that the orchestrator sees."""
        reply = await self._call(lambda channel: NodeServiceStub(channel).ListNodes(request, timeout=self._timeout_s))
        return list(reply.nodes)

    async def lease(self, workflow_id: str) -> lease_pb2.Lease:
        """Who holds the workflow."""
        request = lease_pb2.GetLeaseRequest(workflow_id=workflow_id)
        reply = await self._call(lambda channel: LeaseServiceStub(channel).GetLease(request, timeout=self._timeout_s))
        return reply.lease

    async def watch(
        self, workflow_id: str, *, after_epoch: int = 0
    ) -> AsyncIterator[orchestrator_pb2.WatchWorkflowResponse]:
        """Each epoch of a workflow, once, until it ends; goes on at another orchestrator where one is lost."""
        failures = 0
        while True:
            request = orchestrator_pb2.WatchWorkflowRequest(workflow_id=workflow_id, after_epoch=after_epoch)
            try:
                async for update in self._orchestrator(self._channel).WatchWorkflow(request):
                    failures = 0
                    after_epoch = update.epoch
                    yield update
                    if update.HasField("result"):
                        return
                return
            except grpc.aio.AioRpcError as raw:
                error = from_rpc_error(raw)
                failures += 1
                if not _is_gone(raw) or failures > _WATCH_ROUNDS:
                    raise self._described(error, raw) from raw
                await self._next_address()
                await asyncio.sleep(_ROUND_PAUSE_S)

    async def _call(self, call: _Call[_Reply]) -> _Reply:
        tries = _ROUNDS if len(self._addresses) == 1 else _ROUNDS * len(self._addresses)
        for attempt in range(1, tries + 1):
            try:
                return await call(self._channel)
            except grpc.aio.AioRpcError as raw:
                error = from_rpc_error(raw)
                # One that is overloaded or about to stop refuses; another may not.
                if not (_is_gone(raw) or error.reason == "OVERLOADED") or attempt == tries:
                    raise self._described(error, raw) from raw
                await self._next_address()
                if attempt % len(self._addresses) == 0:
                    await asyncio.sleep(_ROUND_PAUSE_S)
        raise AssertionError("unreachable")

    def _described(self, error: OnexError, raw: grpc.aio.AioRpcError) -> OnexError:
        """The error as the mesh gave it; where it is the transport's, with the address that was asked."""
        if _is_gone(raw):
            return DependencyResolutionError(f"no orchestrator answers at {', '.join(sorted(self._addresses))}")
        return error

    async def _next_address(self) -> None:
        await self._channel.close()
        self._addresses.append(self._addresses.pop(0))
        self._channel = self._open()

    def _open(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._addresses[0], options=_CHANNEL_OPTIONS)

    @staticmethod
    def _orchestrator(channel: grpc.aio.Channel) -> OrchestratorServiceAsyncStub:
        return OrchestratorServiceStub(channel)


def _is_gone(error: grpc.aio.AioRpcError) -> bool:
    """Whether the orchestrator itself did not answer, as opposed to answering that something else is unavailable."""
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return False
    return not any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())

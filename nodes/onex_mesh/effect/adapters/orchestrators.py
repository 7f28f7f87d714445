"""The orchestrators of the mesh, as a node that hands work to them sees them: one after the other until one commits."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import grpc
import structlog

from onex.v1 import node_pb2, orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_mesh.effect.core.event_mapping import EVENT_ID, EVENT_SOURCE, Order
from onex_mesh.runtime.channels import Channels
from onex_mesh.runtime.errors import (
    DependencyResolutionError,
    OnexError,
    PayloadTooLargeError,
    WorkflowExistsError,
    from_rpc_error,
)
from onex_mesh.runtime.interceptors import CORRELATION_KEY
from onex_mesh.runtime.node import DRAINING

log = structlog.get_logger(__name__)

T = TypeVar("T")
_Stub: TypeAlias = "orchestrator_pb2_grpc.OrchestratorServiceAsyncStub"

_ENVELOPE_BYTES = 1_024
_AVOIDED_S = 2.0
"""How long one that did not answer comes last."""
# What another orchestrator may do all the same: one did not answer in time, or is of an older version.
_ELSEWHERE = frozenset({"ACTION_EXPIRED", "CANCELLED", "UNIMPLEMENTED", "INTERNAL"})


class OrchestratorCalls:
    """See `onex_mesh.effect.core.message_ports.Orchestrators`.

    Args:
        nodes: The orchestrators that are registered now.
        channels: Connections to them; closed by whoever made them.
        order_bytes_max: Largest message that they take.
    """

    def __init__(
        self,
        nodes: Callable[[], list[node_pb2.NodeInfo]],
        channels: Channels,
        *,
        order_bytes_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._channels = channels
        self._order_bytes_max = order_bytes_max - _ENVELOPE_BYTES
        self._clock = clock
        self._avoided: dict[str, float] = {}
        self._turn = 0

    async def commit(self, order: Order, *, correlation_id: str, timeout_s: float) -> bool:
        """Has an order committed; False if it had been before."""
        if order.ByteSize() > self._order_bytes_max:
            # gRPC would say that the resource is exhausted, as if it could be tried again.
            raise PayloadTooLargeError(
                f"the order comes to {order.ByteSize()} bytes; orchestrators take no such message"
            )
        if isinstance(order, workflow_pb2.OrchestratorContract):
            return await self._start(order, correlation_id, timeout_s)
        signal = await self._by_any(
            lambda stub, metadata: stub.SignalWorkflow(order, timeout=timeout_s, metadata=metadata), correlation_id
        )
        return signal.accepted

    async def _start(self, contract: workflow_pb2.OrchestratorContract, correlation_id: str, timeout_s: float) -> bool:
        request = orchestrator_pb2.StartWorkflowRequest(contract=contract)
        try:
            started = await self._by_any(
                lambda stub, metadata: stub.StartWorkflow(request, timeout=timeout_s, metadata=metadata),
                correlation_id,
            )
        except WorkflowExistsError:
            # Its definition may have changed between two deliveries: what counts is the event that it stems from.
            if await self._stems_from_the_same_event(contract, correlation_id, timeout_s):
                return False
            raise
        return started.created

    async def _stems_from_the_same_event(
        self, contract: workflow_pb2.OrchestratorContract, correlation_id: str, timeout_s: float
    ) -> bool:
        request = orchestrator_pb2.GetHistoryRequest(workflow_id=contract.workflow_id, page_size=1)
        history = await self._by_any(
            lambda stub, metadata: stub.GetHistory(request, timeout=timeout_s, metadata=metadata), correlation_id
        )
        if not history.commits:
            return False
        known = history.commits[0].contract.metadata
        return all(known.get(name) == contract.metadata[name] for name in (EVENT_SOURCE, EVENT_ID))

    async def _by_any(
        self, call: Callable[[_Stub, tuple[tuple[str, str], ...]], Awaitable[T]], correlation_id: str
    ) -> T:
        """The answer of the first orchestrator that has one.

        Raises:
            OnexError: None has; how the last one failed.
        """
        candidates = self._candidates()
        if not candidates:
            raise DependencyResolutionError("no orchestrator is registered")
        metadata = ((CORRELATION_KEY, _as_header(correlation_id)),)
        failure: OnexError | None = None
        for node in candidates:
            stub: _Stub = orchestrator_pb2_grpc.OrchestratorServiceStub(self._channels.get(node.address))
            try:
                return await call(stub, metadata)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                if not failure.retryable and failure.reason not in _ELSEWHERE:
                    raise failure from error
                self._avoided[node.instance_id] = self._clock() + _AVOIDED_S
                log.info(
                    "an orchestrator did not take an order",
                    orchestrator=node.instance_id,
                    reason=failure.reason,
                    why=failure.message,
                    correlation_id=correlation_id,
                )
        assert failure is not None
        raise failure

    def _candidates(self) -> list[node_pb2.NodeInfo]:
        """Those that are not about to stop, in turn; those that failed lately come last."""
        nodes = [node for node in self._nodes() if DRAINING not in node.capabilities]
        now = self._clock()
        self._avoided = {name: until for name, until in self._avoided.items() if until > now}
        if not nodes:
            return []
        self._turn = (self._turn + 1) % len(nodes)
        turned = nodes[self._turn :] + nodes[: self._turn]
        return sorted(turned, key=lambda node: node.instance_id in self._avoided)


def _as_header(text: str) -> str:
    """What a header can carry: visible ASCII, and not too long."""
    return "".join(char if "!" <= char <= "~" else "?" for char in text)[:128]

"""Sends actions to nodes: over one batched Dispatch stream per node, or by unary calls where a node has no stream.

An action belongs to the dispatcher until its result is back or it expires. A node that goes away loses nothing: what it
had not answered goes to another node of its kind. That is safe because pure actions have no effect and effects carry
idempotency keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from onex.v1 import action_pb2, common_pb2, node_pb2
from onex_lease import LiveView
from onex_mesh.orchestrator.adapters.link import NodeLink, StreamLink, UnaryLink
from onex_mesh.orchestrator.core.records import instant
from onex_mesh.orchestrator.core.routing import fitting, needs_of
from onex_mesh.orchestrator.ports import OnResult
from onex_mesh.runtime import errors
from onex_mesh.runtime.channels import Channels

log = structlog.get_logger(__name__)

_SWEEP_S = 0.25
_ROUTES_KEPT = 4_096
_GRACE_S = 1.0
"""How much longer than the action's own expiry the answer that says so is waited for."""


@dataclass(slots=True)
class Pending:
    """An action on its way."""

    action: action_pb2.Action
    service_name: str
    on_result: OnResult
    gives_up_at: float
    """When nobody waits for it any more, on the monotonic clock."""


class Dispatcher:
    """See `onex_mesh.orchestrator.ports.ActionDispatcher`."""

    def __init__(self, view: LiveView, channels: Channels) -> None:
        self._view = view
        self._channels = channels
        self._pending: dict[str, Pending] = {}
        self._parked: dict[str, None] = {}
        self._links: dict[str, NodeLink] = {}
        self._routes: dict[tuple[int, str, frozenset[str]], list[NodeLink]] = {}
        self._turn = 0
        self._sweeper: asyncio.Task[None] | None = None
        view.on_nodes_changed(self._nodes_changed)

    async def start(self) -> None:
        """Begins to watch for expired actions."""
        self._nodes_changed()
        self._sweeper = asyncio.create_task(self._sweep(), name="dispatcher-sweep")

    async def close(self) -> None:
        """Ends every link. Actions on their way are forgotten: their workflows are somebody else's now."""
        self._pending.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for link in list(self._links.values()):
            await link.close()
        self._links.clear()

    def submit(self, action: action_pb2.Action, service_name: str, on_result: OnResult) -> None:
        """Sends an action; see the port."""
        gives_up_at = time.monotonic() + max(instant(action.expires_at) - time.time(), 0.0) + _GRACE_S
        self._pending[action.action_id] = Pending(action, service_name, on_result, gives_up_at)
        self._route(action.action_id, action, service_name)

    def cancel(self, action_id: str) -> None:
        """Gives an action up; see the port."""
        pending = self._pending.pop(action_id, None)
        self._parked.pop(action_id, None)
        if pending is not None:
            for link in self._links.values():
                link.cancel(action_id)

    def forget(self, action_id: str) -> None:
        """Lets go of an action; see the port."""
        self._pending.pop(action_id, None)
        self._parked.pop(action_id, None)

    def deliver(self, result: action_pb2.ActionResult) -> None:
        """Takes a result from a link. One that nobody waits for any more is dropped."""
        pending = self._pending.pop(result.action_id, None)
        if pending is not None:
            pending.on_result(result)

    def progress(self, result: action_pb2.ActionResult) -> None:
        """Takes from a link what a chain has done so far; its result is still to come."""
        pending = self._pending.get(result.action_id)
        if pending is not None:
            pending.on_result(result)

    def reroute(self, action_ids: Iterable[str]) -> None:
        """Takes back what a lost link had not answered and sends it elsewhere."""
        for action_id in action_ids:
            pending = self._pending.get(action_id)
            if pending is not None:
                self._route(action_id, pending.action, pending.service_name)

    def _route(self, action_id: str, action: action_pb2.Action, service_name: str) -> None:
        links = self._candidates(action.target_node, service_name, needs_of(action.command_payload))
        if not links:
            self._parked[action_id] = None
            return
        self._turn += 1
        links[self._turn % len(links)].send(action)

    def _candidates(self, kind: common_pb2.NodeKind, service_name: str, needs: frozenset[str]) -> list[NodeLink]:
        key = (kind, service_name, needs)
        links = self._routes.get(key)
        if links is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            chosen = fitting(self._view.nodes(kind), service_name, needs)
            links = self._routes[key] = [self._link(node) for node in chosen]
        return [link for link in links if link.usable]

    def _link(self, node: node_pb2.NodeInfo) -> NodeLink:
        link = self._links.get(node.instance_id)
        if link is None:
            make = StreamLink if "dispatch" in node.capabilities else UnaryLink
            link = self._links[node.instance_id] = make(node, self._channels, self)
        return link

    def link_restored(self) -> None:
        """A link works again: what waits for a node may go."""
        self._unpark()

    def stream_refused(self, node: node_pb2.NodeInfo) -> None:
        """A node said that it has no Dispatch stream: it gets unary calls from now on."""
        log.info("node has no Dispatch stream, using unary calls", node=node.instance_id)
        self._links[node.instance_id] = UnaryLink(node, self._channels, self)
        self._routes.clear()
        self._unpark()

    def _nodes_changed(self) -> None:
        self._routes.clear()
        alive = {node.instance_id for node in self._view.nodes()}
        for instance_id in [name for name in self._links if name not in alive]:
            self._links.pop(instance_id).abandon()
        self._unpark()

    def _unpark(self) -> None:
        parked, self._parked = self._parked, {}
        self.reroute(parked)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for action_id in [name for name, pending in self._pending.items() if pending.gives_up_at <= now]:
                self._expire(action_id)

    def _expire(self, action_id: str) -> None:
        pending = self._pending[action_id]
        kind = common_pb2.NodeKind.Name(pending.action.target_node).removeprefix("NODE_KIND_").lower()
        error: errors.OnexError
        if action_id in self._parked:
            service = f" of the service {pending.service_name!r}" if pending.service_name else ""
            error = errors.DependencyResolutionError(f"no {kind} node{service} was there in time")
        else:
            error = errors.ActionExpiredError(f"the {kind} node did not answer in time")
        error.correlation_id = pending.action.correlation_id
        message = errors.to_proto(error, node_kind=common_pb2.NODE_KIND_ORCHESTRATOR)
        on_result = pending.on_result
        self.cancel(action_id)
        on_result(action_pb2.ActionResult(action_id=action_id, status=action_pb2.ACTION_STATUS_FAILED, error=message))

"""The ORCHESTRATOR node: wires engine, dispatcher and services together."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from onex.v1 import (
    common_pb2,
    definition_pb2_grpc,
    event_pb2_grpc,
    lease_pb2_grpc,
    node_pb2,
    orchestrator_pb2_grpc,
)
from onex_lease import ExternalLeases
from onex_mesh.orchestrator.adapters.dispatcher import Dispatcher
from onex_mesh.orchestrator.adapters.health_monitor import GrpcHealthMonitor
from onex_mesh.orchestrator.adapters.preview import Previews
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.orchestrator.engine import Engine, EngineParts
from onex_mesh.orchestrator.lease_servicer import LeaseServicer
from onex_mesh.orchestrator.servicer import OrchestratorServicer
from onex_mesh.orchestrator.unbuilt import DefinitionServicer, EventServicer
from onex_mesh.runtime import errors
from onex_mesh.runtime.channels import Channels
from onex_mesh.runtime.mesh import Mesh


class OrchestratorNode:
    """See `onex_mesh.runtime.node.Node`."""

    kind = common_pb2.NODE_KIND_ORCHESTRATOR

    def __init__(self, registry: WorkflowRegistry, version: str = "0", service_name: str = "orchestrator") -> None:
        self.version = version
        self.service_name = service_name
        self._registry = registry
        self._mesh: Mesh | None = None
        self._channels: Channels | None = None
        self._dispatcher: Dispatcher | None = None
        self._engine: Engine | None = None

    def capabilities(self) -> Sequence[str]:
        """The workflows that it knows by name."""
        return [f"workflow:{name}" for name in self._registry.names()]

    def executor(self) -> None:
        """None: an orchestrator issues actions, it takes none."""

    async def start(self, mesh: Mesh) -> None:
        """Begins to take workflows over."""
        channels = Channels(mesh.settings)
        dispatcher = Dispatcher(mesh.view, channels)
        engine = Engine(
            EngineParts(
                registry=self._registry,
                journal=mesh.journal,
                view=mesh.view,
                dispatcher=dispatcher,
                health=GrpcHealthMonitor(channels),
                session=lambda: mesh.session,
                instance_id=mesh.node.instance_id,
                address=mesh.node.address,
                payloads=mesh.payloads,
            )
        )
        self._mesh, self._channels, self._dispatcher, self._engine = mesh, channels, dispatcher, engine
        await dispatcher.start()
        await engine.start_serving()

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds the orchestrator's services; called once it is started."""
        if self._engine is None or self._mesh is None or self._channels is None:
            raise errors.InternalError("the node is not started")
        mesh = self._mesh
        previews = Previews(mesh.journal, mesh.view, self._channels)
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(
            OrchestratorServicer(self._engine, mesh.journal, mesh.view, previews), server
        )
        lease_pb2_grpc.add_LeaseServiceServicer_to_server(
            LeaseServicer(ExternalLeases(mesh.client, mesh.keys, mesh.journal)), server
        )
        definition_pb2_grpc.add_DefinitionServiceServicer_to_server(DefinitionServicer(), server)
        event_pb2_grpc.add_EventServiceServicer_to_server(EventServicer(), server)
        return [
            "onex.v1.OrchestratorService",
            "onex.v1.LeaseService",
            "onex.v1.DefinitionService",
            "onex.v1.EventService",
        ]

    async def session_lost(self) -> None:
        """The workflows that ran under the session are not ours any more."""
        if self._engine is not None:
            await self._engine.let_go()

    async def drain(self) -> None:
        """Takes no new workflow and waits until those under way have ended."""
        if self._engine is not None:
            await self._engine.drain()

    async def stop(self) -> None:
        """Lets go of what is still under way; it goes on elsewhere once the session is revoked."""
        if self._engine is not None:
            await self._engine.close()
        if self._dispatcher is not None:
            await self._dispatcher.close()
        if self._channels is not None:
            await self._channels.close()

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """Nothing beyond etcd, which the runtime checks."""
        return []

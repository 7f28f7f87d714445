"""The REDUCER node: wires registry, reductions and services together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import grpc

from onex.v1 import common_pb2, node_pb2, reducer_pb2_grpc
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.core.guard import install
from onex_mesh.reducer.core.registry import ReducerRegistry
from onex_mesh.reducer.kept import KeptReductions
from onex_mesh.reducer.reduction import Reductions
from onex_mesh.reducer.servicer import ReducerExecutor, ReducerServicer
from onex_mesh.runtime.errors import InternalError
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.payload_store import FsspecPayloads, PayloadStore


class ReducerNode:
    """See `onex_mesh.runtime.node.Node`.

    Args:
        registry: Reducers of the application.
        version: Version of the application.
        service_name: Name under which workflows depend on it.
    """

    kind = common_pb2.NODE_KIND_REDUCER

    def __init__(self, registry: ReducerRegistry, version: str = "0", service_name: str = "reducer") -> None:
        self.version = version
        self.service_name = service_name
        self._registry = registry
        self._reductions: Reductions | None = None
        self._mesh: Mesh | None = None
        self._backups: PayloadStore | None = None

    def capabilities(self) -> Sequence[str]:
        """Its reducers."""
        return [f"reducer:{name}" for name in self._registry.names()]

    def executor(self) -> ReducerExecutor:
        """Executes the reductions of actions, once it is started."""
        return ReducerExecutor(self._started())

    async def start(self, mesh: Mesh) -> None:
        """Begins to watch what transitions touch; in development they run twice and are compared."""
        install()
        self._reductions = Reductions(self._registry, development=mesh.settings.development)
        self._mesh = mesh
        if mesh.settings.payload_store:
            self._backups = FsspecPayloads(mesh.settings.payload_store)

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds ReducerService; called once it is started."""
        reductions, mesh = self._started(), self._mesh
        if mesh is None:
            raise InternalError("the node is not started")
        kept = KeptReductions(reductions, EtcdStates(mesh.client, mesh.keys), _now, self._backups)
        servicer = ReducerServicer(reductions, kept, self._registry, _now, mesh.payloads)
        reducer_pb2_grpc.add_ReducerServiceServicer_to_server(servicer, server)
        return ["onex.v1.ReducerService"]

    async def session_lost(self) -> None:
        """Pure work may go on: its result can only enter a workflow by a commit."""

    async def drain(self) -> None:
        """Calls and actions under way are waited for by the runtime."""

    async def stop(self) -> None:
        """It holds nothing open."""

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """It depends on nothing."""
        return []

    def _started(self) -> Reductions:
        if self._reductions is None:
            raise InternalError("the node is not started")
        return self._reductions


def _now() -> datetime:
    return datetime.now(UTC)

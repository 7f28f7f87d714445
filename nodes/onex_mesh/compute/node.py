"""The COMPUTE node: wires registry, engine and services together."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from onex.v1 import common_pb2, compute_pb2_grpc, node_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.compute.servicer import ComputeExecutor, ComputeServicer
from onex_mesh.runtime.errors import InternalError
from onex_mesh.runtime.mesh import Mesh


class ComputeNode:
    """See `onex_mesh.runtime.node.Node`.

    Args:
        registry: Algorithms of the application; the built-in ones are added to it.
        version: Version of the application.
        service_name: Name under which workflows depend on it.
        workers: Most workers of one computation. Default: one per core.
        memory_bytes_max: Most memory of a task. Default: half of the machine's, shared by the workers.
        dask_scheduler: Address of a Dask scheduler. Default: none.
    """

    kind = common_pb2.NODE_KIND_COMPUTE

    def __init__(
        self,
        registry: AlgorithmRegistry,
        version: str = "0",
        service_name: str = "compute",
        *,
        workers: int = 0,
        memory_bytes_max: int = 0,
        dask_scheduler: str = "",
    ) -> None:
        self.version = version
        self.service_name = service_name
        self._registry = with_builtins(registry)
        self._workers = LocalWorkers(workers, memory_bytes_max, dask_scheduler)
        self._engine = ComputeEngine(self._registry, self._workers)
        self._mesh: Mesh | None = None

    def capabilities(self) -> Sequence[str]:
        """Its algorithms."""
        return [f"algorithm:{name}" for name in self._registry.names()]

    def executor(self) -> ComputeExecutor:
        """Executes the computations of actions."""
        return ComputeExecutor(self._engine)

    async def start(self, mesh: Mesh) -> None:
        """Workers start with their first use."""
        self._mesh = mesh

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds ComputeService; called once it is started."""
        if self._mesh is None:
            raise InternalError("the node is not started")
        servicer = ComputeServicer(self._engine, self._registry, self._mesh.payloads)
        compute_pb2_grpc.add_ComputeServiceServicer_to_server(servicer, server)
        return ["onex.v1.ComputeService"]

    async def session_lost(self) -> None:
        """Pure work may go on: its result can only enter a workflow by a commit."""

    async def drain(self) -> None:
        """Calls and actions under way are waited for by the runtime."""

    async def stop(self) -> None:
        """Ends the workers."""
        self._workers.close()

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """It depends on nothing."""
        return []

"""The processes of a mesh on this machine: etcd first, then the nodes; stopped the other way round."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import grpc

from onex.v1 import common_pb2, node_pb2
from onex.v1.node_pb2_grpc import NodeServiceStub
from onex_lease import EmbeddedEtcd
from onex_mesh.cli.dev.child import Child
from onex_mesh.cli.dev.ports import NodePorts, PortChooser
from onex_mesh.cli.ready_file import Ready, ReadyNode
from onex_mesh.runtime.errors import DependencyResolutionError
from onex_mesh.runtime.settings import PORTS

KINDS: Mapping[str, common_pb2.NodeKind] = {
    "effect": common_pb2.NODE_KIND_EFFECT,
    "compute": common_pb2.NODE_KIND_COMPUTE,
    "reducer": common_pb2.NODE_KIND_REDUCER,
    "orchestrator": common_pb2.NODE_KIND_ORCHESTRATOR,
}
_READY_TIMEOUT_S = 60.0
_SEEN_TIMEOUT_S = 15.0
_STOP_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """What a mesh is started with."""

    data_dir: Path
    """etcd's data, logs and what else the processes leave."""
    app: str = ""
    """module:attribute of the App; empty for none."""
    app_dir: Path = field(default_factory=Path)
    """Where the module is found."""
    targets: Path | None = None
    """The targets of the effect node; None for none."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many processes of a kind; 1 of each that is not named, 0 for none."""
    standard_ports: bool = False
    """Try 50051 to 50054 first."""
    etcd_fsync: bool = True
    namespace: str = "default"
    drain_s: float = 20.0
    settings: Mapping[str, str] = field(default_factory=dict)
    """More settings of the nodes, as environment variables."""


@dataclass(slots=True)
class MeshNode:
    """A node process and where it serves."""

    kind: str
    index: int
    ports: NodePorts
    child: Child

    @property
    def name(self) -> str:
        """Its name, such as "orchestrator-1"."""
        return self.child.name

    @property
    def address(self) -> str:
        """host:port of its services."""
        return f"127.0.0.1:{self.ports.service}"


class ProcessMesh:
    """An embedded etcd and node processes; use it as an async context manager."""

    def __init__(self, options: MeshOptions) -> None:
        self.options = options
        self.etcd: EmbeddedEtcd | None = None
        chooser = PortChooser()
        self.nodes: list[MeshNode] = [
            self._node(kind, index, chooser) for kind in KINDS for index in range(1, options.counts.get(kind, 1) + 1)
        ]

    async def __aenter__(self) -> ProcessMesh:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def of_kind(self, kind: str) -> list[MeshNode]:
        """The nodes of a kind, by index."""
        return [node for node in self.nodes if node.kind == kind]

    @property
    def endpoint(self) -> str:
        """host:port of etcd."""
        assert self.etcd is not None
        return self.etcd.endpoint

    def ready(self) -> Ready:
        """What the ready file of this mesh says."""
        return Ready(
            pid=os.getpid(),
            etcd=self.endpoint,
            namespace=self.options.namespace,
            data_dir=str(self.options.data_dir.resolve()),
            nodes=tuple(
                ReadyNode(
                    kind=node.kind,
                    address=node.address,
                    pid=node.child.pid,
                    instance_id=node.child.instance_id,
                    health_address=f"127.0.0.1:{node.ports.health}",
                    metrics_address=f"127.0.0.1:{node.ports.metrics}",
                )
                for node in self.nodes
            ),
        )

    async def start(self) -> None:
        """Starts everything; returns once all nodes serve and the orchestrators see them.

        Raises:
            ChildFailedError: A node did not come up.
            EtcdUnavailableError: etcd did not come up.
        """
        self.etcd = await EmbeddedEtcd.start(data_dir=self.options.data_dir / "etcd", fsync=self.options.etcd_fsync)
        await self.start_nodes()

    async def start_nodes(self) -> None:
        """Starts all nodes; see `start`."""
        for node in self.nodes:
            node.child.arguments = self._arguments(node)
            await node.child.start()
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Returns once all nodes serve and the orchestrators see them; see `start`."""
        await asyncio.gather(*(node.child.wait_ready(_READY_TIMEOUT_S) for node in self.nodes))
        try:
            async with asyncio.timeout(_SEEN_TIMEOUT_S):
                await asyncio.gather(*(self._sees_all(node.address) for node in self.of_kind("orchestrator")))
        except TimeoutError as error:
            raise DependencyResolutionError("the orchestrators do not see all nodes in the registry") from error

    async def stop(self) -> None:
        """Stops the orchestrators, then the other nodes, then etcd; nothing is left running."""
        try:
            await self.stop_nodes()
        finally:
            if self.etcd is not None:
                await self.etcd.stop()
                self.etcd = None

    async def stop_nodes(self) -> None:
        """Stops the orchestrators, which finish or hand over what they own, then the other nodes."""
        timeout_s = self.options.drain_s + _STOP_MARGIN_S
        orchestrators = self.of_kind("orchestrator")
        others = [node for node in self.nodes if node.kind != "orchestrator"]
        try:
            for group in (orchestrators, others):
                await asyncio.gather(*(node.child.stop(timeout_s) for node in group))
        finally:
            self.kill_nodes()

    def kill_nodes(self) -> None:
        """Ends every node process at once."""
        for node in self.nodes:
            node.child.kill()

    async def _sees_all(self, address: str) -> None:
        wanted = {node.child.instance_id for node in self.nodes}
        async with grpc.aio.insecure_channel(address) as channel:
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    reply = await NodeServiceStub(channel).ListNodes(node_pb2.ListNodesRequest(), timeout=5.0)
                    if wanted <= {node.instance_id for node in reply.nodes}:
                        return
                await asyncio.sleep(0.05)

    def _node(self, kind: str, index: int, chooser: PortChooser) -> MeshNode:
        name = f"{kind}-{index}"
        wanted = chooser.preferred(PORTS[KINDS[kind]]) if self.options.standard_ports and index == 1 else None
        child = Child(
            name=name,
            arguments=(),
            log_path=self.options.data_dir / "logs" / f"{name}.log",
            ready_path=self.options.data_dir / "run" / f"{name}.json",
            environment=dict(self.options.settings),
        )
        return MeshNode(kind=kind, index=index, ports=wanted or chooser.free(), child=child)

    def _arguments(self, node: MeshNode) -> Sequence[str]:
        options = self.options
        arguments = ["serve", node.kind, "--etcd", self.endpoint, "--namespace", options.namespace]
        arguments += ["--port", str(node.ports.service), "--health-port", str(node.ports.health)]
        arguments += ["--metrics-port", str(node.ports.metrics), "--drain-s", str(options.drain_s)]
        if options.app:
            arguments += ["--app", options.app, "--app-dir", str(options.app_dir.resolve())]
        if node.kind == "effect" and options.targets is not None:
            arguments += ["--targets", str(options.targets.resolve())]
        return arguments

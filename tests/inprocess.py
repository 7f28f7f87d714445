"""Nodes in the test's own process: real servers on free loopback ports, a real etcd, and quick to start.

For what needs a process of its own (kill -9, SIGTERM) there is tests/mesh.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

import grpc

from onex.v1 import action_pb2, common_pb2, compute_pb2, effect_pb2, node_pb2, orchestrator_pb2_grpc, reducer_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.orchestrator.node import OrchestratorNode
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.node import Node
from onex_mesh.runtime.serving import NodeServer
from onex_mesh.runtime.settings import NodeSettings

Behaviour = Callable[[action_pb2.Command, CommandContext], Awaitable[action_pb2.StepOutput]]


async def echo(command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
    """Returns what it was given: an effect its parameters, a computation its input, a reduction its payload."""
    match command.WhichOneof("command"):
        case "effect":
            payload = common_pb2.Payload()
            payload.json.struct_value.CopyFrom(command.effect.io_operation_config.parameters)
            return action_pb2.StepOutput(effect=effect_pb2.EffectOutput(operation_result=payload))
        case "compute":
            output = compute_pb2.ComputeOutput(processed_data=command.compute.input_data)
            return action_pb2.StepOutput(compute=output)
        case _:
            reduction = reducer_pb2.ReducerOutput(aggregated_data=command.reduction.fsm_action.payload)
            return action_pb2.StepOutput(reduction=reduction)


class ScriptedNode:
    """A node whose executor is the test's own function; everything around it is real."""

    def __init__(self, kind: common_pb2.NodeKind, behaviour: Behaviour = echo, version: str = "1.0.0") -> None:
        self.kind = kind
        self.version = version
        self.service_name = common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_").lower()
        self.behaviour = behaviour
        self.sessions_lost = 0

    def capabilities(self) -> Sequence[str]:
        """Nothing of its own."""
        return []

    def executor(self) -> ScriptedNode:
        """Itself."""
        return self

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Calls the test's function."""
        return await self.behaviour(command, context)

    async def start(self, mesh: Mesh) -> None:
        """Needs nothing."""

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Has none."""
        return []

    async def session_lost(self) -> None:
        """Counts."""
        self.sessions_lost += 1

    async def drain(self) -> None:
        """Has nothing of its own under way."""

    async def stop(self) -> None:
        """Has opened nothing."""

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """Depends on nothing."""
        return []


class InProcessMesh:
    """Nodes on one etcd and namespace; leaving the context stops them all."""

    def __init__(self, etcd: EmbeddedEtcd, keys: Keyspace, *, ttl_s: float = 3.0) -> None:
        self._settings = NodeSettings(
            port=0, etcd=etcd.endpoint, namespace=keys.namespace, ttl_s=ttl_s, log_level="error", drain_s=1.0
        )
        self._servers: list[NodeServer] = []
        self._channels: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> InProcessMesh:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*(server.stop() for server in reversed(self._servers)))

    async def add(self, node: Node, **settings: object) -> NodeServer:
        """Starts a node; `settings` change those of the mesh."""
        server = NodeServer(node, self._settings.model_copy(update=settings))
        await server.start()
        self._servers.append(server)
        return server

    async def add_orchestrator(self, registry: WorkflowRegistry | None = None, **settings: object) -> NodeServer:
        """Starts an orchestrator."""
        return await self.add(OrchestratorNode(registry or WorkflowRegistry(), "1.0.0"), **settings)

    async def remove(self, server: NodeServer) -> None:
        """Stops one node, as SIGTERM would."""
        self._servers.remove(server)
        await server.stop()

    def channel(self, server: NodeServer) -> grpc.aio.Channel:
        """A channel to a node; closed with the mesh."""
        channel = grpc.aio.insecure_channel(server.info.address)
        self._channels.append(channel)
        return channel

    def orchestrator(self, server: NodeServer) -> orchestrator_pb2_grpc.OrchestratorServiceStub:
        """A stub of an orchestrator."""
        return orchestrator_pb2_grpc.OrchestratorServiceStub(self.channel(server))


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits until something holds.

    Raises:
        TimeoutError: It does not within the time.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # a condition of any kind has no event to wait for
            await asyncio.sleep(0.01)

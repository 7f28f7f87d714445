"""What the runtime asks of a node; implemented by the four kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from onex.v1 import common_pb2, node_pb2
from onex_mesh.runtime.command import CommandExecutor

if TYPE_CHECKING:
    import grpc

    from onex_mesh.runtime.mesh import Mesh


DRAINING = "draining"
"""Capability of a node that is about to stop: it finishes what it has and wants nothing new."""


class Node(Protocol):
    """One of the four kinds of node.

    The order of calls is: start, add_services, then capabilities and executor as needed; at the end drain, stop.
    """

    @property
    def kind(self) -> common_pb2.NodeKind:
        """Its kind."""

    @property
    def version(self) -> str:
        """Version of the application that it runs."""

    @property
    def service_name(self) -> str:
        """Name under which workflows depend on it."""

    def capabilities(self) -> Sequence[str]:
        """What it can do, such as "algorithm:sum" or "reducer:order"."""

    def executor(self) -> CommandExecutor | None:
        """What executes its actions; None for an orchestrator."""

    async def start(self, mesh: Mesh) -> None:
        """Opens what it needs."""

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds its services to the server, after start; returns their full names."""

    async def session_lost(self) -> None:
        """The session is over: nothing that ran under it may go on. `Mesh.session` becomes another one afterwards."""

    async def drain(self) -> None:
        """Takes no new work and returns when what is under way has ended."""

    async def stop(self) -> None:
        """Closes what it opened."""

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """How well the things are that it depends on, etcd aside."""


@runtime_checkable
class Reloadable(Protocol):
    """A node that can read its configuration anew while it serves; SIGHUP asks for it."""

    def reload(self) -> None:
        """Begins to; returns at once."""

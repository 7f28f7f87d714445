"""Finding the mesh: the address given, or what etcd or a running `onex-mesh dev` knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from onex.v1 import common_pb2, node_pb2
from onex_lease import EtcdClient, Keyspace, LiveView
from onex_mesh.cli.ready_file import DEFAULT_PATH, read_ready
from onex_mesh.runtime.errors import DependencyResolutionError, EtcdUnavailableError, ValidationError

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class MeshAddress:
    """Where the user said the mesh is; the first of the three that is set counts."""

    address: str = ""
    """host:port of an orchestrator; several separated by commas."""
    etcd: str = ""
    """host:port of etcd, whose registry knows the orchestrators."""
    namespace: str = "default"
    ready_file: Path = DEFAULT_PATH
    """The ready file of a running `onex-mesh dev`."""

    async def orchestrators(self) -> tuple[str, ...]:
        """The addresses of orchestrators, at least one.

        Raises:
            ValidationError: An address is not host:port.
            DependencyResolutionError: Nothing says where the mesh is, or etcd does not answer or knows no orchestrator.
        """
        if self.address:
            return tuple(check_address(part.strip()) for part in self.address.split(","))
        if self.etcd:
            nodes = await self.registered(common_pb2.NODE_KIND_ORCHESTRATOR)
            if not nodes:
                raise DependencyResolutionError(
                    f"no orchestrator is registered in etcd at {self.etcd}, namespace {self.namespace!r}"
                )
            return tuple(node.address for node in nodes)
        ready = read_ready(self.ready_file)
        if ready is None:
            raise DependencyResolutionError(
                "no mesh found: give --address or --etcd (or ONEX_ADDRESS or ONEX_ETCD), "
                f"or start `onex-mesh dev` here (it writes {self.ready_file})"
            )
        return ready.addresses("orchestrator")

    async def registered(self, kind: common_pb2.NodeKind | None = None) -> list[node_pb2.NodeInfo]:
        """The nodes that etcd's registry holds.

        Raises:
            DependencyResolutionError: etcd does not answer.
        """
        try:
            client = await EtcdClient.connect(check_address(self.etcd))
        except EtcdUnavailableError as error:
            raise DependencyResolutionError(f"no etcd answers at {self.etcd}: {error.message}") from error
        try:
            view = await LiveView.open(client, Keyspace(self.namespace))
            try:
                return sorted(view.nodes(kind), key=lambda node: (node.kind, node.instance_id))
            finally:
                await view.close()
        finally:
            await client.close()


def check_address(text: str) -> str:
    """The address, if it is one.

    Raises:
        ValidationError: It is not host:port.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None or not 0 < int(match.group(2)) < 65536:
        raise ValidationError(f"{text!r} is not an address; expected host:port")
    return text

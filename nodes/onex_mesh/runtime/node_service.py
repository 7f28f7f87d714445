"""NodeService: what every node tells about itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from onex.v1 import node_pb2, node_pb2_grpc
from onex_lease import LiveView
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.health import HealthReport


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """See the module."""

    def __init__(self, node: node_pb2.NodeInfo, services: Sequence[str], report: HealthReport, view: LiveView) -> None:
        self._node = node
        self._services = sorted(services)
        self._report = report
        self._view = view
        self._began = time.monotonic()

    async def Describe(self, request: node_pb2.DescribeRequest, context: CallContext) -> node_pb2.DescribeResponse:
        """Tells what the node is."""
        uptime = Duration()
        uptime.FromMilliseconds(int((time.monotonic() - self._began) * 1000))
        return node_pb2.DescribeResponse(node=self._node, services=self._services, uptime=uptime)

    async def GetHealth(self, request: node_pb2.GetHealthRequest, context: CallContext) -> node_pb2.GetHealthResponse:
        """Tells how well it is (R158, R159)."""
        return node_pb2.GetHealthResponse(health=await self._report.read())

    async def ListNodes(self, request: node_pb2.ListNodesRequest, context: CallContext) -> node_pb2.ListNodesResponse:
        """Lists the nodes that it sees."""
        return node_pb2.ListNodesResponse(nodes=self._view.nodes(request.kind or None))

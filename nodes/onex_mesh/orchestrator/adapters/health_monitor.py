"""Asks other nodes how they are, by the standard health protocol."""

from __future__ import annotations

import time

import grpc
from grpc_health.v1 import health_pb2

from onex.v1 import node_pb2
from onex_mesh.runtime.channels import Channels

_HEALTH_FRESH_S = 1.0
_HEALTH_TIMEOUT_S = 2.0


class GrpcHealthMonitor:
    """Asks nodes for their readiness by the standard health protocol; an answer stays fresh for a second (R114)."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._known: dict[str, tuple[float, bool]] = {}

    async def is_healthy(self, node: node_pb2.NodeInfo) -> bool:
        """Whether the node says SERVING. One that does not answer within 2 s is not healthy."""
        at, healthy = self._known.get(node.instance_id, (float("-inf"), False))
        if time.monotonic() - at < _HEALTH_FRESH_S:
            return healthy
        check = self._channels.get(node.address).unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service="readiness"), timeout=_HEALTH_TIMEOUT_S)
            healthy = answer.status == health_pb2.HealthCheckResponse.SERVING
        except grpc.aio.AioRpcError:
            healthy = False
        self._known[node.instance_id] = (time.monotonic(), healthy)
        return healthy

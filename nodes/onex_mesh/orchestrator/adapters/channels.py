"""gRPC channels to other nodes, one per address, and what is asked over them besides actions."""

from __future__ import annotations

import time

import grpc
from grpc_health.v1 import health_pb2

from onex.v1 import node_pb2
from onex_mesh.runtime.settings import NodeSettings

_HEALTH_FRESH_S = 1.0
_HEALTH_TIMEOUT_S = 2.0


class Channels:
    """Opens channels and keeps them."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._channels: dict[str, grpc.aio.Channel] = {}

    def get(self, address: str) -> grpc.aio.Channel:
        """The channel to host:port."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = self._open(address)
        return channel

    async def close(self) -> None:
        """Closes all of them."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    def _open(self, address: str) -> grpc.aio.Channel:
        options = [
            ("grpc.max_receive_message_length", self._settings.message_bytes_max),
            ("grpc.max_send_message_length", self._settings.message_bytes_max),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.enable_retries", 0),
        ]
        credentials = self._credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=options)
        return grpc.aio.secure_channel(address, credentials, options=options)

    def _credentials(self) -> grpc.ChannelCredentials | None:
        """A mesh with TLS uses it between its nodes too; with a CA of its own, each shows its certificate."""
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        authority = settings.tls_ca.read_bytes() if settings.tls_ca is not None else None
        return grpc.ssl_channel_credentials(authority, settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())


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

"""gRPC channels to other nodes, one per address."""

from __future__ import annotations

import grpc

from onex_mesh.runtime.settings import NodeSettings


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

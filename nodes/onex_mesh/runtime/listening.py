"""The gRPC servers of a node and their ports: one for its services, one that only answers probes."""

from __future__ import annotations

import contextlib

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onex_mesh.runtime.health import Probes
from onex_mesh.runtime.interceptors import CallInterceptor
from onex_mesh.runtime.settings import NodeSettings

# Two processes on one port would each get some of the calls.
_NO_SHARING = ("grpc.so_reuseport", 0)


def new_server(settings: NodeSettings, interceptor: CallInterceptor) -> grpc.aio.Server:
    """The server of a node's services, without a port yet."""
    options = [
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.max_send_message_length", settings.message_bytes_max),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        _NO_SHARING,
    ]
    return grpc.aio.server(interceptors=[interceptor], options=options)


def new_probe_server(probes: Probes) -> grpc.aio.Server:
    """The server that only answers health checks, in plaintext: probes cannot do mTLS."""
    server = grpc.aio.server(options=[_NO_SHARING])
    health_pb2_grpc.add_HealthServicer_to_server(probes.servicer, server)
    reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server


def listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
    """Takes a port; returns which one it is where any free one is asked for with 0.

    Raises:
        OSError: It is taken, or the certificate is none.
    """
    address = f"{host}:{port}"
    try:
        if credentials is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error


def credentials_of(settings: NodeSettings) -> grpc.ServerCredentials | None:
    """What TLS takes; None for plaintext. With a CA, clients need a certificate that it signed.

    Raises:
        OSError: A file cannot be read.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
    authority = settings.tls_ca.read_bytes() if settings.tls_ca is not None else None
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=authority is not None)


async def release(server: grpc.aio.Server) -> None:
    """Closes the port of a server that was never started: gRPC does so only for one that was."""
    with contextlib.suppress(grpc.aio.UsageError):
        # It is started already, or stopped.
        await server.start()
    await server.stop(None)

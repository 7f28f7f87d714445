"""TLS on the service port: who is let in, and that probes need none of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onex.v1 import common_pb2, node_pb2, node_pb2_grpc
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.runtime.serving import NodeServer
from onex_mesh.runtime.settings import NodeSettings
from tests.inprocess import ScriptedNode
from tests.integration.test_runtime_lifecycle import free_port

CERTIFICATES = Path(__file__).parent / "certificates"
CA = (CERTIFICATES / "ca.pem").read_bytes()
CLIENT = ((CERTIFICATES / "client-key.pem").read_bytes(), (CERTIFICATES / "client.pem").read_bytes())


async def describe(address: str, credentials: grpc.ChannelCredentials | None) -> node_pb2.DescribeResponse:
    """Calls a node with TLS, or without."""
    channel = (
        grpc.aio.insecure_channel(address) if credentials is None else grpc.aio.secure_channel(address, credentials)
    )
    async with channel:
        return await node_pb2_grpc.NodeServiceStub(channel).Describe(node_pb2.DescribeRequest(), timeout=5)


def settings_for(etcd: EmbeddedEtcd, keys: Keyspace, *, mutual: bool) -> NodeSettings:
    """Settings with a certificate, and with the CA that clients must have theirs from."""
    return NodeSettings(
        port=0,
        health_port=free_port(),
        etcd=etcd.endpoint,
        namespace=keys.namespace,
        ttl_s=2.0,
        tls_cert=CERTIFICATES / "server.pem",
        tls_key=CERTIFICATES / "server-key.pem",
        tls_ca=CERTIFICATES / "ca.pem" if mutual else None,
    )


@pytest.fixture
async def server(
    etcd: EmbeddedEtcd, keys: Keyspace, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[NodeServer, NodeSettings]]:
    """A node with TLS; with mTLS where the test's parameter is true."""
    settings = settings_for(etcd, keys, mutual=request.param)
    running = NodeServer(ScriptedNode(common_pb2.NODE_KIND_COMPUTE), settings)
    await running.start()
    yield running, settings
    await running.stop()


@pytest.mark.parametrize("server", [False], indirect=True)
async def test_a_certificate_makes_the_port_private(server: tuple[NodeServer, NodeSettings]) -> None:
    """Design, ports: with a certificate clients must speak TLS and trust its CA."""
    address = server[0].info.address
    assert (await describe(address, grpc.ssl_channel_credentials(CA))).node == server[0].info
    for stranger in (None, grpc.ssl_channel_credentials()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await describe(address, stranger)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("server", [True], indirect=True)
async def test_with_a_ca_only_known_clients_are_let_in(server: tuple[NodeServer, NodeSettings]) -> None:
    """Design, ports: with a CA, a client needs a certificate that it signed (mTLS)."""
    address = server[0].info.address
    assert (await describe(address, grpc.ssl_channel_credentials(CA, *CLIENT))).node == server[0].info
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await describe(address, grpc.ssl_channel_credentials(CA))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("server", [True], indirect=True)
async def test_probes_need_no_certificate(server: tuple[NodeServer, NodeSettings]) -> None:
    """Design, ports: the health port is plaintext, as probes cannot do mTLS, and has nothing but health."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server[1].health_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="readiness"), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await node_pb2_grpc.NodeServiceStub(channel).Describe(node_pb2.DescribeRequest(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_certificate_that_cannot_be_read_ends_the_start(
    etcd: EmbeddedEtcd, keys: Keyspace, tmp_path: Path
) -> None:
    """A node never falls back to plaintext: a missing or broken certificate is an error."""
    settings = settings_for(etcd, keys, mutual=False)
    node = ScriptedNode(common_pb2.NODE_KIND_COMPUTE)
    missing = settings.model_copy(update={"tls_cert": tmp_path / "none.pem"})
    with pytest.raises(FileNotFoundError):
        await NodeServer(node, missing).start()
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(OSError, match="cannot listen"):
        await NodeServer(node, settings.model_copy(update={"tls_cert": broken})).start()

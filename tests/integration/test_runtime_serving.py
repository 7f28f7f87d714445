"""A node's life on free ports with a real etcd: start, calls, a lost session, drain and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from onex.v1 import common_pb2, compute_pb2, compute_pb2_grpc, node_pb2, node_pb2_grpc
from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace, LiveView, Session
from onex_mesh.runtime import errors
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.node import DRAINING
from onex_mesh.runtime.serving import NodeServer
from onex_mesh.runtime.settings import NodeSettings
from tests.inprocess import InProcessMesh, ScriptedNode, until

ROOT = Path(__file__).resolve().parents[2]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
COMPUTE = common_pb2.NODE_KIND_COMPUTE
NAMES = ("", "liveness", "readiness", "onex.v1.ComputeService", "onex.v1.ActionService", "onex.v1.NodeService")


class Service(compute_pb2_grpc.ComputeServiceServicer):
    """A service whose behaviour is chosen by the request's algorithm."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.hold = asyncio.Event()
        self.entered = asyncio.Event()
        self.bound: list[object] = []

    async def ExecuteCompute(
        self, request: compute_pb2.ExecuteComputeRequest, context: CallContext
    ) -> compute_pb2.ExecuteComputeResponse:
        """Does what the algorithm's name says."""
        self.bound.append(structlog.contextvars.get_contextvars().get("correlation_id"))
        match request.contract.algorithm_config.algorithm_type:
            case "raise":
                raise RuntimeError("password=hunter2")
            case "exit":
                raise SystemExit("password=hunter2")
            case "timeout":
                raise TimeoutError("a socket's own")
            case "refuse":
                raise errors.ValidationError("bad", violations=(("input_data.a", "is missing"),))
            case "long":
                raise errors.StepFailedError("x" * 100_000, error_context={"more": "y" * 100_000})
            case "hold":
                self.entered.set()
                await self.hold.wait()
        remaining = context.time_remaining()
        response = compute_pb2.ExecuteComputeResponse()
        response.output.correlation_id = request.contract.correlation_id
        response.output.performance_metrics.algorithm_type = "" if remaining is None else "deadline"
        return response

    async def StreamCompute(
        self, request: compute_pb2.StreamComputeRequest, context: CallContext
    ) -> AsyncIterator[compute_pb2.StreamComputeResponse]:
        """Answers until it is closed."""
        try:
            while True:
                yield compute_pb2.StreamComputeResponse()
                await asyncio.sleep(0.01)
                if request.contract.algorithm_config.algorithm_type == "raise":
                    raise RuntimeError("password=hunter2")
        finally:
            self.closed.set()


class ServingNode(ScriptedNode):
    """A node with a service, whose steps of life are written down."""

    def __init__(self) -> None:
        super().__init__(COMPUTE)
        self.service = Service()
        self.life: list[str] = []
        self.mesh: Mesh | None = None
        self.drained = asyncio.Event()
        self.drained.set()

    async def start(self, mesh: Mesh) -> None:
        """Keeps the mesh."""
        self.mesh = mesh
        self.life.append("start")

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds its service."""
        self.life.append("add_services")
        compute_pb2_grpc.add_ComputeServiceServicer_to_server(self.service, server)
        return ["onex.v1.ComputeService"]

    async def drain(self) -> None:
        """Waits until the test lets it."""
        self.life.append("drain")
        await self.drained.wait()

    async def stop(self) -> None:
        """Tells whether the session still lives: it is to be revoked last."""
        assert self.mesh is not None
        self.life.append(f"stop, session {'valid' if self.mesh.session.is_valid() else 'gone'}")


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
def settings(etcd: EmbeddedEtcd, keys: Keyspace) -> NodeSettings:
    return NodeSettings(port=0, etcd=etcd.endpoint, namespace=keys.namespace, ttl_s=3.0, drain_s=5.0)


def compute(algorithm: str = "", correlation_id: str = "") -> compute_pb2.ExecuteComputeRequest:
    request = compute_pb2.ExecuteComputeRequest()
    request.contract.algorithm_config.algorithm_type = algorithm
    request.contract.correlation_id = correlation_id
    return request


async def status(channel: grpc.aio.Channel, name: str) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    return int(answer.status)


async def metadata_of(call: grpc.aio.UnaryUnaryCall[object, object]) -> dict[str, str | bytes]:
    return {str(key): value for key, value in await call.trailing_metadata()}


async def test_health_follows_start_drain_and_stop_on_both_ports(settings: NodeSettings, client: EtcdClient) -> None:
    """R159: "", readiness and the services are SERVING only while work is taken; liveness all along; Check and Watch,
    on the service port and on the plaintext probe port. Draining is announced, and the session revoked last."""
    node = ServingNode()
    ports = settings.model_copy(update={"health_port": free_port()})
    server = NodeServer(node, ports)
    info = await server.start()
    view = await LiveView.open(client, Keyspace(settings.namespace))
    channels = [grpc.aio.insecure_channel(info.address), grpc.aio.insecure_channel(f"127.0.0.1:{ports.health_port}")]
    watches = []
    for channel in channels:
        for name in NAMES:
            assert await status(channel, name) == SERVING
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == SERVING
        watches.append(watch)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await status(channels[0], "no.such.Service")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND

    node.drained.clear()
    stopping = asyncio.create_task(server.stop())
    for channel, watch in zip(channels, watches, strict=True):
        assert (await watch.read()).status == NOT_SERVING
        for name in NAMES:
            assert await status(channel, name) == (SERVING if name == "liveness" else NOT_SERVING)
    await until(lambda: any(DRAINING in seen.capabilities for seen in view.nodes(COMPUTE)))
    node.drained.set()
    await stopping
    await until(lambda: not view.nodes(COMPUTE))
    assert node.life == ["start", "add_services", "drain", "stop, session valid"]
    for channel in channels:
        with pytest.raises(grpc.aio.AioRpcError) as gone:
            await status(channel, "")
        assert gone.value.code() is grpc.StatusCode.UNAVAILABLE
        await channel.close()
    await view.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_reflection_lists_every_service(mesh: InProcessMesh) -> None:
    """R159: tools need no proto file; Describe names the same services and what the node is."""
    channel = mesh.channel(await mesh.add(ServingNode()))
    listing = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await listing.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await listing.read()
    names = {service.name for service in answer.list_services_response.service}
    assert names == {*NAMES[3:], "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    listing.cancel()
    told = await node_pb2_grpc.NodeServiceStub(channel).Describe(node_pb2.DescribeRequest(), timeout=5)
    assert list(told.services) == sorted(NAMES[3:])
    assert (told.node.kind, told.node.service_name) == (COMPUTE, "compute")
    assert list(told.node.capabilities) == ["dispatch", "chain"]
    health = (await node_pb2_grpc.NodeServiceStub(channel).GetHealth(node_pb2.GetHealthRequest(), timeout=5)).health
    assert health.status == node_pb2.HEALTH_STATUS_HEALTHY, health
    assert [row.name for row in health.dependencies] == ["etcd"]


async def test_the_correlation_id_is_echoed_or_made(mesh: InProcessMesh) -> None:
    """R5: metadata wins, then the contract's, then a new one; the answer and the contract carry it, and one call's id
    is never seen by another."""
    node = ServingNode()
    stub = compute_pb2_grpc.ComputeServiceStub(mesh.channel(await mesh.add(node)))
    given = stub.ExecuteCompute(compute(), metadata=(("x-correlation-id", "corr-1"),), timeout=5)
    assert (await metadata_of(given))["x-correlation-id"] == "corr-1"
    assert (await given).output.correlation_id == "corr-1"
    in_contract = stub.ExecuteCompute(compute(correlation_id="corr-2"), timeout=5)
    assert (await metadata_of(in_contract))["x-correlation-id"] == "corr-2"
    assert (await in_contract).output.correlation_id == "corr-2"
    made = [stub.ExecuteCompute(compute(), timeout=5) for _ in range(2)]
    ids = {(await call).output.correlation_id for call in made}
    assert len(ids) == 2
    assert all(len(one) == 36 for one in ids)
    assert node.service.bound[:2] == ["corr-1", "corr-2"]
    assert set(node.service.bound[2:]) == ids
    odd = stub.ExecuteCompute(compute(correlation_id="Bestellung für Zoë\n"), timeout=5)
    assert (await metadata_of(odd))["x-correlation-id"] == "Bestellung f%C3%BCr Zo%C3%AB%0A"
    assert (await odd).output.correlation_id == "Bestellung für Zoë\n"


async def test_errors_arrive_as_themselves(mesh: InProcessMesh) -> None:
    """R149, R150: reason, violations and correlation id by status details; a huge one too; an unexpected one hides."""
    stub = compute_pb2_grpc.ComputeServiceStub(mesh.channel(await mesh.add(ServingNode())))
    expected = {
        "refuse": (grpc.StatusCode.INVALID_ARGUMENT, "VALIDATION_FAILED"),
        "raise": (grpc.StatusCode.INTERNAL, "INTERNAL"),
        "exit": (grpc.StatusCode.INTERNAL, "INTERNAL"),
        "timeout": (grpc.StatusCode.INTERNAL, "INTERNAL"),
        "long": (grpc.StatusCode.ABORTED, "STEP_FAILED"),
    }
    for algorithm, (code, reason) in expected.items():
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stub.ExecuteCompute(compute(algorithm, "corr-1"), timeout=5)
        error = errors.from_rpc_error(ended.value)
        assert (ended.value.code(), error.reason, error.correlation_id) == (code, reason, "corr-1")
        assert "hunter2" not in str(ended.value)
        if algorithm == "refuse":
            assert isinstance(error, errors.ValidationError)
            assert error.violations == (("input_data.a", "is missing"),)


async def test_a_stream_that_fails_ends_with_its_error(mesh: InProcessMesh) -> None:
    """R150: what goes wrong within a stream reaches the client as INTERNAL after what was sent before."""
    node = ServingNode()
    stub = compute_pb2_grpc.ComputeServiceStub(mesh.channel(await mesh.add(node)))
    request = compute_pb2.StreamComputeRequest(contract=compute("raise").contract)
    call = stub.StreamCompute(request, timeout=5)
    assert isinstance(await call.read(), compute_pb2.StreamComputeResponse)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(ended.value)
    assert node.service.closed.is_set()


async def test_a_stream_is_closed_when_its_client_goes_away(mesh: InProcessMesh) -> None:
    """R164: the handler's clean-up runs, wherever it stood."""
    node = ServingNode()
    stub = compute_pb2_grpc.ComputeServiceStub(mesh.channel(await mesh.add(node)))
    call = stub.StreamCompute(compute_pb2.StreamComputeRequest())
    await call.read()
    call.cancel()
    async with asyncio.timeout(5):
        await node.service.closed.wait()


async def test_a_call_without_a_deadline_gets_one(mesh: InProcessMesh) -> None:
    """R138: it ends as ACTION_EXPIRED after the server's default; so does a stream."""
    node = ServingNode()
    stub = compute_pb2_grpc.ComputeServiceStub(mesh.channel(await mesh.add(node, deadline_s=0.2)))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await stub.ExecuteCompute(compute("hold"))
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert errors.from_rpc_error(ended.value).reason == "ACTION_EXPIRED"
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in stub.StreamCompute(compute_pb2.StreamComputeRequest()):
            pass
    assert errors.from_rpc_error(streamed.value).reason == "ACTION_EXPIRED"
    assert node.service.closed.is_set()


async def test_calls_beyond_the_bound_are_refused_but_probes_are_not(mesh: InProcessMesh) -> None:
    """R94: OVERLOADED, with a hint to try again; health answers all the same, and the place is free again after."""
    node = ServingNode()
    server = await mesh.add(node, calls_max=1)
    channel = mesh.channel(server)
    stub = compute_pb2_grpc.ComputeServiceStub(channel)
    holding = asyncio.ensure_future(stub.ExecuteCompute(compute("hold"), timeout=10))
    await node.service.entered.wait()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ExecuteCompute(compute(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(errors.from_rpc_error(refused.value), errors.OverloadedError)
    assert await status(channel, "readiness") == SERVING
    node.service.hold.set()
    await holding
    await stub.ExecuteCompute(compute(), timeout=5)


async def test_a_stop_waits_for_calls_under_way(settings: NodeSettings) -> None:
    """R164: a call that is under way when the stop begins is answered."""
    node = ServingNode()
    server = NodeServer(node, settings)
    info = await server.start()
    async with grpc.aio.insecure_channel(info.address) as channel:
        stub = compute_pb2_grpc.ComputeServiceStub(channel)
        call = asyncio.ensure_future(stub.ExecuteCompute(compute("hold", "corr-1"), timeout=10))
        await node.service.entered.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0.1)
        assert not stopping.done()
        node.service.hold.set()
        assert (await call).output.correlation_id == "corr-1"
        await stopping


async def test_a_lost_session_is_replaced(settings: NodeSettings, client: EtcdClient) -> None:
    """R145, R164: without its session the node is not ready and stops what ran under it, once; then it registers under
    a new session with the same name, and is ready again."""
    node = ServingNode()
    server = NodeServer(node, settings)
    info = await server.start()
    assert node.mesh is not None
    first = node.mesh.session
    view = await LiveView.open(client, Keyspace(settings.namespace))
    async with grpc.aio.insecure_channel(info.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == SERVING
        await client.revoke(first.etcd_lease)
        assert (await watch.read()).status == NOT_SERVING
        assert (await watch.read()).status == SERVING
        watch.cancel()
    assert node.sessions_lost == 1
    second = node.mesh.session
    assert second.is_valid()
    assert second.etcd_lease != first.etcd_lease
    await until(lambda: [seen.instance_id for seen in view.nodes()] == [info.instance_id])
    await server.stop()
    await until(lambda: not view.nodes())
    await view.close()


async def test_a_node_that_fails_to_let_go_gets_a_session_all_the_same(
    settings: NodeSettings, client: EtcdClient
) -> None:
    """R145: an exception of the node while it lets go must not leave it without a session for ever."""

    class Clumsy(ServingNode):
        async def session_lost(self) -> None:
            raise RuntimeError("clumsy")

    node = Clumsy()
    server = NodeServer(node, settings)
    await server.start()
    assert node.mesh is not None
    first = node.mesh.session
    await client.revoke(first.etcd_lease)
    await until(lambda: node.mesh is not None and node.mesh.session is not first)
    await server.stop()


async def test_a_start_that_fails_leaves_nothing(settings: NodeSettings, client: EtcdClient) -> None:
    """R164: a node that refuses to start leaves no port, no session and no key behind."""

    class Refusing(ServingNode):
        async def start(self, mesh: Mesh) -> None:
            await super().start(mesh)
            raise errors.ValidationError("not like this")

    node = Refusing()
    server = NodeServer(node, settings)
    with pytest.raises(errors.ValidationError, match="not like this"):
        await server.start()
    assert node.life == ["start", "stop, session valid"]
    assert node.mesh is not None
    assert not node.mesh.session.is_valid()
    assert await client.revoke(node.mesh.session.etcd_lease) is False
    with pytest.raises(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(server.info.address) as channel:
            await status(channel, "")


async def test_a_taken_instance_id_is_refused(settings: NodeSettings, client: EtcdClient) -> None:
    """R146: two live processes never have one name."""
    named = settings.model_copy(update={"instance_id": "twin"})
    first, second = NodeServer(ServingNode(), named), NodeServer(ServingNode(), named)
    await first.start()
    with pytest.raises(errors.LeaseConflictError, match="twin"):
        await second.start()
    await first.stop()


_PROCESS = """
import asyncio, sys
from onex.v1 import common_pb2
from onex_mesh.runtime.serving import serve
from onex_mesh.runtime.settings import NodeSettings
from tests.inprocess import ScriptedNode

class Node(ScriptedNode):
    async def drain(self):
        print("drain", flush=True)
        if sys.argv[1] == "stuck":
            await asyncio.Event().wait()

    async def stop(self):
        print("stop", flush=True)

node = Node(common_pb2.NODE_KIND_COMPUTE)
sys.exit(asyncio.run(serve(node, NodeSettings(), ready=lambda info: print("ready", flush=True))))
"""


async def begin(settings: NodeSettings, manner: str = "good") -> asyncio.subprocess.Process:
    """A node in a process of its own: signals and log configuration belong to a whole process."""
    given = {"ONEX_PORT": settings.port, "ONEX_ETCD": settings.etcd, "ONEX_NAMESPACE": settings.namespace}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _PROCESS, manner),
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in given.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def said(process: asyncio.subprocess.Process) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_cleanly(settings: NodeSettings, number: signal.Signals) -> None:
    """R164: the node drains, stops, and the process ends with exit code 0; its log lines name node and instance."""
    process = await begin(settings)
    assert await said(process) == "ready"
    process.send_signal(number)
    out, err = await process.communicate()
    assert out.decode().split() == ["drain", "stop"]
    assert process.returncode == 0
    lines = [json.loads(line) for line in err.decode().splitlines()]
    assert {"serving", "stopped"} <= {line["event"] for line in lines}
    assert {line["node"] for line in lines} == {"compute"}


async def test_a_second_signal_ends_it_at_once(settings: NodeSettings) -> None:
    """R164: whoever cannot wait for the drain sends the signal again."""
    process = await begin(settings, "stuck")
    assert await said(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert await said(process) == "drain"
    process.send_signal(signal.SIGTERM)
    out, _ = await process.communicate()
    assert (out, process.returncode) == (b"", 128 + signal.SIGTERM)


async def test_a_signal_ends_the_wait_for_an_etcd_that_is_away(settings: NodeSettings) -> None:
    """R164: a node that waits for etcd says so, and can be stopped."""
    process = await begin(settings.model_copy(update={"etcd": f"127.0.0.1:{free_port()}"}))
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert b"etcd is not there" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0


async def test_a_taken_port_is_exit_code_3(settings: NodeSettings, mesh: InProcessMesh) -> None:
    """R164: what cannot start says why, and by its exit code."""
    taken = int((await mesh.add(ServingNode())).info.address.rpartition(":")[2])
    process = await begin(settings.model_copy(update={"port": taken}))
    _, err = await process.communicate()
    assert process.returncode == 3
    assert f"cannot listen on 127.0.0.1:{taken}" in err.decode()
    assert "Traceback" not in err.decode()


async def test_the_metrics_page_has_the_calls(settings: NodeSettings) -> None:
    """R155, F34: the page counts calls by method; no correlation id is on it."""
    ports = settings.model_copy(update={"metrics_port": free_port()})
    server = NodeServer(ServingNode(), ports)
    info = await server.start()
    async with grpc.aio.insecure_channel(info.address) as channel:
        await compute_pb2_grpc.ComputeServiceStub(channel).ExecuteCompute(compute("", "corr-secret"), timeout=5)
    url = f"http://127.0.0.1:{ports.metrics_port}/metrics"
    page = (await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=5).read())).decode()  # our own page
    await server.stop()
    row = 'node_execution_time_count{error_type="",node_type="compute",operation="ExecuteCompute",status="success"} 1.0'
    assert row in page
    assert "corr-secret" not in page


async def test_a_session_lost_while_draining_is_not_replaced(settings: NodeSettings, client: EtcdClient) -> None:
    """R134, R145: the node lets go of what ran under it and stops without taking another session."""
    node = ServingNode()
    server = NodeServer(node, settings)
    await server.start()
    assert node.mesh is not None
    session: Session = node.mesh.session
    node.drained.clear()
    stopping = asyncio.create_task(server.stop())
    await until(lambda: "drain" in node.life)
    await client.revoke(session.etcd_lease)
    await until(lambda: node.sessions_lost == 1)
    node.drained.set()
    await stopping
    assert node.mesh.session is session

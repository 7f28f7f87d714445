"""The life of a node: what probes, the registry and clients see from its start to its stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from onex.v1 import action_pb2, action_pb2_grpc, common_pb2, lease_pb2, node_pb2, node_pb2_grpc, workflow_pb2
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Session, register_node
from onex_mesh.runtime.errors import OnexError, ValidationError
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.node import DRAINING
from onex_mesh.runtime.serving import NodeServer
from onex_mesh.runtime.settings import NodeSettings
from onex_mesh.runtime.version import MESH_VERSION
from tests.inprocess import ScriptedNode, echo, until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
EFFECT = common_pb2.NODE_KIND_EFFECT
CERTIFICATES = Path(__file__).parent / "certificates"


class Recorder(ScriptedNode):
    """A compute node that notes what the runtime asks of it, and in what order."""

    def __init__(self, kind: common_pb2.NodeKind = common_pb2.NODE_KIND_COMPUTE) -> None:
        super().__init__(kind, echo)
        self.calls: list[str] = []
        self.mesh: Mesh | None = None
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fault: Exception | None = None
        self.dependencies: list[node_pb2.DependencyHealth] = []

    def capabilities(self) -> Sequence[str]:
        """Of its own."""
        return ["algorithm:echo"]

    async def start(self, mesh: Mesh) -> None:
        """Waits until it may."""
        self.calls.append("start")
        self.mesh = mesh
        await self.may_start.wait()
        if self.fault is not None:
            raise self.fault

    async def session_lost(self) -> None:
        """Notes whether the lost session was still there to be seen."""
        assert self.mesh is not None
        self.calls.append(f"session_lost valid={self.mesh.session.is_valid()}")

    async def drain(self) -> None:
        """Waits until it may."""
        self.calls.append("drain")
        await self.may_end.wait()

    async def stop(self) -> None:
        """Notes whether the session still held: it goes last."""
        assert self.mesh is not None
        self.calls.append(f"stop valid={self.mesh.session.is_valid()}")

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """What the test says."""
        return self.dependencies


class Probe:
    """A client of a node's health and other services."""

    def __init__(self, server: NodeServer, settings: NodeSettings, health_port: int | None = None) -> None:
        address = server.info.address if health_port is None else f"{settings.host}:{health_port}"
        self.channel = grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        self.health = health_pb2_grpc.HealthStub(self.channel)

    async def check(self, service: str = "") -> health_pb2.HealthCheckResponse.ServingStatus:
        """One Check."""
        request = health_pb2.HealthCheckRequest(service=service)
        return (await self.health.Check(request, timeout=5)).status

    async def watch(self, service: str, seen: list[int]) -> None:
        """Notes every status that Watch tells, until the node is gone."""
        try:
            async for response in self.health.Watch(health_pb2.HealthCheckRequest(service=service)):
                seen.append(response.status)  # noqa: PERF401  # each is to be seen when it comes
        except grpc.aio.AioRpcError:
            seen.append(-1)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def settings_for(etcd: EmbeddedEtcd, keys: Keyspace, **changes: object) -> NodeSettings:
    """Settings of a node in a test."""
    base = {"port": 0, "etcd": etcd.endpoint, "namespace": keys.namespace, "ttl_s": 2.0, "drain_s": 5.0}
    return NodeSettings(**{**base, **changes})  # type: ignore[arg-type]  # pydantic checks them


@pytest.fixture
async def started() -> AsyncGenerator[Callable[[NodeServer], Awaitable[NodeServer]], None]:
    """Starts servers, and stops those that a test left running."""
    servers: list[NodeServer] = []

    async def start(server: NodeServer) -> NodeServer:
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
async def own_etcd(tmp_path: Path) -> AsyncIterator[EmbeddedEtcd]:
    """An etcd that the test may pause and kill."""
    etcd = await EmbeddedEtcd.start(data_dir=tmp_path / "etcd", fsync=False)
    yield etcd
    etcd.resume()
    await etcd.stop()


async def registered(client: EtcdClient, keys: Keyspace) -> list[node_pb2.NodeInfo]:
    """The nodes in the registry."""
    rows, _ = await client.prefix(keys.nodes_prefix)
    return [node_pb2.NodeInfo.FromString(row.value) for row in rows]


async def test_probes_follow_start_drain_and_stop(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R159: liveness from the first moment; readiness, "" and the services only while the node can take work."""
    node = Recorder()
    node.may_start.clear()
    node.may_end.clear()
    settings = settings_for(etcd, keys, health_port=free_port())
    server = NodeServer(node, settings)
    starting = asyncio.create_task(server.start())
    await until(lambda: node.calls == ["start"])
    probe = Probe(server, settings, settings.health_port)
    assert await probe.check("liveness") == SERVING
    assert await probe.check("readiness") == NOT_SERVING
    assert await probe.check("") == NOT_SERVING
    assert await registered((node.mesh or pytest.fail("not started")).client, keys) == []
    seen: list[int] = []
    watching = asyncio.create_task(probe.watch("readiness", seen))
    await until(lambda: seen == [NOT_SERVING])

    node.may_start.set()
    await starting
    await until(lambda: seen == [NOT_SERVING, SERVING])
    service = Probe(server, settings)
    for name in ("", "readiness", "liveness", "onex.v1.NodeService", "onex.v1.ActionService"):
        assert await probe.check(name) == SERVING
        assert await service.check(name) == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await probe.check("nobody")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND

    stopping = asyncio.create_task(server.stop())
    await until(lambda: seen == [NOT_SERVING, SERVING, NOT_SERVING])
    assert await probe.check("onex.v1.ActionService") == NOT_SERVING
    assert await probe.check("liveness") == SERVING
    assert await service.check("liveness") == SERVING
    node.may_end.set()
    await stopping
    await watching
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING, -1]
    assert node.calls == ["start", "drain", "stop valid=True"]
    await probe.channel.close()
    await service.channel.close()


async def test_the_registry_knows_a_node_while_it_lives(etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient) -> None:
    """R94, R114: a node is announced with what it is and can do, then as draining, and is gone once it has stopped."""
    node = Recorder()
    node.may_end.clear()
    server = NodeServer(node, settings_for(etcd, keys, instance_id="compute-x"))
    info = await server.start()
    (found,) = await registered(client, keys)
    assert found == info
    assert (found.instance_id, found.kind, found.version) == ("compute-x", common_pb2.NODE_KIND_COMPUTE, "1.0.0")
    assert list(found.capabilities) == ["dispatch", "chain", "algorithm:echo"]
    assert (found.service_name, found.mesh_version) == ("compute", MESH_VERSION)
    assert found.started_at.seconds > 0
    stopping = asyncio.create_task(server.stop())
    await until(lambda: node.calls == ["start", "drain"])
    (found,) = await registered(client, keys)
    assert DRAINING in found.capabilities
    node.may_end.set()
    await stopping
    assert await registered(client, keys) == []


async def test_a_stop_hands_everything_over_at_once(etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient) -> None:
    """R134: the session goes last, and with it the node's key and its owner keys, in one revision."""
    node = Recorder(common_pb2.NODE_KIND_COMPUTE)
    server = NodeServer(node, settings_for(etcd, keys))
    info = await server.start()
    assert node.mesh is not None
    for name in ("w-1", "w-2"):
        state = workflow_pb2.WorkflowState(workflow_id=name)
        await node.mesh.journal.start(node.mesh.session, workflow_pb2.Commit(workflow_id=name, state=state))
    _, before = await client.prefix(keys.live_prefix)
    await server.stop()
    rows, after = await client.prefix(keys.live_prefix)
    assert not rows
    gone = {
        name: [key for key in (keys.owner("w-1"), keys.owner("w-2"), keys.node(info.kind, info.instance_id))
               if await client.get(key, revision=name) is not None]
        for name in range(before, after + 1)
    }  # fmt: skip
    # From all three to none, with no revision in between that has some of them.
    assert {len(found) for found in gone.values()} == {0, 3}


async def test_what_a_node_tells_about_itself(
    etcd: EmbeddedEtcd, keys: Keyspace, started: Callable[[NodeServer], Awaitable[NodeServer]]
) -> None:
    """R158, R159: Describe, GetHealth and ListNodes answer with what is so."""
    node = Recorder()
    server = await started(NodeServer(node, settings_for(etcd, keys)))
    other = await started(NodeServer(Recorder(EFFECT), settings_for(etcd, keys)))
    async with grpc.aio.insecure_channel(server.info.address) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        described = await stub.Describe(node_pb2.DescribeRequest())
        assert described.node == server.info
        assert list(described.services) == ["onex.v1.ActionService", "onex.v1.NodeService"]
        health = (await stub.GetHealth(node_pb2.GetHealthRequest())).health
        assert health.status == node_pb2.HEALTH_STATUS_HEALTHY
        assert [(row.name, row.healthy) for row in health.dependencies] == [("etcd", True)]
        assert 0 < health.resource_usage < 0.9
        view = (node.mesh or pytest.fail("not started")).view
        await until(lambda: len(view.nodes()) == 2)
        nodes = (await stub.ListNodes(node_pb2.ListNodesRequest())).nodes
        assert [found.instance_id for found in nodes] == [server.info.instance_id, other.info.instance_id]
        of_kind = await stub.ListNodes(node_pb2.ListNodesRequest(kind=EFFECT))
        assert [found.instance_id for found in of_kind.nodes] == [other.info.instance_id]


async def test_reflection_lists_every_service(
    etcd: EmbeddedEtcd, keys: Keyspace, started: Callable[[NodeServer], Awaitable[NodeServer]]
) -> None:
    """Issue 2: tools such as grpcurl need no proto file."""
    server = await started(NodeServer(Recorder(), settings_for(etcd, keys)))

    async def questions() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        yield reflection_pb2.ServerReflectionRequest(file_containing_symbol="onex.v1.ActionService")

    async with grpc.aio.insecure_channel(server.info.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = [answer async for answer in stub.ServerReflectionInfo(questions())]
    names = {service.name for service in answers[0].list_services_response.service}
    assert names == {
        "onex.v1.ActionService",
        "onex.v1.NodeService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answers[1].file_descriptor_response.file_descriptor_proto


async def test_a_node_waits_for_etcd(own_etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R94: a node that starts before etcd is alive and not ready, and serves once etcd is there."""
    own_etcd.kill()
    settings = settings_for(own_etcd, keys, health_port=free_port())
    server = NodeServer(Recorder(), settings)
    starting = asyncio.create_task(server.start())
    probe = Probe(server, settings, settings.health_port)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await probe.check("liveness") == SERVING
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
    assert await probe.check("readiness") == NOT_SERVING
    await own_etcd.restart()
    await asyncio.wait_for(starting, 30)
    assert await probe.check("readiness") == SERVING
    await probe.channel.close()
    await server.stop()


async def test_a_start_can_be_given_up(own_etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R164: a node that is told to stop while it waits for etcd leaves no port open."""
    own_etcd.kill()
    settings = settings_for(own_etcd, keys, port=free_port(), health_port=free_port(), metrics_port=free_port())
    starting = asyncio.create_task(NodeServer(Recorder(), settings).start())
    await asyncio.sleep(0.3)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for port in (settings.port, settings.health_port, settings.metrics_port):
        with socket.socket() as again:
            again.bind((settings.host, port or pytest.fail("no port")))


@pytest.mark.parametrize("which", ["port", "health_port", "metrics_port"])
async def test_a_taken_port_is_told_and_nothing_is_left(etcd: EmbeddedEtcd, keys: Keyspace, which: str) -> None:
    """R164: a node never shares a port with another one, and what it had opened by then is closed again."""
    ports = {name: free_port() for name in ("port", "health_port", "metrics_port")}
    settings = settings_for(etcd, keys, **ports)
    with socket.socket() as taken:
        taken.bind((settings.host, ports[which]))
        taken.listen()
        with pytest.raises(OSError, match=r"listen|in use"):
            await NodeServer(Recorder(), settings).start()
    for port in ports.values():
        with socket.socket() as again:
            again.bind((settings.host, port))


async def test_a_node_that_cannot_start_leaves_nothing(etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient) -> None:
    """R164: where a node refuses to start, its error is told, and neither a session nor a key is left."""
    node = Recorder()
    node.fault = ValidationError("the targets file is wrong")
    with pytest.raises(ValidationError, match="the targets file is wrong"):
        await NodeServer(node, settings_for(etcd, keys)).start()
    assert node.mesh is not None
    assert not node.mesh.session.is_valid()
    assert node.calls == ["start", "stop valid=True"]
    assert await registered(client, keys) == []


async def test_two_nodes_never_share_a_name(
    etcd: EmbeddedEtcd, keys: Keyspace, started: Callable[[NodeServer], Awaitable[NodeServer]]
) -> None:
    """R131: a second node of the same instance id is refused while the first one lives."""
    await started(NodeServer(Recorder(), settings_for(etcd, keys, instance_id="same")))
    with pytest.raises(OnexError) as refused:
        await NodeServer(Recorder(), settings_for(etcd, keys, instance_id="same")).start()
    assert refused.value.reason == "LEASE_CONFLICT"


async def test_a_node_that_was_killed_may_come_back_under_its_name(
    etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient
) -> None:
    """R145: with a fixed instance id a node that starts again waits for the end of its former session."""
    former = await Session.open(client, instance_id="pod-0", ttl_s=2.0)
    info = node_pb2.NodeInfo(instance_id="pod-0", kind=common_pb2.NODE_KIND_COMPUTE, address="127.0.0.1:1")
    await register_node(client, keys, former, info)
    former._keeper.cancel()  # as kill -9 would: no keepalive, no revocation
    server = NodeServer(Recorder(), settings_for(etcd, keys, instance_id="pod-0"))
    started_info = await asyncio.wait_for(server.start(), 20)
    assert await registered(client, keys) == [started_info]
    await server.stop()
    await former.close()


async def test_a_lost_session_is_replaced(own_etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R145: without etcd for longer than the TTL the node is not ready and stops its work; then it serves again."""
    node = Recorder()
    settings = settings_for(own_etcd, keys)
    server = NodeServer(node, settings)
    await server.start()
    assert node.mesh is not None
    first = node.mesh.session
    probe = Probe(server, settings)
    seen: list[int] = []
    watching = asyncio.create_task(probe.watch("readiness", seen))
    await until(lambda: seen == [SERVING])
    own_etcd.pause()
    await until(lambda: seen == [SERVING, NOT_SERVING])
    await until(lambda: node.calls == ["start", "session_lost valid=False"])
    assert await probe.check("liveness") == SERVING
    own_etcd.resume()
    await until(lambda: seen == [SERVING, NOT_SERVING, SERVING], timeout_s=20)
    assert node.mesh.session is not first
    assert node.mesh.session.is_valid()
    (found,) = await registered(node.mesh.client, keys)
    assert found == server.info
    await server.stop()
    await watching
    await probe.channel.close()


async def test_health_follows_what_the_node_depends_on(
    etcd: EmbeddedEtcd, keys: Keyspace, started: Callable[[NodeServer], Awaitable[NodeServer]]
) -> None:
    """R156, R157: a dependency that is not well makes the node DEGRADED, with its name."""
    node = Recorder()
    node.dependencies = [node_pb2.DependencyHealth(name="orders-db", healthy=False, message="no route")]
    server = await started(NodeServer(node, settings_for(etcd, keys)))
    async with grpc.aio.insecure_channel(server.info.address) as channel:
        health = (await node_pb2_grpc.NodeServiceStub(channel).GetHealth(node_pb2.GetHealthRequest())).health
    assert health.status == node_pb2.HEALTH_STATUS_DEGRADED
    assert list(health.reasons) == ["orders-db: no route"]


async def test_open_streams_do_not_hold_up_a_stop(etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R164: a Dispatch stream and a probe's Watch, which never end by themselves, are ended by a stop."""
    settings = settings_for(etcd, keys)
    server = NodeServer(Recorder(), settings)
    await server.start()
    probe = Probe(server, settings)
    seen: list[int] = []
    watching = asyncio.create_task(probe.watch("", seen))
    call = action_pb2_grpc.ActionServiceStub(probe.channel).Dispatch()
    await call.write(action_pb2.DispatchRequest())
    await until(lambda: seen == [SERVING])
    async with asyncio.timeout(settings.drain_s):
        await server.stop()
    await watching
    assert seen[-1] == -1
    # The stream ends without an answer to anything, so the orchestrator sends elsewhere what it had sent here.
    with pytest.raises((grpc.aio.AioRpcError, StopAsyncIteration)):
        await anext(aiter(call))
    await probe.channel.close()


async def test_work_under_way_is_finished_before_the_stop(
    etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient
) -> None:
    """R134: what a node has begun when it is told to stop ends, and its result arrives."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(command: action_pb2.Command, context: object) -> action_pb2.StepOutput:
        begun.set()
        await may_end.wait()
        return action_pb2.StepOutput()

    node = Recorder()
    node.behaviour = slowly
    server = NodeServer(node, settings_for(etcd, keys))
    await server.start()
    action = await leased_action(client, keys)
    channel = grpc.aio.insecure_channel(server.info.address)
    call = action_pb2_grpc.ActionServiceStub(channel).Dispatch()
    await call.write(action_pb2.DispatchRequest(actions=[action]))
    await asyncio.wait_for(begun.wait(), 10)
    stopping = asyncio.create_task(server.stop())
    await until(lambda: "drain" in node.calls)
    may_end.set()
    frame = await call.read()
    assert isinstance(frame, action_pb2.DispatchResponse)
    assert [result.status for result in frame.results] == [action_pb2.ACTION_STATUS_COMPLETED]
    await stopping
    await channel.close()


async def test_work_that_does_not_end_is_given_up(etcd: EmbeddedEtcd, keys: Keyspace, client: EtcdClient) -> None:
    """R145: a stop takes no longer than its drain time; what is still under way then is cancelled."""
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def forever(command: action_pb2.Command, context: object) -> action_pb2.StepOutput:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return action_pb2.StepOutput()

    node = Recorder()
    node.behaviour = forever
    server = NodeServer(node, settings_for(etcd, keys, drain_s=0.3))
    await server.start()
    action = await leased_action(client, keys)
    channel = grpc.aio.insecure_channel(server.info.address)
    call = action_pb2_grpc.ActionServiceStub(channel).Dispatch()
    await call.write(action_pb2.DispatchRequest(actions=[action]))
    await asyncio.wait_for(begun.wait(), 10)
    await asyncio.wait_for(server.stop(), 10)
    assert cancelled.is_set()
    assert await registered(client, keys) == []
    await channel.close()


async def leased_action(client: EtcdClient, keys: Keyspace) -> action_pb2.Action:
    """An action for a compute node, under a lease that holds as long as the client."""
    session = await Session.open(client, instance_id="writer", ttl_s=60)
    state = workflow_pb2.WorkflowState(workflow_id="w")
    ownership = await Journal(client, keys).start(session, workflow_pb2.Commit(workflow_id="w", state=state))
    now = Timestamp()
    now.GetCurrentTime()
    action = action_pb2.Action(
        action_id="a-1",
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=ownership.lease_id,
        fencing_token=ownership.fencing_token,
        epoch=1,
        workflow_id="w",
        target_node=common_pb2.NODE_KIND_COMPUTE,
        issued_at=now,
        expires_at=Timestamp(seconds=now.seconds + 30),
    )
    action.command_payload.compute.SetInParent()
    owner = await client.get(keys.owner("w"))
    assert owner is not None
    assert lease_pb2.Owner.FromString(owner.value).lease_id == ownership.lease_id
    return action

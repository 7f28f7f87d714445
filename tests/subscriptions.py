"""What tests of subscriptions share: publishing events to real brokers, a mesh to hand them to, and looking at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
import nats
import nats.js.errors
import redis.asyncio
from nats.aio.client import Client
from nats.js import JetStreamContext

from onex.v1 import (
    common_pb2,
    effect_pb2,
    effect_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.mesh import Mesh
from tests.nats_server import NatsServer
from tests.redis_server import RedisServer

STREAM = "ORDERS"
PREFIX = "orders"
KEY = "orders"

WORKFLOW = """
name: fulfil
version: 1.0.0
steps:
  - step_id: note
    compute: {algorithm_config: {algorithm_type: identity}, input_data: "${input}"}
output: "${steps.note.output}"
"""


def event(number: int, **attributes: object) -> dict[str, object]:
    """A CloudEvent of an order."""
    return {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/shop",
        "type": "order.placed",
        "data": {"order_id": f"o-{number}", "total": number},
        **attributes,
    }


def encoded(value: object) -> bytes:
    """An event as its producer sends it."""
    return json.dumps(value).encode()


@asynccontextmanager
async def jetstream(url: str) -> AsyncGenerator[tuple[Client, JetStreamContext], None]:
    """A producer's connection to NATS."""
    client = await nats.connect(url)
    try:
        yield client, client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def redis_client(port: int) -> AsyncGenerator[redis.asyncio.Redis, None]:
    """A producer's connection to Redis."""
    client = redis.asyncio.Redis(port=port, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def workflows(channel: grpc.aio.Channel, prefix: str = "") -> Sequence[str]:
    """Ids of the workflows of a mesh."""
    stub: orchestrator_pb2_grpc.OrchestratorServiceAsyncStub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
    found: list[str] = []
    token = ""
    while True:
        request = orchestrator_pb2.ListWorkflowsRequest(workflow_id_prefix=prefix, page_size=500, page_token=token)
        page = await stub.ListWorkflows(request, timeout=10)
        found += [row.workflow_id for row in page.workflows]
        token = page.next_page_token
        if not token:
            return found


async def listed(channel: grpc.aio.Channel, name: str) -> effect_pb2.Target:
    """A subscription as ListTargets shows it."""
    stub: effect_pb2_grpc.EffectServiceAsyncStub = effect_pb2_grpc.EffectServiceStub(channel)
    answer = await stub.ListTargets(effect_pb2.ListTargetsRequest(kind="subscription"), timeout=10)
    return next(row for row in answer.targets if row.name == name)


async def dependency(channel: grpc.aio.Channel, name: str) -> node_pb2.DependencyHealth:
    """A row of a node's health."""
    stub: node_pb2_grpc.NodeServiceAsyncStub = node_pb2_grpc.NodeServiceStub(channel)
    answer = await stub.GetHealth(node_pb2.GetHealthRequest(), timeout=10)
    return next(row for row in answer.health.dependencies if row.name == name)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    """Waits until something that has to be asked for holds.

    Raises:
        TimeoutError: It does not within the time.
    """
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  # what has to be asked for has no event
            await asyncio.sleep(0.02)


class Broker(Protocol):
    """A broker under test: what a subscription needs of it, and what a test wants to know."""

    targets: str
    """The section `targets` of the operator's file, with the target `bus`."""
    dead_letters: str
    """A place of the broker's own for dead letters, as YAML."""
    server: NatsServer | RedisServer

    async def publish(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publishes a message."""

    async def outstanding(self) -> int:
        """Messages that were not acknowledged, delivered or not."""

    async def letters(self) -> list[Mapping[str, str]]:
        """The dead letters in the broker's own place: reason, message, deliveries, body."""


class NatsBroker:
    """See `Broker`."""

    def __init__(self, server: NatsServer) -> None:
        self.server = server
        self.targets = f"  bus: {{kind: nats, servers: ['{server.url}'], stream: {STREAM}, prefix: {PREFIX}}}"
        self.dead_letters = "{subject: dead.orders}"

    async def prepare(self) -> None:
        """Makes the streams."""
        async with jetstream(self.server.url) as (_, js):
            await js.add_stream(name=STREAM, subjects=[f"{PREFIX}.>"])
            await js.add_stream(name="DEAD", subjects=["dead.>"])

    async def publish(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        async with jetstream(self.server.url) as (_, js):
            await js.publish(f"{PREFIX}.placed", body, headers=dict(headers or {}) or None)

    async def outstanding(self) -> int:
        async with jetstream(self.server.url) as (_, js):
            try:
                facts = await js.consumer_info(STREAM, "mesh")
            except nats.js.errors.NotFoundError:
                return (await js.stream_info(STREAM)).state.messages
            return (facts.num_pending or 0) + (facts.num_ack_pending or 0)

    async def letters(self) -> list[Mapping[str, str]]:
        async with jetstream(self.server.url) as (_, js):
            count = (await js.stream_info("DEAD")).state.messages
            found = [await js.get_msg("DEAD", seq) for seq in range(1, count + 1)]
        return [_letter(dict(row.headers or {}), (row.data or b"").decode()) for row in found]


class RedisBroker:
    """See `Broker`."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.targets = f"  bus: {{kind: redis_stream, host: 127.0.0.1, port: {server.port}, stream: {KEY}}}"
        self.dead_letters = "{stream: orders-dead}"

    async def prepare(self) -> None:
        """Needs nothing: the first message makes the stream."""

    async def publish(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        async with redis_client(self.server.port) as client:
            await client.xadd(KEY, {**(headers or {}), "body": body})

    async def outstanding(self) -> int:
        async with redis_client(self.server.port) as client:
            if not await client.exists(KEY):
                return 0
            groups = {row["name"]: row for row in await client.xinfo_groups(KEY)}
            if "mesh" not in groups:
                return int(await client.xlen(KEY))
            return int(groups["mesh"]["pending"]) + int(groups["mesh"]["lag"] or 0)

    async def letters(self) -> list[Mapping[str, str]]:
        async with redis_client(self.server.port) as client:
            rows = await client.xrange("orders-dead")
        return [_letter(fields, fields.get("body", "")) for _, fields in rows]


def _letter(headers: Mapping[str, str], body: str) -> Mapping[str, str]:
    lower = {name.lower(): value for name, value in headers.items()}
    return {name: lower[f"onex-{name}"] for name in ("reason", "message", "deliveries", "place")} | {"body": body}


@asynccontextmanager
async def running_broker(kind: str) -> AsyncGenerator[Broker, None]:
    """A real broker, started and removed."""
    server: NatsServer | RedisServer = NatsServer() if kind == "nats" else RedisServer()
    server.start()
    try:
        broker = NatsBroker(server) if isinstance(server, NatsServer) else RedisBroker(server)
        await broker.prepare()
        yield broker
    finally:
        server.remove()


Behaviour = Callable[[orchestrator_pb2.SignalWorkflowRequest], Awaitable[bool]]


class ScriptedOrchestrator(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """An orchestrator of the test's own on a real server: it takes signals as the test's function says.

    It stands for an orchestrator that has SignalWorkflow built, and for one that is slow, refuses or breaks.
    """

    kind = common_pb2.NODE_KIND_ORCHESTRATOR
    version = "1.0.0"
    service_name = "orchestrator"

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.asked: list[orchestrator_pb2.SignalWorkflowRequest] = []
        self.correlation_ids: list[str] = []

    async def SignalWorkflow(
        self, request: orchestrator_pb2.SignalWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.SignalWorkflowResponse:
        """Does what the test says."""
        self.asked.append(request)
        self.correlation_ids += [str(v) for k, v in context.invocation_metadata() or () if k == "x-correlation-id"]
        accepted = await self.behaviour(request)
        return orchestrator_pb2.SignalWorkflowResponse(epoch=len(self.asked), accepted=accepted)

    def capabilities(self) -> Sequence[str]:
        """None."""
        return []

    def executor(self) -> None:
        """None."""

    async def start(self, mesh: Mesh) -> None:
        """Needs nothing."""

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds its service."""
        orchestrator_pb2_grpc.add_OrchestratorServiceServicer_to_server(self, server)
        return ["onex.v1.OrchestratorService"]

    async def session_lost(self) -> None:
        """Keeps nothing."""

    async def drain(self) -> None:
        """Has nothing under way."""

    async def stop(self) -> None:
        """Opened nothing."""

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """Depends on nothing."""
        return []

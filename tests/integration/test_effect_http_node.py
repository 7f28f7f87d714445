"""API calls of effect nodes that run: traces over gRPC, kill -9 and takeover, counted at the server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from onex.v1 import effect_pb2, effect_pb2_grpc
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.effect.core import EffectRegistry
from onex_mesh.effect.node import EffectNode
from tests.effect_engine import effect_contract
from tests.http_server import Exchange, HttpServer, answer
from tests.inprocess import InProcessMesh, until
from tests.mesh import MeshProcesses, NodeProcess

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TARGETS = """\
audit: {{log: false}}
targets:
  shop:
    kind: http
    base_url: {url}
    allow: [{{methods: [POST], path: /charges}}]
    allow_private: true
    retry: {{max_retries: 100, initial_backoff_s: 0.05, max_backoff_s: 0.1}}
    breaker: {{failure_threshold: 1000}}
"""


def _targets(folder: Path, url: str) -> Path:
    path = folder / "targets.yaml"
    path.write_text(TARGETS.format(url=url), encoding="utf-8")
    return path


async def _charge(channel: grpc.aio.Channel, key: str, **settings: object) -> effect_pb2.EffectOutput:
    stub = effect_pb2_grpc.EffectServiceStub(channel)
    contract = effect_contract("api_call", "shop", "POST", {"path": "/charges", "body": {"pence": 5}}, key=key)
    request = effect_pb2.ExecuteEffectRequest(contract=contract)
    return (await stub.ExecuteEffect(request, timeout=60, wait_for_ready=True, **settings)).output  # type: ignore[arg-type]  # metadata


async def test_the_trace_of_a_call_goes_on(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R22: the traceparent of the gRPC call reaches the API with a new span; the correlation id as well."""
    async with HttpServer(answer(200)) as server, InProcessMesh(etcd, keys) as mesh:
        node = EffectNode(EffectRegistry(), _targets(tmp_path, server.url), "1.0.0")
        channel = mesh.channel(await mesh.add(node))
        output = await _charge(channel, "k", metadata=(("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),))
        (request,) = server.requests
        assert request.headers["traceparent"].startswith(f"00-{TRACE}-")
        assert request.headers["traceparent"].endswith("-01")
        assert "00f067aa0ba902b7" not in request.headers["traceparent"]
        assert request.headers["x-correlation-id"] == output.correlation_id


class Shop:
    """A server that honours Idempotency-Key: it charges once for each."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.charged: dict[str, int] = {}
        self.hold = asyncio.Event()
        self.is_asked = asyncio.Event()
        self.answered = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Takes a charge; the answer waits for `hold`."""
        key = exchange.request.headers["idempotency-key"]
        self.asked[key] += 1
        self.charged.setdefault(key, len(self.charged) + 1)
        self.is_asked.set()
        await self.hold.wait()
        await exchange.reply(201, b'{"receipt": %d}' % self.charged[key], content_type="application/json")
        self.answered += 1


def _receipt(output: effect_pb2.EffectOutput) -> object:
    body = output.operation_result.json.struct_value.fields["body"].struct_value
    return int(body.fields["receipt"].number_value)


async def _claimed(mesh: MeshProcesses) -> None:
    """Waits until a node holds a claim in the ledger."""
    client = await mesh.etcd_client()
    try:
        async with asyncio.timeout(30):
            while not (await client.prefix(mesh.keys.idempotency_prefix, keys_only=True))[0]:  # noqa: ASYNC110  # etcd is asked
                await asyncio.sleep(0.05)
    finally:
        await client.close()


async def _kill(node: NodeProcess, lost: asyncio.Task[effect_pb2.EffectOutput]) -> None:
    node.kill()
    with pytest.raises(grpc.aio.AioRpcError):
        await lost
    await node.wait()


@asynccontextmanager
async def _two_nodes(folder: Path, url: str) -> AsyncGenerator[MeshProcesses, None]:
    targets = _targets(folder, url)
    async with MeshProcesses(folder, targets=targets, effects=2, computes=0, reducers=0, orchestrators=0) as mesh:
        yield mesh


async def test_a_node_that_is_killed_before_the_call(tmp_path: Path) -> None:
    """R9, R25: kill -9 after the claim, before anything was sent: the repeat on another node makes the one call."""
    shop = Shop()
    shop.hold.set()
    async with HttpServer(shop) as server:
        port = server.port
    async with _two_nodes(tmp_path, server.url) as mesh:
        lost = asyncio.create_task(_charge(mesh.channel("effect", 0), "k"))
        await _claimed(mesh)
        await _kill(mesh.effects[0], lost)
        async with HttpServer(shop, port=port):
            assert _receipt(await _charge(mesh.channel("effect", 1), "k")) == 1
        assert shop.asked == {"k": 1}


@pytest.mark.parametrize("is_answered", [False, True])
async def test_a_node_that_is_killed_in_the_call(tmp_path: Path, is_answered: bool) -> None:
    """R9, R25: kill -9 while the server works, or after it answered and before the result is recorded: the repeat asks
    a second time under the same key, and a server that honours the key charges once."""
    shop = Shop()
    async with HttpServer(shop) as server, _two_nodes(tmp_path, server.url) as mesh:
        lost = asyncio.create_task(_charge(mesh.channel("effect", 0), "k"))
        await asyncio.wait_for(shop.is_asked.wait(), 30)
        if is_answered:
            # It stands still, so the answer reaches its socket and nothing else.
            mesh.effects[0].pause()
            shop.hold.set()
            await until(lambda: shop.answered == 1)
        await _kill(mesh.effects[0], lost)
        shop.hold.set()
        output = await _charge(mesh.channel("effect", 1), "k")
        assert (_receipt(output), output.metadata.replayed) == (1, False)
        assert (shop.asked, shop.charged) == ({"k": 2}, {"k": 1})


async def test_a_node_that_is_killed_after_the_call(tmp_path: Path) -> None:
    """R9: kill -9 after the result was recorded: the repeat on another node gets it, the server is not asked again."""
    shop = Shop()
    shop.hold.set()
    async with HttpServer(shop) as server, _two_nodes(tmp_path, server.url) as mesh:
        assert _receipt(await _charge(mesh.channel("effect", 0), "k")) == 1
        mesh.effects[0].kill()
        await mesh.effects[0].wait()
        output = await _charge(mesh.channel("effect", 1), "k")
        assert (_receipt(output), output.metadata.replayed) == (1, True)
        assert shop.asked == {"k": 1}


async def test_two_nodes_at_once(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R9: handed the same call, one makes it and the other gets its result."""
    shop = Shop()
    async with HttpServer(shop) as server, InProcessMesh(etcd, keys) as mesh:
        path = _targets(tmp_path, server.url)
        nodes = [await mesh.add(EffectNode(EffectRegistry(), path, "1.0.0")) for _ in range(2)]
        both = [asyncio.create_task(_charge(mesh.channel(node), "k")) for node in nodes]
        await asyncio.wait_for(shop.is_asked.wait(), 30)
        await asyncio.sleep(0.1)
        shop.hold.set()
        outputs = await asyncio.gather(*both)
        assert [_receipt(output) for output in outputs] == [1, 1]
        assert sorted(output.metadata.replayed for output in outputs) == [False, True]
        assert shop.asked == {"k": 1}

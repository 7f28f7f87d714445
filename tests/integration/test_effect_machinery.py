"""The machinery of a whole node against real servers: targets do not hold each other up, outages are not multiplied,
cancellation reaches the connection, and what stands in health, listing and metrics."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import generate_latest

from onex.v1 import (
    action_pb2,
    action_pb2_grpc,
    common_pb2,
    effect_pb2,
    effect_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    workflow_pb2,
)
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Session
from onex_mesh.effect.adapters import target_metrics
from onex_mesh.effect.adapters.target_metrics import TargetMetrics
from onex_mesh.effect.core import EffectContext, EffectRegistry
from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.lane import open_lane
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import OnexError, from_rpc_error
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.serving import NodeServer
from tests.doors import Door, DoorConfig, Doors
from tests.effect_engine import effect_contract, plain
from tests.http_server import HttpServer, answer
from tests.inprocess import InProcessMesh, until
from tests.postgres import PostgresServer
from tests.silent_server import SilentServer


class World:
    """One effect node and what calls it."""

    def __init__(self, mesh: InProcessMesh, server: NodeServer) -> None:
        self.server = server
        channel = mesh.channel(server)
        self.effects = effect_pb2_grpc.EffectServiceStub(channel)
        self.nodes = node_pb2_grpc.NodeServiceStub(channel)
        self.actions = action_pb2_grpc.ActionServiceStub(channel)

    def call(
        self,
        effect_type: str,
        target: str,
        operation: str = "",
        parameters: Mapping[str, object] | None = None,
        *,
        key: str = "",
        retries: int = 0,
        timeout_s: float = 60.0,
    ) -> grpc.aio.UnaryUnaryCall[effect_pb2.ExecuteEffectRequest, effect_pb2.ExecuteEffectResponse]:
        """One effect, not awaited."""
        contract = effect_contract(effect_type, target, operation, parameters, key=key)
        contract.retry_config.max_retries = retries
        contract.retry_config.initial_backoff.FromMilliseconds(1)
        contract.retry_config.max_backoff.FromMilliseconds(2)
        return self.effects.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=timeout_s)

    async def target(self, name: str) -> effect_pb2.Target:
        """A target as it is listed."""
        response = await self.effects.ListTargets(effect_pb2.ListTargetsRequest())
        return next(target for target in response.targets if target.name == name)

    async def health(self) -> node_pb2.NodeHealth:
        """The node's health."""
        return (await self.nodes.GetHealth(node_pb2.GetHealthRequest())).health


@asynccontextmanager
async def _world(
    folder: Path,
    etcd: EmbeddedEtcd,
    keys: Keyspace,
    targets: str,
    *,
    registry: EffectRegistry | None = None,
    doors: Doors | None = None,
) -> AsyncGenerator[World, None]:
    (folder / "targets.yaml").write_text(f"audit: {{path: audit.jsonl}}\ntargets:\n{targets}", encoding="utf-8")
    kinds = {} if doors is None else {"kinds": doors.kinds}
    node = EffectNode(registry or EffectRegistry(), folder / "targets.yaml", "1", **kinds)  # type: ignore[arg-type]
    async with InProcessMesh(etcd, keys) as mesh:
        yield World(mesh, await mesh.add(node))


async def _refusal(call: grpc.aio.UnaryUnaryCall[object, object]) -> OnexError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return from_rpc_error(failed.value)


def _http(name: str, url: str, more: str = "") -> str:
    return (
        f"  {name}: {{kind: http, base_url: '{url}', allow: [{{methods: [GET, POST], path: /x}}], allow_private: true"
        f"{', ' if more else ''}{more}}}\n"
    )


async def test_a_slow_target_does_not_slow_another(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R154: with a server that never answers full to its limit and others waiting for it, everything that goes
    elsewhere goes through: another server, a folder, and the node's own questions."""
    async with SilentServer() as silent, HttpServer(answer(200, b"{}", content_type="application/json")) as quick:
        targets = _http("slow", silent.url, "limits: {concurrency: 4}") + _http("quick", quick.url)
        targets += "  files: {kind: file, root: files}\n"
        async with _world(tmp_path, etcd, keys, targets) as world:
            stuck = [world.call("api_call", "slow", "POST", {"path": "/x"}, key=f"k{n}") for n in range(40)]
            await until(lambda: silent.requests == 4)
            for n in range(20):
                await world.call("api_call", "quick", "POST", {"path": "/x"}, key=f"k{n}")
                await world.call("file_operation", "files", "write", {"path": f"{n}", "content": "x"})
            slow, files = await world.target("slow"), await world.target("files")
            assert (slow.in_flight, slow.waiting, slow.succeeded_count) == (4, 36, 0)
            assert (files.in_flight, files.waiting, files.succeeded_count) == (0, 0, 20)
            assert silent.requests == 4
            for call in stuck:
                call.cancel()
            # One that waited may have had its turn before its own cancellation came.
            await until(lambda: silent.hung_up == silent.requests >= 4)


async def test_slow_handlers_hold_up_nobody(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R154: plain functions of an App that hang, more of them than the process has spare threads, neither hold up one
    another's kind, nor folders, nor the audit file."""
    release = threading.Event()
    begun = threading.Semaphore(0)
    registry = EffectRegistry()

    def hang(parameters: Mapping[str, Json], context: EffectContext) -> str:
        begun.release()
        release.wait(60)
        return "late"

    def quick(parameters: Mapping[str, Json], context: EffectContext) -> str:
        return "quick"

    registry.register("hang", hang)
    registry.register("quick", quick)
    async with _world(tmp_path, etcd, keys, "  files: {kind: file, root: files}\n", registry=registry) as world:
        stuck = [asyncio.ensure_future(world.call("hang", "app")) for _ in range(50)]
        try:
            for _ in stuck:
                await asyncio.wait_for(asyncio.to_thread(begun.acquire), 20)
            assert plain((await world.call("quick", "app", timeout_s=20)).output) == "quick"
            await world.call("file_operation", "files", "write", {"path": "a", "content": "x"}, timeout_s=20)
            await until(lambda: (tmp_path / "audit.jsonl").read_bytes().count(b"\n") == 2)
        finally:
            release.set()
        assert {plain((await task).output) for task in stuck} == {"late"}


async def test_those_who_wait_notice_that_the_breaker_opened(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace
) -> None:
    """R8, F17: a server goes silent while a hundred effects wait for it: it sees only those that were under way when
    the breaker opened; the others are refused with CIRCUIT_OPEN, and the node is DEGRADED."""
    async with SilentServer() as silent:
        more = "limits: {concurrency: 4, timeout_s: 0.3}, breaker: {failure_threshold: 4, recovery_s: 600}"
        async with _world(tmp_path, etcd, keys, _http("shop", silent.url, more)) as world:
            calls = [world.call("api_call", "shop", "POST", {"path": "/x"}, key=f"k{n}") for n in range(100)]
            reasons = [(await _refusal(call)).reason for call in calls]
            assert set(reasons) == {"CIRCUIT_OPEN", "TARGET_UNAVAILABLE"}
            # Four at once, and one more for each of the three failures that had not opened it yet.
            assert 4 <= reasons.count("TARGET_UNAVAILABLE") == silent.requests <= 7
            shop = await world.target("shop")
            assert (shop.breaker_state, shop.failed_count) == (effect_pb2.BREAKER_STATE_OPEN, 100)
            assert (shop.waiting, shop.in_flight) == (0, 0)
            health = await world.health()
            assert health.status == node_pb2.HEALTH_STATUS_DEGRADED
            assert "shop: the breaker is open" in list(health.reasons)


async def test_an_outage_is_not_multiplied(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R8, F16: a hundred callers that would each try ten times more: the server sees a fifth more requests than there
    are calls, not ten times as many."""
    async with HttpServer(answer(503)) as away:
        more = "breaker: {failure_threshold: 10000, failure_rate: 1, window_calls: 10000}, retry: {budget_per_s: 0}"
        async with _world(tmp_path, etcd, keys, _http("shop", away.url, more)) as world:
            calls = [
                world.call("api_call", "shop", "POST", {"path": "/x"}, key=f"k{n}", retries=10) for n in range(100)
            ]
            errors = [await _refusal(call) for call in calls]
            assert {error.reason for error in errors} == {"TARGET_UNAVAILABLE"}
            assert len(away.requests) <= 120
            assert len(away.requests) > 100
            assert any("budget" in str(error.error_context.get("retries")) for error in errors)
            shop = await world.target("shop")
            assert shop.retried_count == len(away.requests) - 100


def _retry_delay_s(error: grpc.aio.AioRpcError) -> float:
    """What the status says of when to try again."""
    encoded = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(encoded, bytes)
    found = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(found) for detail in status_pb2.Status.FromString(encoded).details)
    return float(found.retry_delay.ToMilliseconds()) / 1000


async def test_a_rate_is_kept(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R154: beyond burst and rate calls wait within their deadline; those whose turn would come later are OVERLOADED at
    once, are told when there would be room, and have not reached the server."""
    async with HttpServer(answer(204)) as shop:
        async with _world(
            tmp_path, etcd, keys, _http("shop", shop.url, "limits: {rate_per_s: 0.01, burst: 3}")
        ) as world:
            for n in range(3):
                await world.call("api_call", "shop", "POST", {"path": "/x"}, key=f"k{n}")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await world.call("api_call", "shop", "POST", {"path": "/x"}, key="k3", timeout_s=20)
            error = from_rpc_error(refused.value)
            assert (error.reason, error.retryable) == ("OVERLOADED", True)
            assert 80 < float(str(error.error_context["retry_after_s"])) <= 100
            assert 80 < _retry_delay_s(refused.value) <= 100
            assert len(shop.requests) == 3
        async with _world(tmp_path, etcd, keys, _http("shop", shop.url, "limits: {rate_per_s: 50, burst: 1}")) as world:
            calls = [world.call("api_call", "shop", "POST", {"path": "/x"}, key=f"r{n}") for n in range(20)]
            began = time.monotonic()
            await asyncio.gather(*calls)
            # Not how long it took, but that it could not have taken less.
            assert time.monotonic() - began > 18 / 50
            assert len(shop.requests) == 23


async def _ended(server: SilentServer, world: World, how: Callable[[], object]) -> None:
    await until(lambda: server.requests == 1)
    how()
    await until(lambda: server.hung_up == 1)
    async with asyncio.timeout(10):
        while (await world.target("shop")).in_flight:  # noqa: ASYNC110  # no event to wait for
            await asyncio.sleep(0.01)


async def test_a_caller_that_goes_away_hangs_up(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R109, R164: a call that its client cancels ends the connection to the server, not only the wait for it."""
    async with SilentServer() as silent, _world(tmp_path, etcd, keys, _http("shop", silent.url)) as world:
        call = world.call("api_call", "shop", "POST", {"path": "/x"}, key="k", retries=5)
        await _ended(silent, world, call.cancel)
        assert silent.requests == 1
        await until(lambda: (tmp_path / "audit.jsonl").read_bytes() != b"")
        assert json.loads((tmp_path / "audit.jsonl").read_text(encoding="utf-8"))["outcome"] == "cancelled"


async def test_a_deadline_hangs_up(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R138: a deadline that passes does, too; nothing is tried after it."""
    async with SilentServer() as silent, _world(tmp_path, etcd, keys, _http("shop", silent.url)) as world:
        call = world.call("api_call", "shop", "POST", {"path": "/x"}, key="k", retries=5, timeout_s=1.0)
        assert (await _refusal(call)).reason == "ACTION_EXPIRED"
        await until(lambda: silent.hung_up == 1)
        assert silent.requests == 1


@pytest.fixture
async def action(client: EtcdClient, keys: Keyspace) -> AsyncGenerator[action_pb2.Action, None]:
    """An action under a real lease that calls the silent server."""
    session = await Session.open(client, instance_id="test-owner", ttl_s=10.0)
    record = workflow_pb2.Commit(workflow_id="w-1")
    record.state.workflow_id = "w-1"
    ownership = await Journal(client, keys).start(session, record)
    made = action_pb2.Action(
        action_id=str(uuid.uuid4()),
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        lease_id=ownership.lease_id,
        epoch=ownership.epoch,
        target_node=common_pb2.NODE_KIND_EFFECT,
        workflow_id="w-1",
        step_id="pay",
        fencing_token=ownership.fencing_token,
    )
    made.issued_at.GetCurrentTime()
    made.expires_at.FromSeconds(int(time.time()) + 60)
    made.command_payload.effect.CopyFrom(effect_contract("api_call", "shop", "POST", {"path": "/x"}))
    yield made
    await session.close()


async def test_a_cancelled_action_hangs_up(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, action: action_pb2.Action
) -> None:
    """R125, R109: an orchestrator that cancels an action ends its connection, and is told that it was cancelled."""
    async with SilentServer() as silent, _world(tmp_path, etcd, keys, _http("shop", silent.url)) as world:
        stream = world.actions.Dispatch()
        await stream.write(action_pb2.DispatchRequest(actions=[action]))
        await until(lambda: silent.requests == 1)
        await stream.write(action_pb2.DispatchRequest(cancel_action_ids=[action.action_id]))
        await stream.done_writing()
        results = [result async for frame in stream for result in frame.results]
        assert [result.status for result in results] == [action_pb2.ACTION_STATUS_CANCELLED]
        await until(lambda: silent.hung_up == 1)


async def test_an_action_that_expires_hangs_up(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, action: action_pb2.Action
) -> None:
    """R124, R138: an action past its expires_at is stopped where it is, at the server."""
    async with SilentServer() as silent, _world(tmp_path, etcd, keys, _http("shop", silent.url)) as world:
        action.expires_at.FromMilliseconds(int(time.time() * 1000) + 700)
        answer_ = await world.actions.ExecuteAction(action_pb2.ExecuteActionRequest(action=action), timeout=20)
        assert answer_.result.error.reason == "ACTION_EXPIRED"
        await until(lambda: silent.hung_up == 1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_a_cancelled_statement_ends(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, postgres: PostgresServer
) -> None:
    """R109, R164: an effect that is cancelled while its statement waits for a lock ends the statement at the server, so
    that the lock's holder finds nobody behind it, and the connection serves the next effect."""
    asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    targets = (
        f"  orders:\n    kind: database\n    dsn: {postgres.dsn}\n    limits: {{concurrency: 1, timeout_s: 60}}\n"
        "    tables: {orders: {columns: [id, total], key: [id]}}\n"
        "    ddl: ['CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, total INTEGER)']\n"
    )
    async with _world(tmp_path, etcd, keys, targets) as world:
        insert = {"table": "orders", "data": {"id": 1, "total": 1}}
        await world.call("database_write", "orders", "insert", insert, key="k1")
        holder = await asyncpg.connect(postgres.dsn)
        watcher = await asyncpg.connect(postgres.dsn)

        async def waiting() -> int:
            text = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%orders%'"
            return int(await watcher.fetchval(text))

        async def become(count: int) -> None:
            async with asyncio.timeout(20):
                while await waiting() != count:  # noqa: ASYNC110  # the server tells nobody
                    await asyncio.sleep(0.01)

        try:
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute("UPDATE orders SET total = 2 WHERE id = 1")
            update = {"table": "orders", "data": {"total": 3}, "where": {"id": 1}}
            call = world.call("database_write", "orders", "update", update, key="k2")
            await become(1)
            call.cancel()
            await become(0)
            await transaction.commit()
            await world.call("database_write", "orders", "update", {**update, "data": {"total": 4}}, key="k3")
            assert await watcher.fetchval("SELECT total FROM orders WHERE id = 1") == 4
        finally:
            await holder.close()
            await watcher.close()


async def test_a_breaker_opens_probes_and_closes_in_sight(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8, R24, R156, R157: each state of a breaker in ListTargets, the node's health and the metrics; one probe passes
    at a time, and closes it."""
    monkeypatch.setattr("onex_mesh.runtime.health._CHECK_S", -1.0)
    monkeypatch.setattr("onex_mesh.effect.core.health._FRESH_S", -1.0)
    doors = Doors()
    text = "  front: {kind: door, label: in, breaker: {failure_threshold: 3, recovery_s: 0.2}}\n"
    async with _world(tmp_path, etcd, keys, text, doors=doors) as world:
        (door,) = doors.all
        assert (await world.health()).status == node_pb2.HEALTH_STATUS_HEALTHY
        door.is_broken = True
        assert not (await world.target("front")).healthy
        assert (await world.target("front")).health_message == "the door is stuck"
        for _ in range(3):
            assert (await _refusal(world.call("api_call", "front"))).reason == "TARGET_UNAVAILABLE"
        assert (await world.target("front")).breaker_state == effect_pb2.BREAKER_STATE_OPEN
        assert _metric(world, 'effect_target_breaker_state{target="front"}') == 2
        refused = await _refusal(world.call("api_call", "front"))
        assert (refused.reason, door.entered) == ("CIRCUIT_OPEN", 3)
        assert 0 < float(str(refused.error_context["retry_after_s"])) <= 0.2
        assert (await world.health()).status == node_pb2.HEALTH_STATUS_DEGRADED
        door.is_broken = False
        half_open = effect_pb2.BREAKER_STATE_HALF_OPEN
        async with asyncio.timeout(10):
            while (await world.target("front")).breaker_state != half_open:  # noqa: ASYNC110  # time has no event
                await asyncio.sleep(0.01)
        assert _metric(world, 'effect_target_breaker_state{target="front"}') == 1
        probe = asyncio.ensure_future(world.call("api_call", "front", "", {"wait": True}))
        await until(lambda: door.entered == 4)
        assert (await _refusal(world.call("api_call", "front"))).reason == "CIRCUIT_OPEN"
        assert door.entered == 4
        door.released.set()
        assert plain((await probe).output) == "in"
        front = await world.target("front")
        assert (front.breaker_state, front.healthy) == (effect_pb2.BREAKER_STATE_CLOSED, True)
        health = await world.health()
        assert [(row.name, row.healthy) for row in health.dependencies] == [("etcd", True), ("front", True)]
        # What was refused meanwhile counts for a minute (R156).
        assert [reason.split()[:2] for reason in health.reasons] == [["error", "rate"]]


def _page(world: World) -> str:
    return generate_latest(world.server._metrics.registry).decode()


def _metric(world: World, series: str) -> float:
    (line,) = (line for line in _page(world).splitlines() if line.startswith(series))
    return float(line.removeprefix(series))


async def test_metrics_of_each_target(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R155: effects by outcome, retries, waiting, under way, breaker and health of each target; a target that is gone
    leaves no series, and no id of a request is a label."""
    doors = Doors()
    text = "  front: {kind: door, limits: {concurrency: 1}}\n  back: {kind: door}\n"
    async with _world(tmp_path, etcd, keys, text, doors=doors) as world:
        front, back = doors.all
        await world.call("api_call", "front")
        back.is_broken = True
        await _refusal(world.call("api_call", "back", "", {}, retries=2))
        calls = [world.call("api_call", "front", "", {"wait": True}) for _ in range(3)]
        await until(lambda: _metric(world, 'effect_target_waiting{target="front"}') == 2)
        assert _metric(world, 'effect_target_in_flight{target="front"}') == 1
        assert _metric(world, 'effect_target_effects_total{outcome="completed",target="front"}') == 1
        assert _metric(world, 'effect_target_effects_total{outcome="failed",target="back"}') == 1
        assert _metric(world, 'effect_target_retries_total{target="back"}') == 2
        await world.target("back")
        assert _metric(world, 'effect_target_healthy{target="back"}') == 0
        assert _metric(world, 'effect_target_healthy{target="front"}') == 1
        calls[0].cancel()
        await until(lambda: _metric(world, 'effect_target_effects_total{outcome="cancelled",target="front"}') == 1)
        front.released.set()
        await asyncio.gather(*calls[1:])
        (tmp_path / "targets.yaml").write_text("targets: {front: {kind: door}}\n", encoding="utf-8")
        await until(lambda: 'target="back"' not in _page(world))
        # The front one was declared anew, and goes on counting.
        assert _metric(world, 'effect_target_effects_total{outcome="completed",target="front"}') == 3
        assert "corr" not in _page(world)
    assert "effect_target" not in _page(world)


async def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """R155: of very many targets some are told apart and the others summed up."""
    monkeypatch.setattr(target_metrics, "TARGETS_MAX", 2)
    config = DoorConfig(kind="door", breaker={"failure_threshold": 1})  # type: ignore[arg-type]  # parsed by pydantic
    lanes = {name: open_lane(name, config, Door(name, config, "")) for name in ("a", "b", "c", "d")}
    for number, lane in enumerate(lanes.values()):
        lane.counters.ended["completed"] = number
    lanes["d"].breaker.failed(lanes["d"].breaker.enter("d"))
    assert lanes["d"].breaker.state is BreakerState.OPEN
    rows = {
        (sample.name, sample.labels["target"], sample.labels.get("outcome", "")): sample.value
        for metric in TargetMetrics(lanes, {}).collect()
        for sample in metric.samples
    }
    assert {target for _, target, _ in rows} == {"a", "b", "OTHER"}
    assert rows["effect_target_effects_total", "OTHER", "completed"] == 5
    assert rows["effect_target_breaker_state", "OTHER", ""] == 2


async def test_probes_do_not_hammer_a_target(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R24: however often a node is asked for its health and its targets, each target is looked at once in a while."""
    async with HttpServer(answer(200)) as shop:
        targets = _http("shop", shop.url, "health_path: /health")
        async with _world(tmp_path, etcd, keys, targets) as world:
            await asyncio.gather(*(world.health() for _ in range(50)), *(world.target("shop") for _ in range(50)))
            assert len(shop.requests) == 1
            assert (await world.health()).status == node_pb2.HEALTH_STATUS_HEALTHY


async def test_the_audit_file_is_rotated(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R11: a file that an operator renames or truncates while the node runs goes on under its name, and no record is
    lost, torn or written twice."""
    async with _world(tmp_path, etcd, keys, "  files: {kind: file, root: files}\n") as world:
        log = tmp_path / "audit.jsonl"
        for number in range(3):
            for n in range(5):
                await world.call(
                    "file_operation", "files", "write", {"path": f"{n}", "content": "x"}, key=f"{number}{n}"
                )
            await until(lambda: log.exists() and log.read_bytes().count(b"\n") == 5)
            log.rename(tmp_path / f"audit.{number}")
        await world.call("file_operation", "files", "read", {"path": "0"}, key="last")
    written = [tmp_path / f"audit.{number}" for number in range(3)] + [log]
    lines = [json.loads(line)["idempotency_key"] for path in written for line in path.read_text("utf-8").splitlines()]
    assert lines == [f"{number}{n}" for number in range(3) for n in range(5)] + ["last"]

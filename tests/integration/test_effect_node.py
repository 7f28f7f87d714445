"""The EFFECT node on a running mesh: its service, its ledger in etcd, its health, its audit file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
import structlog

from onex.v1 import effect_pb2, effect_pb2_grpc, intent_pb2, node_pb2, node_pb2_grpc, orchestrator_pb2, workflow_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.effect.adapters import audit_file, audit_lines
from onex_mesh.effect.adapters.audit_file import AuditFile
from onex_mesh.effect.adapters.catalog import BUILT_IN_KINDS
from onex_mesh.effect.core import EffectContext, EffectRegistry
from onex_mesh.effect.core.request import EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.effect.core.targets import AuditSettings, TargetConfig
from onex_mesh.effect.node import EffectNode
from onex_mesh.effect.ports import AuditRecord, TargetKind
from onex_mesh.runtime.errors import OverloadedError, TargetUnavailableError, ValidationError, from_rpc_error
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.serving import NodeServer
from tests.effect_engine import effect_contract, intent, plain
from tests.inprocess import InProcessMesh

TARGETS = """\
audit: {path: audit.jsonl, log: false, flush_interval_s: 0.05}
targets:
  files: {kind: file, root: files, description: Papers}
  orders:
    kind: database
    dsn: sqlite:///shop.db
    table: orders
    tables: {orders: {columns: [order_id, total], key: [order_id]}}
    ddl: ["CREATE TABLE IF NOT EXISTS orders (order_id TEXT PRIMARY KEY, total NUMERIC(12, 2))"]
  events: {kind: event_log, path: events.jsonl}
  shop:
    kind: http
    base_url: http://127.0.0.1:1
    allow: [{methods: [POST], path: /x}]
    allow_private: true
    bearer_token_env: SHOP_TOKEN
"""


def _node(folder: Path, registry: EffectRegistry | None = None, targets: str = TARGETS) -> EffectNode:
    path = folder / "targets.yaml"
    path.write_text(targets, encoding="utf-8")
    return EffectNode(registry or EffectRegistry(), path, "1.0.0", environment={"SHOP_TOKEN": "tok-secret"})


def _stub(mesh: InProcessMesh, server: NodeServer) -> effect_pb2_grpc.EffectServiceStub:
    return effect_pb2_grpc.EffectServiceStub(mesh.channel(server))


async def _execute(
    stub: effect_pb2_grpc.EffectServiceStub, *arguments: object, **settings: object
) -> effect_pb2.EffectOutput:
    contract = effect_contract(*arguments, **settings)  # type: ignore[arg-type]  # passed on as they are
    return (await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract))).output


async def test_effects_over_grpc(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R12, R13: ExecuteEffect answers with correlation id, result and metadata; a repeat is replayed."""
    async with InProcessMesh(etcd, keys) as mesh:
        stub = _stub(mesh, await mesh.add(_node(tmp_path)))
        write = ("database_write", "orders", "insert", {"data": {"order_id": "a", "total": "1.50"}})
        first, again = await _execute(stub, *write, key="k"), await _execute(stub, *write, key="k")
        assert plain(first) == plain(again) == {"operation": "insert", "table": "orders", "rows": 1}
        assert first.correlation_id != ""
        metadata = first.metadata
        assert (metadata.target, metadata.effect_type, metadata.operation) == ("orders", "database_write", "insert")
        assert (metadata.attempts, metadata.idempotency_key, metadata.replayed) == (1, "k", False)
        assert metadata.execution_time.ToMilliseconds() > 0 or metadata.execution_time.nanos > 0
        assert metadata.HasField("started_at")
        assert (again.metadata.attempts, again.metadata.replayed) == (0, True)


async def test_refusals_over_grpc(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R18, R19: a refused contract ends with INVALID_ARGUMENT and its violations, an unknown target with NOT_FOUND."""
    async with InProcessMesh(etcd, keys) as mesh:
        stub = _stub(mesh, await mesh.add(_node(tmp_path)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _execute(stub, "file_operation", "files", "write", {"path": "../x"}, key="a b")
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        error = from_rpc_error(refused.value)
        assert {row["field"] for row in error.error_context["violations"]} == {  # type: ignore[attr-defined]  # rows
            "idempotency_key",
            "io_operation_config.parameters.path",
            "io_operation_config.parameters.content",
        }
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await _execute(stub, "file_operation", "nowhere")
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as away:
            await _execute(stub, "api_call", "shop", "POST", {"path": "/x"})
        assert away.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "tok-secret" not in str(away.value)


async def test_intents_stream_as_they_end(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R84 to R86: the three intents of an order, by priority, one of them failing."""
    async with InProcessMesh(etcd, keys) as mesh:
        stub = _stub(mesh, await mesh.add(_node(tmp_path)))
        request = effect_pb2.ExecuteIntentsRequest(
            correlation_id="corr-7",
            intents=[
                intent("event", intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, "events", {"event_type": "order.placed"}),
                intent("mail", intent_pb2.INTENT_TYPE_NOTIFICATION, "nowhere", {}, priority=2),
                intent(
                    "table",
                    intent_pb2.INTENT_TYPE_DATABASE_WRITE,
                    "orders",
                    {"operation": "insert", "data": {"order_id": "a"}},
                    priority=1,
                    key="order_a",
                ),
            ],
        )
        results = [response.result async for response in stub.ExecuteIntents(request)]
        assert [row.intent_id for row in results] == ["table", "mail", "event"]
        assert [row.status for row in results] == [2, 3, 2]
        assert (results[1].error.reason, results[1].error.correlation_id) == ("TARGET_NOT_FOUND", "corr-7")
        event = json.loads((tmp_path / "events.jsonl").read_text(encoding="utf-8"))
        assert (event["type"], event["correlationid"]) == ("order.placed", "corr-7")


async def test_targets_are_listed_with_their_health(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R17, R24: kind, types, health, breaker and counters of each target; never a secret; health feeds the node's."""
    registry = EffectRegistry()

    async def ping(parameters: Mapping[str, Json], context: EffectContext) -> str:
        return "pong"

    registry.register("ping", ping)
    async with InProcessMesh(etcd, keys) as mesh:
        server = await mesh.add(_node(tmp_path, registry))
        stub = _stub(mesh, server)
        await _execute(stub, "ping")
        await _execute(stub, "file_operation", "files", "write", {"path": "x", "content": "y"})
        response = await stub.ListTargets(effect_pb2.ListTargetsRequest())
        targets = {target.name: target for target in response.targets}
        assert list(targets) == ["app:ping", "events", "files", "orders", "shop"]
        assert (targets["files"].kind, targets["files"].description) == ("file", "Papers")
        assert (targets["files"].succeeded_count, targets["files"].failed_count) == (1, 0)
        assert targets["files"].breaker_state == effect_pb2.BREAKER_STATE_CLOSED
        assert list(targets["orders"].effect_types) == ["database_write", "database_read"]
        assert {name: target.healthy for name, target in targets.items()} == {
            "app:ping": True,
            "events": True,
            "files": True,
            "orders": True,
            "shop": False,
        }
        assert b"tok-secret" not in response.SerializeToString()
        only = await stub.ListTargets(effect_pb2.ListTargetsRequest(kind="file"))
        assert [target.name for target in only.targets] == ["files"]
        health = await node_pb2_grpc.NodeServiceStub(mesh.channel(server)).GetHealth(node_pb2.GetHealthRequest())
        rows = {row.name: row for row in health.health.dependencies}
        assert rows["orders"].healthy
        assert not rows["shop"].healthy
        assert "takes no connections" in rows["shop"].message
        assert health.health.status == node_pb2.HEALTH_STATUS_DEGRADED


async def test_capabilities_are_announced(tmp_path: Path) -> None:
    """R94: what the registry says of the node: effect types, effects of the application, targets."""
    registry = EffectRegistry()

    async def ping(parameters: Mapping[str, Json], context: EffectContext) -> str:
        return "pong"

    registry.register("ping", ping)
    assert _node(tmp_path, registry).capabilities() == [
        "effect:api_call",
        "effect:database_read",
        "effect:database_write",
        "effect:file_operation",
        "effect:message_publish",
        "effect:ping",
        "target:app",
        "target:events",
        "target:files",
        "target:orders",
        "target:shop",
    ]


async def test_an_effect_step_of_a_workflow(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R12, R106, R161: effects as steps under an orchestrator's lease: one's output is the next one's input, and the
    record in the database has the workflow and its fencing token."""
    config = {
        "correlation_id": "corr-9",
        "workflow_id": "order-1",
        "steps": [
            ("write", "file_operation", "files", "write", {"path": "in.json", "content": {"order_id": "a"}}),
            ("read", "file_operation", "files", "read", {"path": "in.json", "format": "json"}),
            ("insert", "database_write", "orders", "insert", {"data": "${steps.read.output}", "returning": ["total"]}),
        ],
    }
    contract = workflow_pb2.OrchestratorContract(workflow_id="order-1", correlation_id="corr-9")
    contract.workflow_config.coordination_type = workflow_pb2.COORDINATION_TYPE_SEQUENTIAL
    for step_id, *effect in config["steps"]:
        step = contract.workflow_config.steps.add(step_id=step_id)
        step.command.effect.CopyFrom(effect_contract(*effect))  # type: ignore[arg-type]  # passed on as they are
    async with InProcessMesh(etcd, keys) as mesh:
        await mesh.add(_node(tmp_path))
        stub = mesh.orchestrator(await mesh.add_orchestrator())
        request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
        output = (await stub.ExecuteOrchestration(request, timeout=20)).output
        steps = {row.step_id: row for row in output.orchestration_result.step_results}
        assert [row.status for row in steps.values()] == [workflow_pb2.STEP_STATUS_COMPLETED] * 3
    with sqlite3.connect(tmp_path / "shop.db") as database:
        assert database.execute("SELECT order_id FROM orders").fetchall() == [("a",)]
        rows = database.execute("SELECT workflow_id, fencing_token > 0, target FROM onex_effects").fetchall()
        assert rows == [("order-1", 1, "orders")]
    database.close()
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["step_id"] for record in records] == ["write", "read", "insert"]
    assert {record["correlation_id"] for record in records} == {"corr-9"}
    assert all(record["fencing_token"] > 0 for record in records)


async def test_the_ledger_spans_nodes(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R9: of two nodes handed the same effect at once one executes it, the other waits and reports its result."""
    calls: list[str] = []

    async def charge(parameters: Mapping[str, Json], context: EffectContext) -> Json:
        calls.append(context.idempotency_key)
        await asyncio.sleep(0.05)
        return {"receipt": len(calls)}

    registry = EffectRegistry()
    registry.register("charge", charge, ledger=True)
    async with InProcessMesh(etcd, keys) as mesh:
        nodes = [await mesh.add(EffectNode(registry, None, "1.0.0")) for _ in range(2)]
        stubs = [_stub(mesh, node) for node in nodes]
        outputs = await asyncio.gather(*(_execute(stub, "charge", key="order_1") for stub in stubs))
        assert [plain(output) for output in outputs] == [{"receipt": 1}, {"receipt": 1}]
        assert sorted(output.metadata.replayed for output in outputs) == [False, True]
        assert calls == ["order_1"]


async def test_a_crash_between_effect_and_record(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R9, R25: a node whose session ends while it works under a claim stops; the claim goes with the session, and the
    repeat on another node does the work a second time: at least once, as docs/guarantees.md says."""
    calls: list[str] = []
    entered, hang = asyncio.Event(), asyncio.Event()

    async def charge(parameters: Mapping[str, Json], context: EffectContext) -> Json:
        calls.append(context.idempotency_key)
        if len(calls) == 1:
            entered.set()
            await hang.wait()
        return {"receipt": len(calls)}

    registry = EffectRegistry()
    registry.register("charge", charge, ledger=True)
    async with InProcessMesh(etcd, keys) as mesh:
        first, second = [await mesh.add(EffectNode(registry, None, "1.0.0")) for _ in range(2)]
        lost = asyncio.create_task(_execute(_stub(mesh, first), "charge", key="k"))
        await entered.wait()
        repeat = asyncio.create_task(_execute(_stub(mesh, second), "charge", key="k"))
        await asyncio.sleep(0.05)
        assert calls == ["k"]
        mesh_of_first = first._mesh
        assert mesh_of_first is not None
        await mesh_of_first.session.close()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await lost
        assert from_rpc_error(failed.value).retryable
        assert plain(await asyncio.wait_for(repeat, 20)) == {"receipt": 2}
        assert calls == ["k", "k"]


class StoreConfig(TargetConfig):
    """A kind of target that an operator brings himself."""

    effect_types = ("cache_update",)

    size: int = 10


class Store:
    """Its adapter."""

    def __init__(self, name: str, config: StoreConfig, environment: Mapping[str, str]) -> None:
        self.values: dict[str, Json] = {}
        self.size = config.size

    async def start(self) -> None:
        """Nothing to open."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Sets a value."""

        async def run(context: EffectContext) -> EffectValue:
            self.values[str(request.parameters["key"])] = request.parameters["value"]
            return EffectValue({"size": self.size, "keys": len(self.values)})

        return EffectPlan(run=run, operation=request.operation, once=Once.NOT_NEEDED)

    async def check(self) -> None:
        """Always well."""

    async def stop(self) -> None:
        """Nothing was opened."""


async def test_a_kind_of_target_of_ones_own(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R88, R91: a new kind of target takes an intent type without a change to any code, and has all the machinery."""
    path = tmp_path / "targets.yaml"
    path.write_text("targets: {store: {kind: store, size: 3}}\n", encoding="utf-8")
    kinds = {**BUILT_IN_KINDS, "store": TargetKind(StoreConfig, Store)}
    node = EffectNode(EffectRegistry(), path, "1.0.0", kinds=kinds)  # type: ignore[arg-type]  # its own config
    async with InProcessMesh(etcd, keys) as mesh:
        stub = _stub(mesh, await mesh.add(node))
        message = intent(
            "i", intent_pb2.INTENT_TYPE_CACHE_UPDATE, "store", {"operation": "set", "key": "a", "value": 1}
        )
        request = effect_pb2.ExecuteIntentsRequest(intents=[message])
        (response,) = [row async for row in stub.ExecuteIntents(request)]
        assert response.result.status == intent_pb2.INTENT_STATUS_COMPLETED
        assert response.result.result.json.struct_value["size"] == 3


async def test_wrong_targets_do_not_start(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R18: a wrong file is refused with file and line, a missing credential when the node starts."""
    with pytest.raises(ValidationError, match=r"targets\.yaml:2: targets\.x\.kind"):
        _node(tmp_path, targets="targets:\n  x: {kind: nothing}\n")
    node = _node(tmp_path)
    node._environment = {}
    async with InProcessMesh(etcd, keys) as mesh:
        with pytest.raises(ValidationError, match="SHOP_TOKEN is not set"):
            await mesh.add(node)
    taken = _node(tmp_path, targets="audit: {path: taken/audit.jsonl}\n")
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    async with InProcessMesh(etcd, keys) as mesh:
        with pytest.raises(ValidationError, match="the audit file cannot be opened"):
            await mesh.add(taken)


def _record(number: int) -> AuditRecord:
    return AuditRecord(
        started_at_s=1_800_000_000.0 + number,
        node="n",
        target="t",
        effect_type="api_call",
        operation="POST",
        correlation_id=f"c-{number}",
        workflow_id="",
        step_id="",
        idempotency_key="",
        fencing_token=0,
        attempts=1,
        outcome="completed",
        reason="",
        message="",
        duration_s=0.25,
    )


async def test_audit_records_are_json_lines(tmp_path: Path) -> None:
    """R11: written soon, and the rest when the node stops; empty facts are left out."""
    audit = AuditFile(AuditSettings(path=tmp_path / "a/audit.jsonl", log=False, flush_interval_s=0.01))
    await audit.start()
    audit.add(_record(0))
    async with asyncio.timeout(10):
        while not (tmp_path / "a/audit.jsonl").read_bytes():  # noqa: ASYNC110  # a file has no event to wait for
            await asyncio.sleep(0.01)
    for number in range(1, 1200):
        audit.add(_record(number))
    await audit.stop()
    lines = [json.loads(line) for line in (tmp_path / "a/audit.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["correlation_id"] for line in lines] == [f"c-{number}" for number in range(1200)]
    assert lines[0] == {
        "at": "2027-01-15T08:00:00+00:00",
        "target": "t",
        "effect_type": "api_call",
        "operation": "POST",
        "outcome": "completed",
        "attempts": 1,
        "duration_s": 0.25,
        "correlation_id": "c-0",
        "fencing_token": 0,
        "node": "n",
    }


async def test_audit_that_cannot_be_written_stops_effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R11, R24: records wait while the file cannot be written, the check says so; when too many wait effects are
    refused; nothing is lost once it can be written again."""
    audit = AuditFile(AuditSettings(path=tmp_path / "audit.jsonl", log=False, flush_interval_s=0.01))
    await audit.start()
    append = audit_lines._append
    monkeypatch.setattr(audit_lines, "_append", lambda path, data: (0, "No space left on device"))
    for number in range(20_000):
        audit.require_room()
        audit.add(_record(number))
    await audit.flush()
    with pytest.raises(TargetUnavailableError, match="No space left"):
        await audit.check()
    with pytest.raises(OverloadedError, match="20000 audit records cannot be written"):
        audit.require_room()
    monkeypatch.setattr(audit_lines, "_append", append)
    await audit.stop()
    audit.require_room()
    assert len((tmp_path / "audit.jsonl").read_bytes().splitlines()) == 20_000


async def test_records_are_in_the_log_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """R11, R20: each record is a line of the node's log, a failure as a warning."""
    # Loggers remember the configuration that another test gave them; this one is new.
    monkeypatch.setattr(audit_file, "log", structlog.get_logger("audit-test"))
    audit = AuditFile(AuditSettings(flush_interval_s=0.01))
    await audit.start()
    with structlog.testing.capture_logs() as lines:
        audit.add(_record(1))
        audit.add(dataclasses.replace(_record(2), outcome="failed", reason="EFFECT_FAILED", message="no"))
        await audit.flush()
    await audit.stop()
    assert [(line["log_level"], line["event"], line["correlation_id"]) for line in lines] == [
        ("info", "effect", "c-1"),
        ("warning", "effect", "c-2"),
    ]
    assert (lines[1]["reason"], lines[1]["message"]) == ("EFFECT_FAILED", "no")

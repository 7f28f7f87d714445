"""Measures effects: the library called directly, the same by one effect node, and as the one step of a workflow.

python -m bench.effects --type file_write orders_postgres --in-flight 1 16 --seconds 2

Servers and etcd are real ones and sync what they sync by default; the three ways take turns in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc
from rich.console import Console
from rich.table import Table

from bench import effect_libraries as libraries
from bench.effect_libraries import CONTENT, DDL, Call
from onex.v1 import (
    action_pb2,
    effect_pb2,
    effect_pb2_grpc,
    intent_pb2,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    workflow_pb2,
)
from onex_mesh.cli.dev.mesh import MeshOptions, ProcessMesh
from tests.nats_server import NatsServer
from tests.postgres import PostgresServer
from tests.redis_server import RedisServer

Value: TypeAlias = "str | int | dict[str, str | int]"

LEVELS = (1, 16)
_WAYS = ("library", "ExecuteIntents", "workflow")


@dataclass(frozen=True, slots=True)
class EffectKind:
    """One type of effect: how the node is asked for it, and the call of the library that does the same."""

    name: str
    effect_type: str
    intent_type: intent_pb2.IntentType
    operation: str
    declaration: str
    """Lines of YAML."""
    direct: Call

    def parameters(self, label: str) -> dict[str, Value]:
        """Of one effect."""
        match self.effect_type:
            case "database_write":
                return {"data": {"order_id": label, "total": 7}}
            case "api_call":
                return {"method": "POST", "path": "/orders", "body": {"label": label}}
            case "message_publish":
                return {"event_type": "order.placed", "data": {"label": label}}
            case "cache_update":
                return {"key": label, "value": CONTENT}
            case _:
                return {"path": "file.txt" if self.operation == "append" else label, "content": CONTENT}


@dataclass(frozen=True, slots=True)
class Window:
    """What one closed loop came to."""

    per_s: float
    p50_s: float


async def measure(call: Call, in_flight: int, seconds: float) -> Window:
    """So many callers, each with one effect after the other; the first quarter of the time does not count.

    Raises:
        Exception: Whatever the first effect that failed raised.
    """
    latencies: list[float] = []
    begins = time.perf_counter() + seconds / 4
    ends = begins + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < ends:
            await call(uuid.uuid4().hex)
            ended = time.perf_counter()
            if begins <= ended < ends:
                latencies.append(ended - began)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    if not latencies:
        return Window(0.0, float("nan"))
    return Window(len(latencies) / seconds, sorted(latencies)[len(latencies) // 2])


def through_intents(kind: EffectKind, channel: grpc.aio.Channel) -> Call:
    """One intent, with a key, per ExecuteIntents."""
    stub = effect_pb2_grpc.EffectServiceStub(channel)

    async def call(label: str) -> None:
        intent = intent_pb2.Intent(
            intent_id=label, intent_type=kind.intent_type, target=kind.name, idempotency_key=label
        )
        intent.payload.update(dict(kind.parameters(label)))
        if kind.operation:
            intent.payload["operation"] = kind.operation
        async for answer in stub.ExecuteIntents(effect_pb2.ExecuteIntentsRequest(intents=[intent]), timeout=30):
            if answer.result.status != intent_pb2.INTENT_STATUS_COMPLETED:
                raise RuntimeError(answer.result.error.message)

    return call


def through_workflow(kind: EffectKind, channel: grpc.aio.Channel) -> Call:
    """A workflow with one step, run to its end."""
    stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)

    async def call(label: str) -> None:
        contract = workflow_pb2.OrchestratorContract(workflow_id=label)
        contract.workflow_config.coordination_type = workflow_pb2.COORDINATION_TYPE_SEQUENTIAL
        effect = effect_pb2.EffectContract()
        effect.external_service_config.target = kind.name
        effect.io_operation_config.effect_type = kind.effect_type
        effect.io_operation_config.operation = kind.operation
        effect.io_operation_config.parameters.update(dict(kind.parameters(label)))
        contract.workflow_config.steps.add(step_id="effect", command=action_pb2.Command(effect=effect))
        request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
        output = (await stub.ExecuteOrchestration(request, timeout=30)).output
        (step,) = output.orchestration_result.step_results
        if step.status != workflow_pb2.STEP_STATUS_COMPLETED:
            raise RuntimeError(step.error.message)

    return call


def start_api(stack: AsyncExitStack) -> int:
    """Starts the HTTP server; returns its port."""
    api = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "bench.effect_api"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    )
    stack.callback(api.kill)
    assert api.stdout is not None
    return int(api.stdout.readline())


async def open_kinds(folder: Path, stack: AsyncExitStack) -> list[EffectKind]:
    """Starts the servers; the stack ends them."""
    database, nats, redis = PostgresServer(), NatsServer(), RedisServer()
    for server in (database, nats, redis):
        stack.callback(server.remove)
        await asyncio.to_thread(server.start)
    url = f"http://127.0.0.1:{await asyncio.to_thread(start_api, stack)}"
    table = f'table: orders\ntables: {{orders: {{columns: [order_id, total]}}}}\nddl: ["{DDL}"]'
    write, publish = intent_pb2.INTENT_TYPE_DATABASE_WRITE, intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH
    file, cache = intent_pb2.INTENT_TYPE_FILE_OPERATION, intent_pb2.INTENT_TYPE_CACHE_UPDATE
    at_redis = f"host: 127.0.0.1\nport: {redis.port}"
    direct = folder / "direct"
    return [
        EffectKind("file_write", "file_operation", file, "write", f"kind: file\nroot: {folder}/files",
                   libraries.file_write(direct / "files")),
        EffectKind("file_append", "file_operation", file, "append", f"kind: file\nroot: {folder}/appends",
                   libraries.file_append(direct / "appends")),
        EffectKind("sqlite", "database_write", write, "insert", f"kind: database\ndsn: sqlite:///{folder}/a.db\n{table}",
                   libraries.sqlite(direct / "db/a.db", stack)),
        EffectKind("postgres", "database_write", write, "insert", f"kind: database\ndsn: {database.dsn}\n{table}",
                   await libraries.postgres(database.dsn, stack)),
        EffectKind("http", "api_call", intent_pb2.INTENT_TYPE_API_CALL, "",
                   f"kind: http\nbase_url: {url}\nallow_private: true\nallow: [{{methods: [POST], path: /orders}}]",
                   await libraries.http(url, stack)),
        EffectKind("nats", "message_publish", publish, "",
                   f"kind: nats\nservers: ['{nats.url}']\nstream: ORDERS\nprefix: shop\ncreate: {{storage: file}}",
                   await libraries.jetstream(nats.url, stack)),
        EffectKind("redis_stream", "message_publish", publish, "", f"kind: redis_stream\n{at_redis}\nstream: orders",
                   await libraries.redis_stream(redis.port, stack)),
        EffectKind("redis_cache", "cache_update", cache, "set", f"kind: redis_cache\n{at_redis}\nprefix: 'shop:'",
                   await libraries.redis_cache(redis.port, stack)),
    ]  # fmt: skip


async def run(types: Sequence[str], levels: Sequence[int], seconds: float, console: Console) -> Table:
    """Measures every type at every level in the three ways, in turn."""
    table = Table("effect", "in flight", *(f"{way}/s" for way in _WAYS), "intents", "p50", "workflow", "p50")
    with tempfile.TemporaryDirectory(prefix="onex-bench-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            kinds = await open_kinds(folder, stack)
            text = "audit: {path: audit.jsonl, log: false}\ntargets:\n"
            for kind in kinds:
                limits = f"{kind.declaration}\nlimits: {{concurrency: 16}}"
                text += f"  {kind.name}:\n{textwrap.indent(limits, '    ')}\n"
            (folder / "targets.yaml").write_text(text, encoding="utf-8")
            options = MeshOptions(
                data_dir=folder / "mesh",
                targets=folder / "targets.yaml",
                counts={"effect": 1, "orchestrator": 1, "compute": 0, "reducer": 0},
                settings={"ONEX_LOG_LEVEL": "warning"},
            )
            mesh = await stack.enter_async_context(ProcessMesh(options))
            node, orchestrator = [
                await stack.enter_async_context(grpc.aio.insecure_channel(mesh.of_kind(role)[0].address))
                for role in ("effect", "orchestrator")
            ]
            for kind in (row for row in kinds if row.name in types or not types):
                calls = (kind.direct, through_intents(kind, node), through_workflow(kind, orchestrator))
                for level in levels:
                    library, intents, workflow = [await measure(call, level, seconds) for call in calls]
                    console.print(f"{kind.name}, {level} in flight: done")
                    table.add_row(
                        kind.name,
                        str(level),
                        *(f"{window.per_s:,.0f}" for window in (library, intents, workflow)),
                        f"{intents.per_s / library.per_s:.2f}",
                        f"{intents.p50_s / library.p50_s:.1f}",
                        f"{workflow.per_s / library.per_s:.2f}",
                        f"{workflow.p50_s / library.p50_s:.1f}",
                    )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="bench.effects", description="Measures effects against their libraries.")
    parser.add_argument("--type", nargs="+", default=[], metavar="TYPE", help="default: all")
    parser.add_argument(
        "--in-flight", nargs="+", type=int, default=list(LEVELS), metavar="N", help=f"default: {LEVELS}"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each window; default: 2")
    given = parser.parse_args(arguments)
    console = Console(width=120)
    console.print(asyncio.run(run(given.type, given.in_flight, given.seconds, console)))
    console.print("Ratios to the library: intents and workflows per second, and how many times its p50 theirs is.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

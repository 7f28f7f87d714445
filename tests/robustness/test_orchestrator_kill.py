"""Orders survive the death of their orchestrator: what is started ends, once, with one writer at a time."""

from __future__ import annotations

import asyncio
import csv
import random
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from examples.orders.inbox import OrderFile, fill_inbox
from examples.orders.mailbox import Mailbox
from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_lease import Journal
from onex_mesh.runtime.payload import json_payload
from tests.mesh import ROOT, MeshProcesses, NodeProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

ORDERS = 50
KILLS = 20
COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]


def write_orders(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number in range(count):
            for line in range(1 + number % 3):
                rows.writerow(
                    [540_000 + number, f"S{line}", "TEA CUP", line + 1, "12/1/10 8:26", "2.50", 17_850, "France"]
                )


@asynccontextmanager
async def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, orders: int, orchestrators: int = 2
) -> AsyncIterator[tuple[MeshProcesses, Sequence[OrderFile]]]:
    """A mesh that runs the orders example, and its order files."""
    write_orders(tmp_path / "orders.csv", orders)
    files = fill_inbox(tmp_path / "orders.csv", tmp_path / "inbox")
    async with Mailbox(tmp_path / "mailbox") as mailbox:
        monkeypatch.setenv("ORDERS_DIR", str(tmp_path))
        monkeypatch.setenv("ORDERS_SMTP_PORT", str(mailbox.port))
        async with MeshProcesses(
            tmp_path,
            app="examples.orders.app:app",
            targets=ROOT / "examples/orders/targets.yaml",
            orchestrators=orchestrators,
        ) as mesh:
            yield mesh, files


def stub(mesh: MeshProcesses, index: int) -> orchestrator_pb2_grpc.OrchestratorServiceStub:
    return orchestrator_pb2_grpc.OrchestratorServiceStub(mesh.channel("orchestrator", index))


async def start(mesh: MeshProcesses, file: OrderFile) -> None:
    """Starts an order at any orchestrator that takes it; asking twice is safe."""
    contract = workflow_pb2.OrchestratorContract(
        workflow_id=file.workflow_id,
        workflow_config=workflow_pb2.WorkflowConfig(name="order"),
        initial_state=json_payload({"file": file.path.name, "sha256": file.digest}),
    )
    for attempt in range(200):
        try:
            await stub(mesh, attempt % len(mesh.orchestrators)).StartWorkflow(
                orchestrator_pb2.StartWorkflowRequest(contract=contract), timeout=5
            )
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(f"no orchestrator took {file.workflow_id}")


async def show(mesh: MeshProcesses, workflow_id: str) -> workflow_pb2.Workflow:
    """A workflow as any orchestrator shows it."""
    for attempt in range(200):
        try:
            answer = await stub(mesh, attempt % len(mesh.orchestrators)).GetWorkflow(
                orchestrator_pb2.GetWorkflowRequest(workflow_id=workflow_id), timeout=5
            )
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return answer.workflow
    raise AssertionError(f"no orchestrator shows {workflow_id}")


async def all_completed(mesh: MeshProcesses, files: Sequence[OrderFile], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = {file.workflow_id for file in files}
    while waiting:
        for workflow_id in sorted(waiting):
            status = (await show(mesh, workflow_id)).status
            assert status in (workflow_pb2.WORKFLOW_STATUS_RUNNING, workflow_pb2.WORKFLOW_STATUS_COMPLETED)
            if status == workflow_pb2.WORKFLOW_STATUS_COMPLETED:
                waiting.discard(workflow_id)
        assert time.monotonic() < deadline, f"not ended in time: {sorted(waiting)}"
        await asyncio.sleep(0.1)


async def check_logs(mesh: MeshProcesses, files: Sequence[OrderFile]) -> int:
    """Epochs gap-free, chains unbroken, tokens non-decreasing; returns how many takeovers the logs show."""
    client = await mesh.etcd_client()
    journal = Journal(client, mesh.keys)
    takeovers = 0
    try:
        for file in files:
            rows = await journal.read_log(file.workflow_id)
            assert [record.epoch for record, _ in rows] == list(range(1, len(rows) + 1))
            hashes = [b"", *(digest for _, digest in rows)]
            assert [record.previous_hash for record, _ in rows] == hashes[:-1]
            tokens = [record.fencing_token for record, _ in rows[1:]]
            assert tokens == sorted(tokens)
            takeovers += len({record.lease_id for record, _ in rows}) - 1
        assert await journal.list_open() == []
    finally:
        await client.close()
    return takeovers


def check_effects(tmp_path: Path, files: Sequence[OrderFile]) -> None:
    """Each order exactly once in the table, in the mailbox and in the event log."""
    with sqlite3.connect(tmp_path / "orders.db") as database:
        invoices = [row[0] for row in database.execute("SELECT invoice_no FROM orders ORDER BY invoice_no")]
    assert invoices == sorted({str(540_000 + number) for number in range(len(files))})
    assert len(list((tmp_path / "mailbox").glob("*.eml"))) == len(files)
    assert len((tmp_path / "order-events.jsonl").read_text().splitlines()) == len(files)


async def owner_of(mesh: MeshProcesses, files: Sequence[OrderFile]) -> NodeProcess | None:
    """The orchestrator that owns one of the orders now."""
    client = await mesh.etcd_client()
    try:
        owners = await Journal(client, mesh.keys).list_owned()
    finally:
        await client.close()
    holders = {owners[file.workflow_id].holder for file in files if file.workflow_id in owners}
    return next((node for node in mesh.orchestrators if node.instance_id in holders), None)


async def test_kill_of_the_owner_at_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R94, R130, R140, R145: 50 orders over two orchestrators, the owner killed 20 times: each order once, no gap."""
    seed = random.randrange(10**9)
    sys.stdout.write(f"seed {seed}\n")  # shown where the test fails
    chance = random.Random(seed)
    async with shop(tmp_path, monkeypatch, orders=ORDERS) as (mesh, files):
        waves = [files[at * ORDERS // KILLS : (at + 1) * ORDERS // KILLS] for at in range(KILLS)]
        caught = 0
        for wave in waves:
            await asyncio.gather(*(start(mesh, file) for file in wave))
            await asyncio.sleep(chance.uniform(0, 0.03))
            owner = await owner_of(mesh, files)
            caught += owner is not None
            victim = owner or chance.choice(mesh.orchestrators)
            victim.kill()
            await victim.wait()
            await victim.start()
        await all_completed(mesh, files, timeout_s=60)
        takeovers = await check_logs(mesh, files)
        sys.stdout.write(f"{caught} of {KILLS} kills hit an owner, {takeovers} takeovers\n")
        assert takeovers > 0
    check_effects(tmp_path, files)


@pytest.mark.parametrize("kind", ["computes", "effects", "reducers"])
async def test_kill_of_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """R94: a killed node loses nothing; what it had not answered is done when it is back."""
    async with shop(tmp_path, monkeypatch, orders=12, orchestrators=1) as (mesh, files):
        node: NodeProcess = getattr(mesh, kind)[0]
        starts = [asyncio.create_task(start(mesh, file)) for file in files]
        await asyncio.sleep(0.02)
        node.kill()
        await node.wait()
        await node.start()
        await asyncio.gather(*starts)
        await all_completed(mesh, files, timeout_s=60)
        await check_logs(mesh, files)
    with sqlite3.connect(tmp_path / "orders.db") as database:
        rows = database.execute("SELECT count(*), count(DISTINCT invoice_no) FROM orders").fetchone()
    assert rows == (len(files), len(files))


async def test_a_stop_hands_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R94, R134: after SIGTERM of one orchestrator everything ends under the other; exit code 0."""
    async with shop(tmp_path, monkeypatch, orders=20) as (mesh, files):
        await asyncio.gather(*(start(mesh, file) for file in files))
        assert await mesh.orchestrators[0].stop() == 0
        await all_completed(mesh, files, timeout_s=30)
        await check_logs(mesh, files)
        await mesh.orchestrators[0].start()
    check_effects(tmp_path, files)


async def test_a_paused_owner_is_fenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F1, R136: an owner that sleeps beyond its TTL and wakes up writes nothing any more."""
    async with shop(tmp_path, monkeypatch, orders=12) as (mesh, files):
        sleeper = mesh.orchestrators[0]
        starts = [asyncio.create_task(start(mesh, file)) for file in files]
        await asyncio.sleep(0.03)
        sleeper.pause()
        await asyncio.sleep(4)
        sleeper.resume()
        await asyncio.gather(*starts)
        await all_completed(mesh, files, timeout_s=60)
        await check_logs(mesh, files)
    check_effects(tmp_path, files)

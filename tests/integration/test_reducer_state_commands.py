"""The commands about states that a reducer node keeps, against a node, an etcd and a folder of copies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.inprocess import InProcessMesh
from tests.kept_states import backed_up, place_order, registry, run, total

Stub = reducer_pb2_grpc.ReducerServiceStub


@dataclass
class Told:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclass
class Commands:
    """Runs `onex-mesh reducer …` on one etcd, namespace and payload store."""

    etcd: str
    namespace: str
    store: str

    async def __call__(self, name: str, *arguments: str) -> Told:
        options = ["--etcd", self.etcd, "--namespace", self.namespace]
        if name in ("backups", "restore"):
            options += ["--payload-store", self.store]
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from onex_mesh.cli.commands import cli; cli()", "reducer", name),
            *(*arguments, *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "400"},
        )
        out, err = await asyncio.wait_for(command.communicate(), 60)
        assert command.returncode is not None
        return Told(command.returncode, out.decode(), err.decode())


@pytest.fixture
def commands(etcd: EmbeddedEtcd, keys: Keyspace, tmp_path: Path) -> Commands:
    return Commands(etcd.endpoint, keys.namespace, f"file://{tmp_path}/store")


@pytest.fixture
async def stub(etcd: EmbeddedEtcd, keys: Keyspace, commands: Commands) -> AsyncGenerator[Stub, None]:
    async with InProcessMesh(etcd, keys) as mesh:
        server = await mesh.add(ReducerNode(registry(), "1.0.0"), payload_store=commands.store)
        yield Stub(mesh.channel(server))


def order_action(action: str, payload: object) -> reducer_pb2.ReducerContract:
    """What is done with the order, and an incremental copy of it."""
    contract = place_order()
    contract.fsm_action.action = action
    contract.fsm_action.payload.CopyFrom(json_payload(payload))
    return backed_up(contract, backup_type="incremental")


async def test_a_copy_becomes_the_state_again(stub: Stub, commands: Commands) -> None:
    """R61: as a new epoch; the next call goes on from it."""
    output = await run(stub, backed_up(total([1])))
    await run(stub, total([100]))
    told = await commands("restore", output.backup.location.uri)
    assert (told.code, told.out) == (0, "o total: restored as epoch 3\n")
    again = await run(stub, total([5]))
    assert (from_payload(again.aggregated_data), again.state_metadata.epoch) == (6, 4)


async def test_states_are_listed_and_shown(stub: Stub, commands: Commands) -> None:
    """R60, R63: which there are, at which epoch, made by what and when; one owner, and not more than asked for."""
    placed = await run(stub, place_order("order/7"))
    await run(stub, total([1]))
    await run(stub, total([2]))
    await run(stub, total([3], key="other"))
    table = (await commands("states")).out.splitlines()
    assert [line.split()[:4] for line in table[1:]] == [
        ["o", "other", "1", "AGGREGATION_METHOD_SUM"],
        ["o", "total", "2", "AGGREGATION_METHOD_SUM"],
        ["order/7", "state", "1", "order"],
    ]
    rows = json.loads((await commands("states", "--owner", "order/7", "-o", "json")).out)
    assert [(row["owner"], row["state_key"], row["epoch"]) for row in rows] == [("order/7", "state", 1)]
    few = await commands("states", "--limit", "2")
    assert len(few.out.splitlines()) == 3
    assert "there are more than 2" in few.err
    shown = json.loads((await commands("state", "order/7", "state")).out)
    assert shown["state"] == from_payload(placed.aggregated_data)
    assert (shown["epoch"], shown["metadata"]["transition"]) == (1, "PLACE_ORDER")
    assert shown["size_bytes"] > 100
    missing = await commands("state", "order/7", "nothing")
    assert missing.code == 2
    assert "no state 'nothing' of 'order/7' is kept" in missing.err


async def test_a_state_is_forgotten(stub: Stub, commands: Commands, client: EtcdClient, keys: Keyspace) -> None:
    """R60: with what it remembers of calls, and nothing else; a call begins anew. Only at the epoch that was meant."""
    first = backed_up(total([1]))
    first.action_id = "a"
    await run(stub, first)
    await run(stub, total([2], key="total-2"))
    refused = await commands("forget", "o", "total", "--epoch", "3")
    assert refused.code == 2
    assert "the state is at epoch 1, not 3; nothing was deleted" in refused.err
    told = await commands("forget", "o", "total", "--epoch", "1")
    assert (told.code, told.out) == (0, "o total: forgotten at epoch 1\n")
    left, _ = await client.prefix(keys.root + b"reducer-", keys_only=True)
    assert [bytes(row.key).removeprefix(keys.root) for row in left] == [
        b"reducer-copies/o/total",
        b"reducer-states/o/total-2",
    ]
    assert (await commands("forget", "o", "total")).code == 2
    again = await run(stub, first)
    assert (again.replayed, again.state_metadata.epoch, from_payload(again.aggregated_data)) == (False, 1, 1)


async def test_copies_are_listed_and_any_is_restored(stub: Stub, commands: Commands, tmp_path: Path) -> None:
    """R61: full and incremental, the newest first, also of a forgotten state; a missing one is told."""
    items = [{"sku": f"sku-{index}", "price": "1", "quantity": 1} for index in range(50)]
    actions = (
        order_action("PLACE_ORDER", {"items": items, "customer_email": "ann@example.org"}),
        order_action("CONFIRM_PAYMENT", {"reference": "r", "amount": "50"}),
        order_action("SHIP_ORDER", None),
    )
    outputs = [await run(stub, action) for action in actions]
    uris = [output.backup.location.uri for output in outputs]
    rows = [line.split() for line in (await commands("backups", "order-7", "state")).out.splitlines()[1:]]
    assert [(row[0], row[3], row[5]) for row in rows] == [
        ("3", "incremental", uris[2]),
        ("2", "incremental", uris[1]),
        ("1", "full", uris[0]),
    ]
    assert int(rows[0][4]) < int(rows[2][4]) / 4
    assert (await commands("forget", "order-7", "state")).code == 0
    assert (await commands("restore", uris[1])).out == "order-7 state: restored as epoch 1\n"
    shown = json.loads((await commands("state", "order-7", "state")).out)
    assert shown["state"] == from_payload(outputs[1].aggregated_data)
    assert shown["metadata"]["restored_from"] == uris[1]
    assert "backup_type" not in shown["metadata"]
    (tmp_path / "store" / uris[0]).unlink()
    broken = await commands("restore", uris[2])
    assert broken.code == 2
    assert f"nothing is at '{uris[0]}'" in broken.err
    listed = await commands("backups", "order-7", "state", "--output", "json")
    assert [row["uri"] for row in json.loads(listed.out)] == [uris[2], uris[1]]
    assert "the chain of copies ends here" in listed.err
    assert (await commands("backups", "order-7", "nothing")).out.splitlines()[1:] == []

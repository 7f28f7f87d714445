"""Nodes that are killed around COMMIT, on SQLite and PostgreSQL: the repeat makes it exactly one write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.databases import Database, rows_of
from tests.effect_engine import World
from tests.tcp_proxy import TcpProxy

_TRANSFER = {
    "operations": [
        {"data": {"order_id": "a", "amount": 1}},
        {"statement": "pay", "parameters": {"owner": "ann", "amount": "-1"}, "expect_rows": 1},
    ]
}
_STATEMENTS = """\
      pay:
        mode: write
        sql: UPDATE accounts SET balance = balance + :amount WHERE owner = :owner
        parameters: {amount: decimal, owner: text}
"""
_NODE = """
import asyncio, json, sys
from pathlib import Path
from onex_mesh.effect.adapters.database import records
from onex_mesh.effect.adapters.database.writing import WriteWork
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.effect_engine import effect_world

moment, folder, parameters = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])

async def stand_still():
    print("reached", flush=True)
    await asyncio.Event().wait()

def stop_before(owner, name):
    async def stopping(*arguments, **settings):
        await stand_still()
    setattr(owner, name, stopping)

def stop_after(owner, name):
    original = getattr(owner, name)
    async def stopping(*arguments, **settings):
        await original(*arguments, **settings)
        await stand_still()
    setattr(owner, name, stopping)

def wait_before(owner, name):
    original = getattr(owner, name)
    async def waiting(*arguments, **settings):
        print("reached", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await original(*arguments, **settings)
    setattr(owner, name, waiting)

async def main():
    async with effect_world(folder, (folder / "crash.yaml").read_text(), environment={}) as world:
        {
            "before the key": lambda: stop_before(records, "claim"),
            "after the key": lambda: stop_after(records, "claim"),
            "between the operations": lambda: stop_after(WriteWork, "_run"),
            "before commit": lambda: stop_before(AsyncConnection, "commit"),
            "in commit": lambda: wait_before(AsyncConnection, "commit"),
            "after commit": lambda: stop_after(AsyncConnection, "commit"),
            "after the effect": lambda: None,
        }[moment]()
        await world.effect("database_write", "orders", "", parameters, key="k")
        await stand_still()

asyncio.run(main())
"""


async def _killed(database: Database, moment: str, proxy: TcpProxy | None = None) -> None:
    """Has a node in a process of its own begin the transfer, and kills it when it has come so far.

    Args:
        database: What it works on.
        moment: How far.
        proxy: Where its database is behind this, it goes on to its COMMIT, and is killed once that has passed by.
    """
    folder = database.folder / "crashing"
    folder.mkdir()
    (folder / "crash.yaml").write_text(database.target(_STATEMENTS, keys_kept_s="null"), encoding="utf-8")
    (folder / "node.py").write_text(_NODE, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(folder / "node.py"),
        moment,
        str(folder),
        json.dumps(_TRANSFER),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"reached\n"
            if proxy is not None:
                proxy.lose_reply_to(b"COMMIT")
                process.stdin.write(b"\n")
                await proxy.reached.wait()
    finally:
        process.kill()
        assert await process.wait() == -signal.SIGKILL


async def _state(world: World) -> tuple[list[object], str]:
    accounts = await world.result("database_read", "orders", "", {"table": "accounts"})
    assert isinstance(accounts, dict)
    return [row["order_id"] for row in await rows_of(world)], accounts["rows"][0]["balance"]


_BEFORE = ("before the key", "after the key", "between the operations", "before commit")


@pytest.mark.parametrize("moment", [*_BEFORE, "after commit", "after the effect"])
async def test_a_node_that_is_killed(database: Database, moment: str) -> None:
    """R9, R25: kill -9 before the commit leaves nothing, not even the key; after it all is there, once. The repeat on
    another node does what is missing, or gets the recorded result; nobody has to wait for the dead node's locks."""
    async with database.world(_STATEMENTS) as world:
        await world.effect(
            "database_write", "orders", "insert", {"table": "accounts", "data": {"owner": "ann", "balance": "10"}}
        )
        await _killed(database, moment)
        is_done = moment not in _BEFORE
        assert await _state(world) == ((["a"], "9.00") if is_done else ([], "10.00"))
        for replayed in (is_done, True):
            output = await world.effect("database_write", "orders", "", _TRANSFER, key="k")
            assert output.metadata.replayed == replayed
            assert await _state(world) == (["a"], "9.00")


async def test_a_node_is_killed_while_its_commit_is_under_way(postgres_database: Database) -> None:
    """R9, R25: a node that is killed after it sent COMMIT and before the answer came never knew what became of it; the
    repeat finds out by the key."""
    port = postgres_database.dsn.rpartition(":")[2].partition("/")[0]
    async with postgres_database.world(_STATEMENTS) as world, TcpProxy(f"127.0.0.1:{port}") as proxy:
        await world.effect(
            "database_write", "orders", "insert", {"table": "accounts", "data": {"owner": "ann", "balance": "10"}}
        )
        dsn = postgres_database.dsn.replace(f"127.0.0.1:{port}", proxy.endpoint)
        behind = Database("postgresql", dsn, postgres_database.folder)
        await _killed(behind, "in commit", proxy)
        output = await world.effect("database_write", "orders", "", _TRANSFER, key="k")
        assert output.metadata.replayed
        assert await _state(world) == (["a"], "9.00")

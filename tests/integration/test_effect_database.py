"""Database effects on a real SQLite and a real PostgreSQL: exactly once, fenced, bound, exact."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    DatabaseConnectionError,
    EffectFailedError,
    LeaseExpiredError,
    PayloadTooLargeError,
    TemporaryDatabaseError,
    ValidationError,
)
from tests.databases import Database, rows_of
from tests.effect_engine import effect_world, intent
from tests.postgres import PostgresServer


def _workflow(token: int, workflow_id: str = "wf") -> EffectContext:
    return EffectContext(correlation_id="c", workflow_id=workflow_id, fencing_token=token)


async def test_insert_update_upsert_delete_and_select(database: Database) -> None:
    """R6, R16, R89: the operations, and what each returns."""
    async with database.world() as world:

        async def write(operation: str, **parameters: object) -> object:
            return await world.result("database_write", "orders", operation, parameters)

        inserted = await write("insert", data=[{"order_id": "a", "amount": 1}, {"order_id": "b", "amount": 2}])
        assert inserted == {"operation": "insert", "table": "orders", "rows": 2}
        updated = await write("update", data={"note": "hi"}, where={"order_id": "a", "amount": 1})
        assert updated == {"operation": "update", "table": "orders", "rows": 1}
        upserted = await write("upsert", data={"order_id": "a", "amount": 7}, returning=["order_id", "amount", "note"])
        assert upserted == {
            "operation": "upsert",
            "table": "orders",
            "rows": 1,
            "returning": [{"order_id": "a", "amount": 7, "note": "hi"}],
        }
        assert (await write("upsert", data={"order_id": "c"})) == {"operation": "upsert", "table": "orders", "rows": 1}
        assert (await write("delete", where={"order_id": "b"})) == {"operation": "delete", "table": "orders", "rows": 1}
        assert await rows_of(world, columns=["order_id", "amount"], order="-order_id") == [
            {"order_id": "c", "amount": None},
            {"order_id": "a", "amount": 7},
        ]
        assert await rows_of(world, columns=["order_id"], where={"amount": None}) == [{"order_id": "c"}]
        assert await rows_of(world, columns=["order_id"], limit=1, offset=1) == [{"order_id": "c"}]


async def test_the_same_key_writes_once(database: Database) -> None:
    """R9, R79: under one key the row is written once; the repeat gets the recorded result, also from another node."""
    write = ("database_write", "orders", "insert", {"data": {"order_id": "a", "amount": 1}})
    async with database.world() as world:
        first = await world.effect(*write, key="order_a")
        assert (first.metadata.replayed, first.metadata.attempts) == (False, 1)
    async with database.world() as world:
        again = await world.effect(*write, key="order_a")
        assert (again.metadata.replayed, again.metadata.attempts) == (True, 0)
        assert again.operation_result == first.operation_result
        assert len(await rows_of(world)) == 1


async def test_two_nodes_at_once_under_one_key(database: Database) -> None:
    """R9: of two nodes that write at the same time under one key one writes; both report the same."""
    async with database.world() as one, database.world() as two:
        outputs = await asyncio.gather(
            *(
                world.effect(
                    "database_write", "orders", "insert", {"data": {"order_id": f"o{n}", "amount": n}}, key=f"k{n}"
                )
                for n in range(10)
                for world in (one, two)
            )
        )
        assert sum(output.metadata.replayed for output in outputs) == 10
        assert [row["amount"] for row in await rows_of(one)] == list(range(10))


async def test_a_writer_that_was_followed_is_refused(database: Database) -> None:
    """R136, design: a fencing token lower than one that has written for the workflow is refused, nothing is written;
    other workflows do not care."""
    async with database.world() as world:

        async def insert(order_id: str, context: EffectContext) -> None:
            data = {"data": {"order_id": order_id}}
            await world.effect("database_write", "orders", "insert", data, key=order_id, context=context)

        await insert("a", _workflow(5))
        await insert("b", _workflow(9))
        with pytest.raises(LeaseExpiredError) as refused:
            await insert("c", _workflow(5))
        assert refused.value.error_context["highest_fencing_token"] == 9
        with pytest.raises(LeaseExpiredError):
            await insert("a", _workflow(8))
        await insert("d", _workflow(9))
        await insert("e", _workflow(3, "another"))
        assert [row["order_id"] for row in await rows_of(world)] == ["a", "b", "d", "e"]


async def test_steps_of_one_workflow_write_side_by_side(database: Database) -> None:
    """R154: the fence lets the same token in many times at once."""
    async with database.world() as world:
        await asyncio.gather(
            *(
                world.effect(
                    "database_write",
                    "orders",
                    "insert",
                    {"data": {"order_id": f"{n:02}"}},
                    key=f"k{n}",
                    context=_workflow(4),
                )
                for n in range(20)
            )
        )
        assert len(await rows_of(world)) == 20


async def test_a_write_that_fails_records_nothing(database: Database) -> None:
    """R15, R59: a violated constraint is EFFECT_FAILED, tried once; the key stays free for a corrected write."""
    async with database.world() as world:
        insert = ("database_write", "orders", "insert")
        await world.effect(*insert, {"data": {"order_id": "a"}}, key="k1")
        with pytest.raises(EffectFailedError, match="a constraint forbids it") as failed:
            await world.effect(*insert, {"data": [{"order_id": "b"}, {"order_id": "a"}]}, key="k2")
        assert failed.value.error_context["attempts"] == 1
        assert len(await rows_of(world)) == 1
        output = await world.effect(*insert, {"data": {"order_id": "b"}}, key="k2")
        assert not output.metadata.replayed


async def test_money_and_big_numbers_are_exact(database: Database) -> None:
    """F22, F37: decimals and integers beyond 2^53 survive both ways; floats do not get into decimals' place."""
    async with database.world() as world:
        data = {"order_id": "a", "total": "19.90", "amount": str(2**62), "placed_at": "2026-01-31T12:00:00+02:00"}
        await world.effect("database_write", "orders", "insert", {"data": {**data, "paid": True}})
        await world.effect("database_write", "orders", "insert", {"data": {"order_id": "b", "total": "0.1"}})
        await world.effect("database_write", "orders", "insert", {"data": {"order_id": "c", "total": 1234567890.12}})
        rows = await rows_of(world)
        assert [row["total"] for row in rows] == ["19.90", "0.10", "1234567890.12"]
        assert rows[0]["amount"] == str(2**62)
        assert rows[0]["paid"] is True
        assert str(rows[0]["placed_at"]).startswith("2026-01-31T10:00:00")
        assert await rows_of(world, columns=["order_id"], where={"total": "0.10"}) == [{"order_id": "b"}]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", 1.5),
        ("amount", "twelve"),
        ("total", "NaN"),
        ("total", True),
        ("paid", "yes"),
        ("placed_at", "yesterday"),
        ("note", 1.5),
    ],
)
async def test_values_must_fit_their_columns(database: Database, column: str, value: object) -> None:
    """R18, R37: a value that does not fit is refused with its field, before anything is written."""
    async with database.world() as world:
        with pytest.raises(ValidationError, match=rf"data\.{column}: does not fit"):
            await world.effect("database_write", "orders", "insert", {"data": {"order_id": "a", column: value}})
        assert await rows_of(world) == []


async def test_values_are_bound_never_pasted(database: Database) -> None:
    """R18: SQL in values is data; the table is still there."""
    nasty = "x'); DROP TABLE orders; --"
    async with database.world() as world:
        await world.effect("database_write", "orders", "insert", {"data": {"order_id": nasty, "note": nasty}})
        await world.effect("database_write", "orders", "update", {"data": {"note": "'"}, "where": {"order_id": nasty}})
        assert await rows_of(world, columns=["order_id", "note"], where={"note": "'"}) == [
            {"order_id": nasty, "note": "'"}
        ]


@pytest.mark.parametrize(
    ("operation", "parameters", "field"),
    [
        ("insert", {"table": "orders; DROP TABLE orders", "data": {"order_id": "a"}}, "table"),
        ("insert", {"table": "onex_effects", "data": {"order_id": "a"}}, "table"),
        ("insert", {"data": {'order_id" = 1; --': "a"}}, 'data.order_id" = 1; --'),
        ("insert", {"data": {"secret": "a"}}, "data.secret"),
        ("update", {"data": {"note": "x"}}, "where"),
        ("update", {"data": {"note": "x"}, "where": {"1=1 OR note": 1}}, "where.1=1 OR note"),
        ("delete", {"where": {}}, "where"),
        ("delete", {"where": {"order_id": {"$ne": 1}}}, "where.order_id"),
        ("insert", {"data": {}}, "data"),
        ("insert", {"data": [{"order_id": "a"}, {"note": "b"}]}, "data[1]"),
        ("insert", {"data": {"order_id": "a"}, "returning": ["secret"]}, "returning.secret"),
        ("upsert", {"data": {"note": "a"}}, "data"),
        ("upsert", {"data": {"order_id": "a"}, "key": ["secret"]}, "key.secret"),
        ("truncate", {"data": {"order_id": "a"}}, "operation"),
        ("insert", {"data": {"order_id": "a"}, "sql": "SELECT 1"}, "sql"),
    ],
)
async def test_what_is_not_listed_cannot_be_named(
    tmp_path: Path, operation: str, parameters: dict[str, object], field: str
) -> None:
    """R18: tables, columns and operations beyond the target's list are refused by their field; SQL in them, too."""
    async with Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path).world() as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect("database_write", "orders", operation, parameters)
        assert f"io_operation_config.parameters.{field}" in [path for path, _ in refused.value.violations]
        assert await rows_of(world) == []


async def test_reads_are_checked_and_bounded(tmp_path: Path) -> None:
    """R16, R18: columns and order beyond the list are refused; a result larger than the target's bound, too."""
    async with Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path).world() as world:
        for parameters in ({"columns": ["secret"]}, {"order": "secret"}, {"where": {"secret": 1}}, {"limit": 0}):
            with pytest.raises(ValidationError):
                await world.effect("database_read", "orders", "", parameters)
        with pytest.raises(PayloadTooLargeError):
            await world.effect("database_write", "orders", "insert", {"data": {"order_id": "x", "note": "n" * 30000}})
        rows = [{"order_id": str(n), "note": "n" * 150} for n in range(100)]
        await world.effect("database_write", "orders", "insert", {"data": rows})
        with pytest.raises(PayloadTooLargeError, match="ask for fewer"):
            await world.effect("database_read", "orders")


async def test_an_intent_names_its_target_as_its_table(tmp_path: Path) -> None:
    """R89: an intent for a target that is bound to one table needs no table in its payload."""
    async with Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path).world() as world:
        payload = {"operation": "insert", "data": {"order_id": "a", "note": "n"}}
        message = intent("i", intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders", payload, key="order_a")
        (first,), (again,) = await world.intents([message]), await world.intents([message])
        assert first.status == again.status == intent_pb2.INTENT_STATUS_COMPLETED
        assert (first.replayed, again.replayed, again.attempts) == (False, True, 0)
        assert len(await rows_of(world)) == 1


async def test_a_locked_database_is_temporary(tmp_path: Path) -> None:
    """R15, R19: SQLite held by another writer is a TemporaryDatabaseError; with retries the write comes through."""
    database = Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path)
    async with database.world(busy_timeout_s=0.05) as world:
        holder = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        insert = ("database_write", "orders", "insert", {"data": {"order_id": "a"}})
        with pytest.raises(TemporaryDatabaseError) as failed:
            await world.effect(*insert, retries=0)
        assert failed.value.retryable
        asyncio.get_running_loop().call_later(0.5, holder.execute, "COMMIT")
        output = await world.effect(*insert, retries=50)
        assert output.metadata.attempts > 1
        holder.close()


async def test_an_unreachable_database_fails_its_effects_only(tmp_path: Path) -> None:
    """R19, R24: the node starts without it; its effects are DatabaseConnectionErrors and its check says so."""
    database = Database("postgresql", "postgresql://shop@127.0.0.1:1/shop", tmp_path)
    async with database.world() as world:
        with pytest.raises(DatabaseConnectionError) as failed:
            await world.effect("database_write", "orders", "insert", {"data": {"order_id": "a"}}, retries=0)
        assert failed.value.retryable
        with pytest.raises(DatabaseConnectionError):
            await world.lanes["orders"].adapter.check()


async def test_a_restart_of_the_server_is_survived(postgres: PostgresServer, postgres_database: Database) -> None:
    """R25: connections that died while they waited cost no effect, not even one without a retry policy (R87)."""
    async with postgres_database.world() as world:
        await world.effect("database_write", "orders", "upsert", {"data": {"order_id": "before"}})
        await asyncio.to_thread(postgres.restart)
        payload = {"operation": "upsert", "data": {"order_id": "after"}}
        (result,) = await world.intents([intent("i", intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders", payload)])
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED, result.error.message
        await world.lanes["orders"].adapter.check()


async def test_a_refused_login_is_not_retried(postgres: PostgresServer, tmp_path: Path) -> None:
    """R15, R19: a user or database that does not exist will not do so on the next attempt."""
    dsn = postgres.dsn.replace("/shop", "/nowhere").replace("nowhere@", "shop@")
    async with Database("postgresql", dsn, tmp_path).world() as world:
        with pytest.raises(DatabaseConnectionError) as failed:
            await world.effect("database_read", "orders", retries=3)
        assert not failed.value.retryable


@pytest.mark.parametrize(
    ("tables", "ddl", "problem"),
    [
        ("{t: {columns: [id]}}", '["CREATE TABLEX t (id INT)"]', "syntax error"),
        ("{u: {columns: [id]}}", '["CREATE TABLE IF NOT EXISTS t (id INT)"]', "table 'u' does not exist"),
        ("{t: {columns: [id, x]}}", '["CREATE TABLE IF NOT EXISTS t (id INT)"]', "no column x"),
    ],
)
async def test_a_target_that_cannot_work_is_refused_at_start(
    tmp_path: Path, tables: str, ddl: str, problem: str
) -> None:
    """R18: wrong DDL and listed tables or columns that do not exist are errors of the operator, told at once."""
    target = f"  t: {{kind: database, dsn: 'sqlite:///a.db', tables: {tables}, ddl: {ddl}}}"
    with pytest.raises(ValidationError, match=problem):
        async with effect_world(tmp_path, target):
            pass

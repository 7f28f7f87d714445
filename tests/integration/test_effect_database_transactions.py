"""Several operations in one transaction: all or nothing, one key, one fence; and transactions that are in conflict."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import (
    EffectFailedError,
    LeaseExpiredError,
    PayloadTooLargeError,
    TemporaryDatabaseError,
    ValidationError,
)
from tests.databases import Database, rows_of, until_so
from tests.effect_engine import World, intent

_STATEMENTS = """\
      pay:
        mode: write
        sql: UPDATE accounts SET balance = balance + :amount WHERE owner = :owner
        parameters: {amount: decimal, owner: text}
      rich:
        mode: read
        sql: SELECT owner FROM accounts WHERE balance > 100
"""


def _transfer(order: str, amount: str, **last: object) -> list[dict[str, object]]:
    return [
        {"operation": "insert", "table": "orders", "data": {"order_id": order, "total": amount}},
        {"statement": "pay", "parameters": {"owner": "ann", "amount": f"-{amount}"}, "expect_rows": 1},
        {"statement": "pay", "parameters": {"owner": "bob", "amount": amount}, "expect_rows": 1, **last},
    ]


async def _run(world: World, operations: object, *, key: str = "", context: EffectContext | None = None) -> object:
    return await world.result("database_write", "orders", "", {"operations": operations}, key=key, context=context)


async def _open(world: World) -> None:
    accounts = [{"owner": "ann", "balance": "100"}, {"owner": "bob", "balance": "0"}]
    await world.effect("database_write", "orders", "insert", {"table": "accounts", "data": accounts})


async def _balances(world: World) -> dict[str, str]:
    result = await world.result("database_read", "orders", "", {"table": "accounts"})
    assert isinstance(result, dict)
    return {str(row["owner"]): str(row["balance"]) for row in result["rows"]}


async def test_operations_are_all_done_under_one_key(database: Database) -> None:
    """R9: table operations and statements in one transaction; the repeat gets the recorded results of all."""
    async with database.world(_STATEMENTS) as world:
        await _open(world)
        operations = [
            *_transfer("o1", "30.50"),
            {
                "operation": "upsert",
                "table": "orders",
                "data": {"order_id": "o1", "note": "n"},
                "returning": ["note", "total"],
            },
            {"operation": "delete", "table": "orders", "where": {"order_id": "none"}},
        ]
        expected = {
            "operations": [
                {"operation": "insert", "table": "orders", "rows": 1},
                {"operation": "statement", "statement": "pay", "rows": 1},
                {"operation": "statement", "statement": "pay", "rows": 1},
                {
                    "operation": "upsert",
                    "table": "orders",
                    "rows": 1,
                    "returning": [{"note": "n", "total": "30.50"}],
                },
                {"operation": "delete", "table": "orders", "rows": 0},
            ]
        }
        for _ in range(3):
            assert await _run(world, operations, key="k") == expected
        assert await _balances(world) == {"ann": "69.50", "bob": "30.50"}
        assert world.audit.records[1].operation == "transaction of 5"


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ({"parameters": {"owner": "nobody", "amount": "1"}}, r"operations\[2\]\.expect_rows: .* 0 rows instead of 1"),
        ({"parameters": {"owner": "ann", "amount": "-999"}}, "a constraint forbids it"),
    ],
)
async def test_one_that_fails_undoes_all(database: Database, last: dict[str, object], problem: str) -> None:
    """R9, R15: an operation that fails, or writes another number of rows than expected, leaves nothing behind; the key
    stays free."""
    async with database.world(_STATEMENTS) as world:
        await _open(world)
        with pytest.raises(EffectFailedError, match=problem) as failed:
            await _run(world, _transfer("o1", "1", **last), key="k")
        assert failed.value.error_context["attempts"] == 1
        assert await rows_of(world) == []
        assert await _balances(world) == {"ann": "100.00", "bob": "0.00"}
        await _run(world, _transfer("o1", "1"), key="k")
        assert await _balances(world) == {"ann": "99.00", "bob": "1.00"}


@pytest.mark.parametrize(
    ("parameters", "field", "problem"),
    [
        ({"operations": []}, "operations", "at least 1"),
        ({"operations": "DROP TABLE orders"}, "operations", "valid list"),
        ({"operations": [1]}, "operations.0", "valid dictionary"),
        ({"operations": [{}] * 101}, "operations", "101 are more than 100"),
        ({"operations": [{"data": {"order_id": "a"}}], "table": "orders"}, "table", "Extra inputs"),
        ({"operations": [{"data": {"order_id": "a"}}], "operation": "insert"}, "operation", "each of the operations"),
        ({"operations": [{"data": {"order_id": "a"}}, {"data": {"x": 1}}]}, "operations[1].data.x", "not a column"),
        ({"operations": [{"data": {"order_id": "a"}, "table": "onex_fences"}]}, "operations[0].table", "not a table"),
        ({"operations": [{"operations": []}]}, "operations[0].operations", "Extra inputs"),
        ({"operations": [{"operation": "select"}]}, "operations[0].operation", "not one of"),
        ({"operations": [{"operation": "COMMIT", "data": {"order_id": "a"}}]}, "operations[0].operation", "not one"),
        ({"operations": [{"statement": "COMMIT"}]}, "operations[0].statement", "not a statement"),
        ({"operations": [{"statement": "rich"}]}, "operations[0].statement", "use database_read"),
        (
            {"operations": [{"statement": "pay", "parameters": {"owner": "a", "amount": "x"}}]},
            "operations[0].parameters.amount",
            "not a finite number",
        ),
        ({"operations": [{"data": {"order_id": "a"}, "expect_rows": -1}]}, "operations[0].expect_rows", "greater"),
        ({"operations": [{"data": {"order_id": "a", "amount": "z"}}]}, "operations[0].data.amount", "whole number"),
    ],
)
async def test_operations_are_checked_before_anything_happens(
    database: Database, parameters: dict[str, object], field: str, problem: str
) -> None:
    """R18: all that is wrong, by operation and field; nothing was touched."""
    async with database.world(_STATEMENTS) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect("database_write", "orders", "", parameters)
        found = {path.removeprefix("io_operation_config.parameters."): text for path, text in refused.value.violations}
        assert problem in found[field], found
        assert await rows_of(world) == []


async def test_operations_of_an_intent_and_their_size(database: Database) -> None:
    """R89: an intent's payload may be a list of operations; all together they are bounded."""
    async with database.world(_STATEMENTS) as world:
        payload = {"operations": [{"data": {"order_id": "a"}}, {"data": {"order_id": "b"}}]}
        (result,) = await world.intents([intent("i", intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders", payload)])
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED, result.error.message
        big = [{"data": {"order_id": f"c{n}", "note": "n" * 11_000}} for n in range(2)]
        with pytest.raises(PayloadTooLargeError):
            await _run(world, big)
        assert [row["order_id"] for row in await rows_of(world)] == ["a", "b"]


async def test_two_nodes_at_once_with_one_transaction(database: Database) -> None:
    """R9: two nodes with the same transaction under the same key at the same time: it is done once, both report it."""
    async with database.world(_STATEMENTS) as one, database.world(_STATEMENTS) as two:
        await _open(one)
        results = await asyncio.gather(
            *(_run(world, _transfer(f"o{n}", "1"), key=f"k{n}") for n in range(10) for world in (one, two))
        )
        assert len(results) == 20
        assert await _balances(one) == {"ann": "90.00", "bob": "10.00"}
        outcomes = [record.outcome for world in (one, two) for record in world.audit.records[-12:]]
        assert outcomes.count("replayed") == 10


async def test_a_stale_token_is_refused_by_the_transaction(database: Database) -> None:
    """R136: the transaction of a writer that was followed is refused whole, also one that waited for its turn."""
    async with database.world(_STATEMENTS) as world:
        await _open(world)
        newer = EffectContext(workflow_id="wf", fencing_token=9)
        older = EffectContext(workflow_id="wf", fencing_token=8)
        await _run(world, _transfer("o1", "1"), key="k1", context=newer)
        for key in ("k1", "k2"):
            with pytest.raises(LeaseExpiredError):
                await _run(world, _transfer("o2", "1"), key=key, context=older)
        assert await _balances(world) == {"ann": "99.00", "bob": "1.00"}
        assert await database.sql("SELECT workflow_id, fencing_token FROM onex_fences") == [("wf", 9)]


async def test_a_higher_token_waits_for_the_transaction_below_it(postgres_database: Database) -> None:
    """R136: the fence is held to the end of a transaction: the follower's first write waits, so the two never mix."""
    async with postgres_database.world(_STATEMENTS) as one, postgres_database.world(_STATEMENTS) as two:
        await _open(one)
        blocker = await asyncpg.connect(postgres_database.dsn)
        held = blocker.transaction()
        await held.start()
        await blocker.execute("SELECT * FROM accounts WHERE owner = 'bob' FOR UPDATE")
        older = EffectContext(workflow_id="wf", fencing_token=8)
        newer = EffectContext(workflow_id="wf", fencing_token=9)
        await _run(one, [{"data": {"order_id": "o0"}}], key="k0", context=older)
        first = asyncio.create_task(_run(one, _transfer("o1", "1"), key="k1", context=older))
        await _until_waiting(postgres_database, 1)
        second = asyncio.create_task(_run(two, [{"data": {"order_id": "o2"}}], key="k2", context=newer))
        await _until_waiting(postgres_database, 2)
        await held.rollback()
        await blocker.close()
        await asyncio.gather(first, second)
        assert [row["order_id"] for row in await rows_of(one)] == ["o0", "o1", "o2"]
        with pytest.raises(LeaseExpiredError):
            await _run(one, _transfer("o3", "1"), key="k3", context=older)


async def _until_waiting(database: Database, count: int) -> None:
    """Waits until so many sessions of nodes wait for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'onex-mesh'"
    await until_so(database, f"{waiting} OFFSET {count - 1}")


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_the_isolation_of_a_target(postgres_database: Database, isolation: str) -> None:
    """R17: transactions run at the level that the target declares."""
    statement = "      level: {mode: read, sql: SELECT current_setting('transaction_isolation') AS level}"
    async with postgres_database.world(statement, isolation=isolation) as world:
        result = await world.result("database_read", "orders", "", {"statement": "level"})
        assert result == {"rows": [{"level": isolation.replace("_", " ")}], "count": 1}


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_serialization_failures_are_made_again(postgres_database: Database, isolation: str) -> None:
    """R15, R19: of transactions that cannot be put into an order the database rolls some back; they are made again, and
    the sums are right."""
    async with (
        postgres_database.world(_STATEMENTS, isolation=isolation) as one,
        postgres_database.world(_STATEMENTS, isolation=isolation) as two,
    ):
        await _open(one)

        async def transfer(world: World, number: int) -> None:
            operations = _transfer(f"o{number}", "1")
            message = intent(
                f"i{number}", intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders", {"operations": operations}, retries=50
            )
            (result,) = await world.intents([message])
            assert result.status == intent_pb2.INTENT_STATUS_COMPLETED, result.error.message

        await asyncio.gather(*(transfer(world, n) for n in range(8) for world in (one, two)))
        assert await _balances(one) == {"ann": "92.00", "bob": "8.00"}
        outcomes = [record.outcome for world in (one, two) for record in world.audit.records]
        assert outcomes.count("replayed") == 8


async def test_a_serialization_failure_that_does_not_pass_is_temporary(postgres_database: Database) -> None:
    """R19: what fails so again and again is a TemporaryDatabaseError with its SQLSTATE, retryable; nothing is kept."""
    await postgres_database.sql(
        "CREATE FUNCTION never() RETURNS INT LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''in conflict'' USING ERRCODE = ''40001''; END'"
    )
    async with postgres_database.world("      never: {mode: write, sql: SELECT never()}") as world:
        operations = [{"data": {"order_id": "a"}}, {"statement": "never"}]
        with pytest.raises(TemporaryDatabaseError, match="in conflict") as failed:
            await world.effect("database_write", "orders", "", {"operations": operations}, key="k", retries=1)
        assert failed.value.retryable
        assert failed.value.error_context["sqlstate"] == "40001"
        assert failed.value.error_context["attempts"] == 2
        assert await rows_of(world) == []
        assert world.lanes["orders"].breaker.state.value == "closed"


async def test_deadlocks_are_made_again(postgres_database: Database) -> None:
    """R15, R19: two transfers lock the same rows in opposite order; the database ends the deadlock by rolling one back,
    and that one is made again, without a policy of its own."""
    pause = "      pause: {mode: write, sql: SELECT pg_sleep(0.3)}\n"
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'shop'"
    before = (await postgres_database.sql(deadlocks))[0][0]
    async with postgres_database.world(_STATEMENTS + pause, retry="{max_retries: 0}") as world:
        await _open(world)

        async def transfer(giver: str, taker: str) -> None:
            operations = [
                {"statement": "pay", "parameters": {"owner": taker, "amount": "1"}},
                {"statement": "pause"},
                {"statement": "pay", "parameters": {"owner": giver, "amount": "-1"}},
            ]
            await _run(world, operations, key=giver)

        await world.effect("database_write", "orders", "", {"statement": "pay", "parameters": _pay("bob", "5")})
        await asyncio.gather(transfer("ann", "bob"), transfer("bob", "ann"))
        assert await _balances(world) == {"ann": "100.00", "bob": "5.00"}
        assert {record.attempts for record in world.audit.records} == {1}
    await until_so(postgres_database, f"{deadlocks} AND deadlocks > {before}")


def _pay(owner: str, amount: str) -> dict[str, object]:
    return {"owner": owner, "amount": amount}


async def test_old_keys_and_fences_go(database: Database) -> None:
    """R10: keys that nobody asked for in `keys_kept_s`, and fences of that age, are removed; newer ones and those of
    other targets stay, and so does a key that was asked for again."""
    async with database.world(_STATEMENTS, keys_kept_s=7200) as world:
        for name in ("old", "asked", "new"):
            context = EffectContext(workflow_id=name, fencing_token=3)
            await _run(world, [{"data": {"order_id": name}}], key=name, context=context)
    long_ago = (datetime.now(UTC) - timedelta(seconds=7300)).isoformat(timespec="microseconds")
    for table, column in (("onex_effects", "recorded_at"), ("onex_fences", "raised_at")):
        await database.sql(f"UPDATE {table} SET {column} = ? WHERE workflow_id IN ('old', 'asked')", long_ago)  # noqa: S608
    await database.sql(
        "INSERT INTO onex_effects SELECT 'other', 'another', workflow_id, fencing_token, operation, result, recorded_at"
        " FROM onex_effects WHERE idempotency_key = 'old'"
    )
    async with database.world(_STATEMENTS, keys_kept_s="null") as world:
        asked = EffectContext(workflow_id="asked", fencing_token=3)
        output = await world.effect(
            "database_write",
            "orders",
            "",
            {"operations": [{"data": {"order_id": "asked"}}]},
            key="asked",
            context=asked,
        )
        assert output.metadata.replayed

    async def keys() -> list[str]:
        return sorted(str(row[0]) for row in await database.sql("SELECT idempotency_key FROM onex_effects"))

    assert await keys() == ["asked", "new", "old", "other"]
    async with database.world(_STATEMENTS, keys_kept_s=7200):
        await until_so(database, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM onex_fences WHERE workflow_id = 'old')")
        assert await keys() == ["asked", "new", "other"]
        assert await database.sql("SELECT workflow_id FROM onex_fences ORDER BY 1") == [("new",)]


async def test_more_old_keys_than_fit_a_batch(database: Database) -> None:
    """R10: many old keys go in many short transactions."""
    async with database.world(keys_kept_s="null"):
        pass
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)"
    await database.sql(
        f"{numbers} INSERT INTO onex_effects SELECT 'k' || i, 'orders', '', 0, 'o', '1', '2020-01-01' FROM n"  # noqa: S608
        if database.is_sqlite
        else f"INSERT INTO onex_effects {numbers} SELECT 'k' || i, 'orders', '', 0, 'o', '1', '2020-01-01' FROM n"  # noqa: S608
    )
    async with database.world(), database.world():
        await until_so(database, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM onex_effects)")

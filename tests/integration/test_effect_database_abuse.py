"""What contracts may try at a database: each is refused with its reason, and nothing is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import EffectFailedError, OnexError, PayloadTooLargeError, ValidationError
from tests.databases import Database, rows_of
from tests.effect_engine import World, effect_contract, effect_world

_TYPES = """CREATE TABLE IF NOT EXISTS things (
  id INTEGER PRIMARY KEY, small SMALLINT, price NUMERIC(8, 2), weight DOUBLE PRECISION, born DATE, wakes TIME,
  data {json}, picture {bytes})"""

_SQL = (
    "orders; DROP TABLE orders",
    "orders--",
    "orders/**/",
    '"orders"',
    "public.orders",
    "pg_catalog.pg_authid",
    "sqlite_master",
    "onex_effects",
    "onex_fences",
    "ORDERS",
    "order\x00s",
    "",
    "o" * 100_000,
    "заказы",
)


async def _refused(world: World, effect_type: str, operation: str, parameters: dict[str, object]) -> OnexError:
    with pytest.raises((ValidationError, PayloadTooLargeError)) as refused:
        await world.effect(effect_type, "orders", operation, parameters, key="k")
    return refused.value


async def _require_untouched(world: World, database: Database) -> None:
    """One row as it was, no key taken."""
    assert await rows_of(world, columns=["order_id", "note"]) == [{"order_id": "a", "note": "n"}]
    assert await database.sql("SELECT count(*) FROM onex_effects") == [(0,)]


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World, None]:
    """A target with one row."""
    async with database.world("      look: {mode: read, sql: SELECT order_id FROM orders}") as opened:
        await opened.effect("database_write", "orders", "insert", {"data": {"order_id": "a", "note": "n"}})
        yield opened


async def test_sql_in_names_is_refused(world: World, database: Database) -> None:
    """R18: tables, columns, orders, statements and operations are names of the target's lists, or nothing."""
    for name in _SQL:
        tries: list[tuple[str, str, dict[str, object]]] = [
            ("database_write", "insert", {"data": {name: "x"}}),
            ("database_write", "insert", {"data": {"order_id": "b"}, "returning": [name]}),
            ("database_write", "upsert", {"data": {"order_id": "b"}, "key": [name]}),
            ("database_write", "update", {"data": {"note": "x"}, "where": {name: "x"}}),
            ("database_write", "delete", {"where": {name: "x"}}),
            ("database_write", "", {"statement": name}),
            ("database_write", "", {"operations": [{"data": {"order_id": "b"}}, {"data": {name: "x"}}]}),
            ("database_read", "", {"columns": [name]}),
            ("database_read", "", {"order": [name]}),
            ("database_read", "", {"order": f"-{name}"}),
            ("database_read", "", {"where": {name: 1}}),
            ("database_read", "", {"statement": name}),
        ]
        if name:
            tries += [
                ("database_write", "insert", {"table": name, "data": {"order_id": "b"}}),
                ("database_write", name, {"data": {"order_id": "b"}}),
                ("database_read", "", {"table": name}),
            ]
        for effect_type, operation, parameters in tries:
            error = await _refused(world, effect_type, operation, parameters)
            assert len(error.message) < 1_000, parameters
    await _require_untouched(world, database)


async def test_orders_and_limits_are_no_sql(world: World, database: Database) -> None:
    """R18: an order is a listed column with or without a minus, a limit is a whole number within bounds."""
    for parameters in (
        {"order": "order_id DESC"},
        {"order": "--order_id"},
        {"order": "order_id, note"},
        {"order": "1"},
        {"order": [["order_id"]]},
        {"order": {"order_id": "desc"}},
        {"limit": "1"},
        {"limit": 1.5},
        {"limit": -1},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": True},
        {"offset": -1},
        {"offset": "0; DROP TABLE orders"},
        {"columns": "order_id"},
        {"columns": []},
        {"columns": [1]},
        {"where": "1=1"},
        {"where": [["order_id", "a"]]},
        {"where": {"order_id": ["a", "b"]}},
        {"where": {"order_id": {"$gt": ""}}},
    ):
        await _refused(world, "database_read", "", parameters)
    await _require_untouched(world, database)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"data": "order_id = 'b'"}, "data"),
        ({"data": [["order_id", "b"]]}, "data"),
        ({"data": {"order_id": "b\x00"}}, "NUL"),
        ({"data": {"order_id": "b", "note": {"deep": [{"er": "\x00"}]}}}, "NUL"),
        ({"data": {"order_id": "b", "note": ["x", {"\x00": 1}]}}, "NUL"),
        ({"data": {"order_id": True}}, "a boolean is not a text"),
        ({"data": {"order_id": "b", "paid": 1}}, "not true or false"),
        ({"data": {"order_id": "b", "amount": [1]}}, "a list is not a number"),
        ({"data": {"order_id": "b", "amount": "1_000"}}, "whole number"),
        ({"data": {"order_id": "b", "amount": "١٢"}}, "whole number"),
        ({"data": {"order_id": "b", "amount": "0x10"}}, "whole number"),
        ({"data": {"order_id": "b", "amount": str(2**63)}}, "beyond 64 bits"),
        ({"data": {"order_id": "b", "amount": "9" * 5_000}}, "whole number"),
        ({"data": {"order_id": "b", "total": "1e999999999"}}, "finite number"),
        ({"data": {"order_id": "b", "total": "1e9999"}}, "more than 1000 digits"),
        ({"data": {"order_id": "b", "total": "9" * 5_000}}, "longer than"),
        ({"data": {"order_id": "b", "total": "Infinity"}}, "finite number"),
        ({"data": {"order_id": "b", "total": "1.005"}}, "would be rounded"),
        ({"data": {"order_id": "b", "placed_at": "0001-01-01T00:00:00+14:00"}}, "beyond what the type holds"),
        ({"data": {"order_id": "b", "placed_at": 1_700_000_000}}, "not a text"),
        ({"data": {"order_id": "b", "placed_at": "'; DROP TABLE orders; --"}}, "is not ISO 8601"),
        ({"data": [{"order_id": "b"}] * 1_001}, "1001 rows are more than 1000"),
        ({"data": {"order_id": "b", "note": "x" * 30_000}}, "bytes"),
        ({"data": {"order_id": "b"}, "where": {"order_id": "a"}}, "where"),
        ({"data": {"order_id": "b"}, "sql": "DROP TABLE orders"}, "sql"),
        ({"data": {"order_id": "b"}, "dsn": "sqlite:///other.db"}, "dsn"),
        ({"data": {"order_id": "b"}, "table": ["orders"]}, "table"),
        ({"data": {"order_id": "b"}, "query": "SELECT 1"}, "query"),
    ],
)
async def test_values_of_other_kinds_are_refused(
    world: World, database: Database, parameters: dict[str, object], problem: str
) -> None:
    """R18, F22: NUL characters, other types than the column's, numbers that could only be rounded or cut, and what no
    database effect has, each with its reason and without the value."""
    error = await _refused(world, "database_write", "insert", parameters)
    assert problem in error.message
    assert len(error.message) < 1_000
    await _require_untouched(world, database)


async def test_many_violations_are_cut_short(world: World, database: Database) -> None:
    """R18: a message does not grow with what was sent."""
    error = await _refused(world, "database_write", "", {"operations": [{"data": {f"x{n}": 1}} for n in range(100)]})
    assert "and 50 more" in error.message
    await _require_untouched(world, database)


async def test_more_values_than_a_statement_takes(database: Database) -> None:
    """R18: rows times columns are bounded by what both databases bind in one statement."""
    columns = [f"c{n}" for n in range(40)]
    target = f"""\
  wide:
    kind: database
    dsn: {database.dsn}
    table: wide
    tables: {{wide: {{columns: [{", ".join(columns)}]}}}}
    ddl: ["CREATE TABLE IF NOT EXISTS wide ({", ".join(f"{name} INTEGER" for name in columns)})"]
"""
    async with effect_world(database.folder, target) as world:
        with pytest.raises(ValidationError, match="800 rows of 40 columns are more than 30000 values"):
            await world.effect("database_write", "wide", "insert", {"data": [dict.fromkeys(columns, 1)] * 800})
        await world.effect("database_write", "wide", "insert", {"data": [dict.fromkeys(columns, 1)] * 750})
        assert await database.sql("SELECT count(*) FROM wide") == [(750,)]


async def test_each_type_of_column_takes_its_own_only(database: Database) -> None:
    """R18, F37: whole numbers by the width of the column, dates, times, JSON and bytes, checked before they leave."""
    ddl = " ".join(_TYPES.format(json="JSON", bytes="BLOB" if database.is_sqlite else "BYTEA").split())
    target = f"""\
  things:
    kind: database
    dsn: {database.dsn}
    table: things
    tables: {{things: {{columns: [id, small, price, weight, born, wakes, data, picture]}}}}
    ddl: ["{ddl}"]
"""
    bad: list[dict[str, object]] = [
        {"id": "2147483648"},
        {"small": 32_768},
        {"price": "0.001"},
        {"weight": "1e400"},
        {"weight": "nan"},
        {"weight": "heavy"},
        {"born": "2026-13-01"},
        {"born": 20_260_101},
        {"wakes": "25:00"},
        {"wakes": "06:30:00+01:00"},
        {"data": {"a": "\x00"}},
        {"picture": "not base64!"},
        {"picture": [1, 2]},
    ]
    if database.is_sqlite:
        # SQLite keeps 64 bits in every whole number and bytes as they are in columns that it does not type.
        del bad[:2]
    good = {
        "id": 7,
        "small": 1,
        "price": "0.10",
        "weight": 0.1,
        "born": "2026-01-31",
        "wakes": "06:30:00",
        "data": {"a": [1, None, "x"]},
        "picture": "AAEC",
    }
    async with effect_world(database.folder, target) as world:
        for values in bad:
            with pytest.raises(ValidationError, match="does not fit the type"):
                await world.effect("database_write", "things", "insert", {"data": {"id": 1, **values}})
        await world.effect("database_write", "things", "insert", {"data": [good, {**good, "id": 8, "data": None}]})
        result = await world.result("database_read", "things", "", {"order": "id"})
        assert result == {"rows": [good, {**good, "id": 8, "data": None}], "count": 2}
        found = await world.result("database_read", "things", "", {"where": {"data": None}, "columns": ["id"]})
        assert found == {"rows": [{"id": 8}], "count": 1}


async def test_what_is_too_long_for_its_column(postgres_database: Database) -> None:
    """R19: a text or a number that PostgreSQL has no room for is EFFECT_FAILED, tried once, and nothing is kept."""
    async with postgres_database.world() as world:
        for data in ({"order_id": "y" * 41}, {"order_id": "z", "total": "1" * 13}):
            with pytest.raises(EffectFailedError) as failed:
                await world.effect("database_write", "orders", "insert", {"data": data}, key="k", retries=3)
            assert failed.value.error_context["attempts"] == 1
        assert await rows_of(world) == []
        assert await postgres_database.sql("SELECT count(*) FROM onex_effects") == [(0,)]


async def test_a_body_is_not_taken(world: World, database: Database) -> None:
    """R18: bytes beside the parameters mean nothing to a database and are refused."""
    contract = effect_contract("database_write", "orders", "insert", {"data": {"order_id": "b"}})
    contract.io_operation_config.body.data = b"DROP TABLE orders"

    with pytest.raises(ValidationError, match="body"):
        await world.executor.effect(contract, EffectContext())
    await _require_untouched(world, database)

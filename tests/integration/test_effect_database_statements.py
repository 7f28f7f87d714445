"""Named statements: the operator's SQL under a name, with typed values and nothing else from the contract."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, ValidationError
from tests.databases import Database, rows_of
from tests.effect_engine import World, effect_world, intent

_STATEMENTS = """\
      raise_amount:
        mode: write
        sql: UPDATE orders SET amount = amount + :by, note = :note WHERE order_id = :order_id
        parameters: {by: integer, order_id: {type: text, length_max: 5}, note: {type: text, nullable: true}}
      take:
        mode: write
        sql: DELETE FROM orders WHERE amount < :below RETURNING order_id, total
        parameters: {below: integer}
        returns: {total: decimal}
        rows_max: 2
      copy_all:
        mode: write
        sql: |
          WITH given AS (SELECT order_id, amount FROM orders WHERE amount > :above)
          INSERT INTO orders (order_id, amount) SELECT order_id || '-copy', amount FROM given
        parameters: {above: integer}
      dear:
        mode: read
        sql: SELECT order_id, total, total * 2 AS twice FROM orders WHERE total >= :least ORDER BY total DESC
        parameters: {least: decimal}
        returns: {total: decimal, twice: decimal}
        rows_max: 3
      everything:
        mode: read
        sql: SELECT * FROM orders
      twice_named:
        mode: read
        sql: SELECT order_id AS a, note AS a FROM orders
"""


async def _call(world: World, name: str, *, read: bool = False, key: str = "", **values: object) -> dict[str, object]:
    parameters = {"statement": name, "parameters": values}
    result = await world.result(f"database_{'read' if read else 'write'}", "orders", "", parameters, key=key)
    assert isinstance(result, dict)
    return result


async def _fill(world: World, *rows: dict[str, object]) -> None:
    await world.effect("database_write", "orders", "insert", {"data": list(rows)})


async def test_a_statement_writes_once_under_its_key(database: Database) -> None:
    """R9, R16: a contract gives a statement's name and values; the repeat gets the recorded result."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, {"order_id": "a", "amount": 1}, {"order_id": "b", "amount": 1})
        expected = {"operation": "statement", "statement": "raise_amount", "rows": 1}
        for _ in range(2):
            assert await _call(world, "raise_amount", key="k", by=5, order_id="a", note="n") == expected
        assert await _call(world, "raise_amount", by=5, order_id="b") == expected
        assert [(row["amount"], row["note"]) for row in await rows_of(world)] == [(6, "n"), (6, None)]
        assert world.audit.records[-2].operation == "statement raise_amount"


async def test_an_intent_calls_a_statement(database: Database) -> None:
    """R89: a reducer's intent may name a statement, too."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, {"order_id": "a", "amount": 1})
        payload = {"statement": "raise_amount", "parameters": {"by": 2, "order_id": "a"}}
        (result,) = await world.intents([intent("i", intent_pb2.INTENT_TYPE_DATABASE_WRITE, "orders", payload)])
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED, result.error.message
        assert (await rows_of(world))[0]["amount"] == 3


async def test_what_a_statement_returns(database: Database) -> None:
    """R13: rows written by a statement without RETURNING are counted, those with it come back, exact."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, *({"order_id": f"{n}", "amount": n, "total": f"{n}.90"} for n in range(4)))
        assert (await _call(world, "copy_all", above=1))["rows"] == 2
        taken = await _call(world, "take", below=1)
        assert (taken["rows"], taken["returning"]) == (1, [{"order_id": "0", "total": _money(database, "0.90")}])
        assert (await _call(world, "take", below=0))["returning"] == []


def _money(database: Database, text: str) -> str:
    """What a result column of no declared scale holds: SQLite keeps no zero at the end."""
    return text.rstrip("0").rstrip(".") if database.is_sqlite else text


async def test_a_write_that_returns_too_much_is_rolled_back(database: Database) -> None:
    """R13: more rows than `rows_max` are refused, and what was written is not kept."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, *({"order_id": f"{n}", "amount": n} for n in range(4)))
        with pytest.raises(PayloadTooLargeError, match="more than 2 rows"):
            await _call(world, "take", below=4)
        assert len(await rows_of(world)) == 4


async def test_reads_by_statement(database: Database) -> None:
    """R6, R12: a reading statement returns its rows as database_read, decimals exact; too many or too large rows are
    refused, never cut off."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, *({"order_id": f"{n}", "total": f"{n}.35"} for n in range(4)))
        found = await _call(world, "dear", read=True, least="1.36")
        assert found == {
            "rows": [
                {"order_id": "3", "total": "3.35", "twice": _money(database, "6.70")},
                {"order_id": "2", "total": "2.35", "twice": _money(database, "4.70")},
            ],
            "count": 2,
        }
        with pytest.raises(PayloadTooLargeError, match="more than 3 rows"):
            await _call(world, "dear", read=True, least=0)
        await _fill(world, *({"order_id": f"x{n}", "note": "n" * 900} for n in range(20)))
        await _fill(world, *({"order_id": f"y{n}", "note": "n" * 900} for n in range(20)))
        with pytest.raises(PayloadTooLargeError, match="more than 20000 bytes"):
            await _call(world, "everything", read=True)
        with pytest.raises(EffectFailedError, match="two columns of the result are named a"):
            await _call(world, "twice_named", read=True)


@pytest.mark.parametrize(
    ("effect_type", "parameters", "field", "problem"),
    [
        ("database_write", {"statement": "no_such"}, "statement", "is not a statement of this target"),
        ("database_write", {"statement": "take; DROP TABLE orders"}, "statement", "is not a statement"),
        ("database_write", {"statement": "DELETE FROM orders"}, "statement", "is not a statement"),
        ("database_write", {"statement": {"sql": "x"}}, "statement", "valid string"),
        ("database_write", {"statement": "dear", "parameters": {"least": 1}}, "statement", "use database_read"),
        ("database_read", {"statement": "take", "parameters": {"below": 1}}, "statement", "use database_write"),
        ("database_write", {"statement": "take"}, "parameters.below", "is required"),
        ("database_write", {"statement": "take", "parameters": {"below": None}}, "parameters.below", "not be null"),
        ("database_write", {"statement": "take", "parameters": {"below": 1, "x": 1}}, "parameters.x", "not a param"),
        ("database_write", {"statement": "take", "parameters": {"below": "1; --"}}, "parameters.below", "fit the type"),
        ("database_write", {"statement": "take", "parameters": {"below": 1.5}}, "parameters.below", "whole number"),
        ("database_write", {"statement": "take", "parameters": {"below": True}}, "parameters.below", "boolean"),
        ("database_write", {"statement": "take", "parameters": {"below": [1]}}, "parameters.below", "list"),
        ("database_write", {"statement": "take", "parameters": {"below": str(2**63)}}, "parameters.below", "64 bits"),
        ("database_write", {"statement": "take", "parameters": {"below": 1}, "sql": "x"}, "sql", "Extra inputs"),
        ("database_write", {"statement": "take", "parameters": {"below": 1}, "table": "orders"}, "table", "Extra"),
        ("database_write", {"statement": "take", "parameters": {"below": 1}, "operation": "x"}, "operation", "none"),
        (
            "database_write",
            {"statement": "raise_amount", "parameters": {"by": 1, "order_id": "123456"}},
            "parameters.order_id",
            "6 is longer than 5",
        ),
        (
            "database_write",
            {"statement": "raise_amount", "parameters": {"by": 1, "order_id": "a\x00b"}},
            "parameters.order_id",
            "NUL",
        ),
    ],
)
async def test_calls_are_checked_before_anything_happens(
    database: Database, effect_type: str, parameters: dict[str, object], field: str, problem: str
) -> None:
    """R18: an unknown name, a value of another type, one that is missing or one too many: refused by its field."""
    async with database.world(_STATEMENTS) as world:
        await _fill(world, {"order_id": "a", "amount": 0})
        with pytest.raises(ValidationError) as refused:
            await world.effect(effect_type, "orders", "", parameters)
        found = {path.removeprefix("io_operation_config.parameters."): text for path, text in refused.value.violations}
        assert problem in found[field]
        assert await rows_of(world, columns=["order_id", "amount"]) == [{"order_id": "a", "amount": 0}]


async def test_sql_in_values_of_statements_is_data(database: Database) -> None:
    """R18: values are bound, whatever stands in them."""
    nasty = "'; --"
    async with database.world(_STATEMENTS) as world:
        await _fill(world, {"order_id": nasty, "amount": 1}, {"order_id": "b", "amount": 1})
        await _call(world, "raise_amount", by=1, order_id=nasty, note="'), (1); DROP TABLE orders; :by -- $1 ?")
        assert [(row["order_id"], row["amount"]) for row in await rows_of(world)] == [(nasty, 2), ("b", 1)]


_EVERY_TYPE = """\
      every_type:
        mode: read
        sql: >
          SELECT :t AS t, :i AS i, :f AS f, :n AS n, :b AS b, :at AS at, :d AS d, :c AS c, :u AS u, :x AS x, :j AS j
        parameters: {t: text, i: integer, f: float, n: decimal, b: boolean, at: timestamp, d: date, c: time, u: uuid,
          x: bytes, j: json}
        returns: {n: decimal, b: boolean, at: timestamp, d: date, c: time, j: json, f: float}
"""


async def test_every_type_goes_in_and_comes_out(database: Database) -> None:
    """F22, F37: each type of parameter, through the database and back, unchanged; times in UTC."""
    given: dict[str, object] = {
        "t": "é ; '",
        "i": str(2**62),
        "f": 0.1,
        "n": "123456789.012345",
        "b": False,
        "at": "2026-01-31T12:00:00.5+02:00",
        "d": "2026-01-31",
        "c": "12:30:00",
        "u": "0b5cc7c5-7b0f-4a52-8c86-111111111111",
        "x": "AAECgA==",
        "j": {"a": [1, None, "ü"]},
    }
    async with database.world(_EVERY_TYPE) as world:
        (row,) = (await _call(world, "every_type", read=True, **given))["rows"]  # type: ignore[misc]  # a list
    zone = "" if database.is_sqlite else "+00:00"
    assert row == {**given, "at": f"2026-01-31T10:00:00.500000{zone}"}


async def test_lists_on_postgresql(postgres_database: Database) -> None:
    """R16: PostgreSQL takes lists as parameters, each item checked."""
    statement = """\
      some:
        mode: read
        sql: SELECT order_id FROM orders WHERE order_id = ANY(:ids) ORDER BY order_id
        parameters: {ids: {type: "text[]", length_max: 2}}
"""
    async with postgres_database.world(statement) as world:
        await _fill(world, *({"order_id": name} for name in "abc"))
        assert await _call(world, "some", read=True, ids=["c", "a"]) == {
            "rows": [{"order_id": "a"}, {"order_id": "c"}],
            "count": 2,
        }
        for ids, problem in ((["a", 1.5], "a number is not a text"), ("a", "is not a list"), (["a"] * 3, "longer")):
            with pytest.raises(ValidationError, match=problem):
                await _call(world, "some", read=True, ids=ids)


@pytest.mark.parametrize(
    ("mode", "sql", "problem"),
    [
        ("write", "UPDATE nowhere SET a = 1", "nowhere"),
        ("write", "UPDATE orders SET colour = 1", "colour"),
        ("write", "UPDATE orders SETT note = 1", "syntax error"),
        ("read", "SELECT order_id FROM orders WHERE", "syntax error|incomplete input"),
    ],
)
async def test_statements_that_do_not_fit_the_database_stop_the_start(
    database: Database, mode: str, sql: str, problem: str
) -> None:
    """R18: the database plans each statement when the target is opened; a wrong one is the operator's error at once."""
    statement = f"      wrong:\n        mode: {mode}\n        sql: {sql}\n"
    with pytest.raises(ValidationError, match=rf"target 'orders': statement 'wrong': .*({problem})"):
        async with database.world(statement):
            pass


async def test_a_read_that_writes_stops_the_start(postgres_database: Database) -> None:
    """R18: a statement declared as a read whose plan writes is refused."""
    sql = "WITH gone AS (DELETE FROM orders RETURNING order_id) SELECT * FROM gone"
    with pytest.raises(ValidationError, match="'sly' is declared as a read, and writes"):
        async with postgres_database.world(f"      sly: {{mode: read, sql: '{sql}'}}"):
            pass


async def test_a_read_that_writes_through_a_function_is_refused_by_the_database(postgres_database: Database) -> None:
    """R18: what no plan shows is stopped by the transaction, which cannot write."""
    await postgres_database.sql("CREATE TABLE seen (at INT)")
    await postgres_database.sql(
        "CREATE FUNCTION look() RETURNS INT LANGUAGE sql AS 'INSERT INTO seen VALUES (1) RETURNING at'"
    )
    async with postgres_database.world("      sly: {mode: read, sql: SELECT look()}") as world:
        with pytest.raises(EffectFailedError, match="read-only transaction") as refused:
            await _call(world, "sly", read=True)
        assert refused.value.error_context["attempts"] == 1
    assert await postgres_database.sql("SELECT * FROM seen") == []


async def test_a_plan_of_sqlite_tells_reads_from_writes(sqlite_database: Database) -> None:
    """R18: on SQLite a statement whose program begins a writing transaction is no read."""
    statement = "      sly: {mode: read, sql: 'WITH a AS (SELECT 1 AS n) DELETE FROM orders WHERE amount = 1'}"
    with pytest.raises(ValidationError, match="'sly' is declared as a read, and writes"):
        async with sqlite_database.world(statement):
            pass


async def test_a_target_of_statements_only(database: Database) -> None:
    """R17: a target may list no table at all; then none can be named."""
    target = f"""\
  calc:
    kind: database
    dsn: {database.dsn}
    statements:
      add: {{mode: read, sql: "SELECT :a + :b AS sum", parameters: {{a: integer, b: integer}}}}
"""
    async with effect_world(database.folder, target) as world:
        asked = {"statement": "add", "parameters": {"a": 1, "b": 2}}
        assert await world.result("database_read", "calc", "", asked) == {"rows": [{"sum": 3}], "count": 1}
        with pytest.raises(ValidationError, match="table: is required"):
            await world.effect("database_read", "calc")


async def test_a_statement_survives_a_change_of_its_tables(postgres_database: Database) -> None:
    """R25: connections have prepared what no longer fits; that is noticed and made again, and costs no effect."""
    async with postgres_database.world(_STATEMENTS) as world:
        await _fill(world, {"order_id": "a", "amount": 1})
        assert (await _call(world, "everything", read=True))["count"] == 1
        await postgres_database.sql("ALTER TABLE orders ALTER COLUMN note TYPE VARCHAR(90), ADD COLUMN extra INT")
        payload = {"statement": "everything"}
        output = await world.effect("database_read", "orders", "", payload, retries=0)
        assert output.metadata.attempts == 1
        assert "extra" in str(output.operation_result)


_PAGE = Path(__file__).parents[2] / "docs" / "effect.md"


def _blocks(language: str, begin: str) -> str:
    """The code of a page that is in a language and begins so."""
    found = re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [text for text in found if text.lstrip().startswith(begin)]
    return str(block)


async def test_the_page_on_statements_is_right(database: Database) -> None:
    """R16: the statements, the transaction and the tables of docs/effect.md work as they stand there."""
    for statement in filter(str.strip, _blocks("sql", "CREATE TABLE onex_effects").split(";")):
        await database.sql(statement)
    await database.sql("CREATE TABLE stock (article VARCHAR(40) PRIMARY KEY, amount INT CHECK (amount >= 0))")
    await database.sql("INSERT INTO stock VALUES ('a-7', 2)")
    statements = _blocks("yaml", "statements:").partition("\n")[2]
    transaction = json.loads(_blocks("json", '{"operations"'))
    async with database.world(statements) as world:
        for _ in range(2):
            result = await world.result("database_write", "orders", "", transaction, key="k")
            assert result == {
                "operations": [
                    {"operation": "insert", "table": "orders", "rows": 1},
                    {"operation": "statement", "statement": "restock", "rows": 1, "returning": [{"amount": 1}]},
                ]
            }
        found = await _call(world, "dear_orders", read=True, least="19.9")
        assert found == {"rows": [{"order_id": "o-1", "total": _money(database, "19.90")}], "count": 1}

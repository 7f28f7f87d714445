"""What an operator may declare of a database: checked when the file is read, every error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.sql_text import read_sql
from onex_mesh.effect.core.target_file import read_target_file
from onex_mesh.runtime.errors import ValidationError

_PARAMETERS = [
    ("SELECT :a, :b FROM t WHERE c = :a", {"a", "b"}),
    ("SELECT ':a', \":b\", `:c`, :d", {"d"}),
    ("SELECT 'it''s :a', E'it\\'s :b', e'\\\\', :c", {"c"}),
    ("SELECT $$ :a ; ' $$, $q$ $$ :b $q$, :c", {"c"}),
    ("SELECT :a -- :b ; '\n, :c /* :d /* ; */ ' :e */ , :f", {"a", "c", "f"}),
    ("SELECT now()::date, :a::int, x[1:2], x[:n]", {"a", "n"}),
    ('SELECT 1 AS "a;b" ; -- the end', set()),
    ("(SELECT :a) UNION (SELECT :b);;", {"a", "b"}),
]


@pytest.mark.parametrize(("sql", "names"), _PARAMETERS)
def test_parameters_are_found_where_they_are(sql: str, names: set[str]) -> None:
    """R16: colons in texts, quoted names, comments, casts and slices are no parameters."""
    read = read_sql(sql)
    assert read.parameters == names
    assert read.verb == "SELECT"


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT 1; DROP TABLE t", "more than one statement"),
        ("SELECT 1;/**/ SELECT 2", "more than one statement"),
        ("SELECT 'a", "begins with '"),
        ('SELECT "a', 'begins with "'),
        ("SELECT /* a", "does not end"),
        ("SELECT $1", "have names here"),
        ("SELECT \x00", "NUL"),
        ("'SELECT'", "begins with 'SELECT'"),
    ],
)
def test_what_is_not_one_statement_is_refused(sql: str, problem: str) -> None:
    """R18: a second statement, an open quotation or comment, and numbered parameters are errors."""
    with pytest.raises(ValueError, match=problem):
        read_sql(sql)


_FILE = """\
targets:
  shop:
    kind: database
    dsn: {dsn}
    tables: {{orders: {{columns: [order_id]}}}}
{rest}
"""
_STATEMENT = """\
    statements:
      restock:
        sql: {sql}
        mode: {mode}
        parameters: {parameters}
"""


def _problem(folder: Path, rest: str, dsn: str = "postgresql://shop@host/shop") -> str:
    path = folder / "targets.yaml"
    path.write_text(_FILE.format(dsn=dsn, rest=rest), encoding="utf-8")
    with pytest.raises(ValidationError) as refused:
        read_target_file(path, {})
    return refused.value.message.replace(f"{path}:", "")


@pytest.mark.parametrize(
    ("sql", "mode", "parameters", "problem"),
    [
        ("DELETE FROM orders", "read", "{}", "a read begins with one of SELECT, WITH, VALUES, not with 'DELETE'"),
        ("DROP TABLE orders", "write", "{}", "a write begins with one of"),
        ("COMMIT", "write", "{}", "not with 'COMMIT'"),
        ("''", "write", "{}", "begins with"),
        ("UPDATE orders SET order_id = :a", "write", "{}", ":a not among the parameters"),
        ("UPDATE orders SET order_id = ':a'", "write", "{a: text}", "a not in the SQL"),
        ("UPDATE orders SET order_id = :a", "write", "{a: money}", "Input should be"),
        ("UPDATE orders SET order_id = :a", "write", "{a: {type: text, size: 1}}", "size"),
        ("UPDATE orders SET order_id = 1; SELECT 2", "write", "{}", "more than one statement"),
        ("SELECT 1", "maybe", "{}", "Input should be 'read' or 'write'"),
    ],
)
def test_statements_are_checked_when_the_file_is_read(
    tmp_path: Path, sql: str, mode: str, parameters: str, problem: str
) -> None:
    """R16, R18: mode, verb, number of statements and parameters have to fit together; the error has its line."""
    text = _problem(tmp_path, _STATEMENT.format(sql=f'"{sql}"', mode=mode, parameters=parameters))
    assert problem in text
    assert int(text.partition(":")[0]) >= 7
    assert "targets.shop.statements.restock" in text


@pytest.mark.parametrize(
    ("rest", "dsn", "problem"),
    [
        ("    isolation: read_committed", "sqlite:///a.db", "SQLite is serializable"),
        ("    isolation: chaos", "postgresql://shop@host/shop", "Input should be"),
        ("    keys_kept_s: 60", "sqlite:///a.db", "greater than or equal to 3600"),
        ("    table: nowhere", "sqlite:///a.db", "'nowhere' is not among the tables"),
        ("", "postgresql://shop:secret@host/shop", "holds a password"),
        ("", "postgresql://shop@host/shop?password=secret", "holds a password"),
        ("", "postgresql://shop@host/shop?options=-c%20x", "unknown options: options"),
        ("", "sqlite:///a.db?mode=ro", "unknown options: mode"),
        ("", "mysql://host/shop", "is not sqlite"),
        (
            _STATEMENT.format(sql="'SELECT 1 WHERE 1 = ANY(:a)'", mode="read", parameters="{a: 'integer[]'}"),
            "sqlite:///a.db",
            "SQLite has no lists (a)",
        ),
        (_STATEMENT.format(sql="'SELECT ?'", mode="read", parameters="{}"), "sqlite:///a.db", "use :name"),
    ],
)
def test_what_a_database_cannot_do_is_told_at_once(tmp_path: Path, rest: str, dsn: str, problem: str) -> None:
    """R17, R18: isolation levels and parameters are checked against the kind of database; no secret is repeated."""
    text = _problem(tmp_path, rest, dsn)
    assert problem in text
    assert "secret" not in text


def test_a_target_needs_something_that_contracts_may_name(tmp_path: Path) -> None:
    """R17: without tables and statements a target could do nothing."""
    path = tmp_path / "targets.yaml"
    path.write_text("targets: {shop: {kind: database, dsn: 'sqlite:///a.db'}}", encoding="utf-8")
    with pytest.raises(ValidationError, match="needs tables or statements"):
        read_target_file(path, {})


def test_a_statement_in_full(tmp_path: Path) -> None:
    """R16: parameters in short and in long form, types of results, a bound on rows."""
    path = tmp_path / "targets.yaml"
    path.write_text(
        """\
targets:
  shop:
    kind: database
    dsn: sqlite:///a.db
    keys_kept_s: null
    statements:
      dear:
        mode: read
        sql: |
          SELECT order_id, total FROM orders -- every order
          WHERE total > :least AND (:note IS NULL OR note = :note)
        parameters: {least: decimal, note: {type: text, nullable: true, length_max: 10}}
        returns: {total: decimal}
        rows_max: 5
""",
        encoding="utf-8",
    )
    target = read_target_file(path, {}).targets["shop"]
    assert isinstance(target, DatabaseTarget)
    assert target.keys_kept_s is None
    assert target.dsn == f"sqlite:///{tmp_path}/a.db"
    dear = target.statements["dear"]
    assert (dear.parameters["least"].type, dear.parameters["least"].nullable) == ("decimal", False)
    assert (dear.parameters["note"].nullable, dear.parameters["note"].length_max) == (True, 10)
    assert (dear.returns, dear.rows_max) == ({"total": "decimal"}, 5)

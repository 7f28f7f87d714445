"""What a database has to hold before the first effect: the operator's DDL, the node's own tables, what is listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from onex_mesh.effect.adapters.database import records
from onex_mesh.effect.adapters.database.column_types import adapt
from onex_mesh.effect.adapters.database.faults import fault_of, translate
from onex_mesh.effect.adapters.database.named import NamedStatement
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.runtime.errors import EffectFailedError

_LOCK = 0x6F6E6578
"""Key of the advisory lock under which nodes prepare a database ("onex" in ASCII)."""


def prepare(
    connection: sa.Connection, name: str, target: DatabaseTarget, statements: Mapping[str, NamedStatement]
) -> dict[str, sa.Table]:
    """Makes what is missing and checks the rest; returns the tables that the target lists.

    Raises:
        EffectFailedError: The DDL is refused, a table or a column is missing, a statement does not fit the database.
    """
    if not target.is_sqlite:
        # Of two nodes that create a table at the same time one would fail, even with IF NOT EXISTS.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    for statement in target.ddl:
        connection.exec_driver_sql(statement)
    _make_own_tables(connection, name)
    tables = {table: _reflected(connection, table) for table in target.tables}
    for table, listed in target.tables.items():
        missing = [column for column in listed.columns if column not in tables[table].c]
        if missing:
            raise EffectFailedError(f"table {table!r} has no column {', '.join(missing)}")
    for statement_name, named in statements.items():
        _require_fitting(connection, name, statement_name, named)
    return tables


def _make_own_tables(connection: sa.Connection, target: str) -> None:
    try:
        records.create_tables(connection)
    except DBAPIError as error:
        problem = translate(error, fault_of(error), target)
        if isinstance(problem, EffectFailedError):
            raise EffectFailedError(
                f"onex_effects and onex_fences are missing and cannot be created ({problem.message}); docs/effect.md "
                "has the statements for somebody who may"
            ) from error
        raise
    for own in records.OWN_TABLES:
        present = {column["name"] for column in sa.inspect(connection).get_columns(own.name)}
        missing = [column.name for column in own.columns if column.name not in present]
        if missing:
            raise EffectFailedError(
                f"table {own.name!r} has no column {', '.join(missing)}: another version made it; migrate or drop it"
            )


def _reflected(connection: sa.Connection, name: str) -> sa.Table:
    try:
        table = sa.Table(name, sa.MetaData(), autoload_with=connection, resolve_fks=False)
    except sa.exc.NoSuchTableError as error:
        raise EffectFailedError(f"table {name!r} does not exist, or its user may not see it") from error
    for column in table.c:
        adapt(column, is_sqlite=connection.dialect.name == "sqlite")
    return table


def _require_fitting(connection: sa.Connection, target: str, name: str, named: NamedStatement) -> None:
    """Has the database plan a statement: its tables, columns, types and rights are checked, and nothing is run."""
    try:
        plan = [tuple(row) for row in connection.execute(named.explained())]
    except DBAPIError as error:
        problem = translate(error, fault_of(error), target)
        if isinstance(problem, EffectFailedError):
            raise EffectFailedError(f"statement {name!r}: {problem.message}") from error
        raise
    if named.declared.mode == "read" and _writes(plan, connection.dialect.name):
        raise EffectFailedError(f"statement {name!r} is declared as a read, and writes")


def _writes(plan: Sequence[Sequence[object]], dialect: str) -> bool:
    if dialect == "sqlite":
        # The opcode that begins a transaction; its second operand tells whether one that writes.
        return any(row[1] == "Transaction" and row[3] != 0 for row in plan)
    nodes = (str(row[0]).strip().removeprefix("->").strip() for row in plan)
    return any(node.startswith(("Insert on", "Update on", "Delete on", "Merge on")) for node in nodes)

"""Checked writes and reads as SQLAlchemy statements: identifiers from the reflected table, values always bound."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete, Insert, Update

from onex_mesh.effect.adapters.database.column_types import SqlValue
from onex_mesh.effect.adapters.database.commands import Row, TableRead, TableWrite
from onex_mesh.effect.adapters.database.values import to_sql


def write_statement(write: TableWrite, table: sa.Table, dialect: str) -> Insert | Update | Delete:
    """The statement of a write.

    Raises:
        ValidationError: A value does not fit its column.
    """
    statement: Insert | Update | Delete
    field = f"{write.field}data"
    where = f"{write.field}where"
    if write.operation == "delete":
        statement = sa.delete(table).where(*_equals(write.where, table, where))
    elif write.operation == "update":
        values = _bound(write.rows[0], table, field)
        statement = sa.update(table).where(*_equals(write.where, table, where)).values(values)
    else:
        rows = [
            _bound(row, table, field if len(write.rows) == 1 else f"{field}[{index}]")
            for index, row in enumerate(write.rows)
        ]
        statement = (
            _upsert(write, rows, table, dialect) if write.operation == "upsert" else sa.insert(table).values(rows)
        )
    return statement.returning(*(table.c[column] for column in write.returning)) if write.returning else statement


def read_statement(read: TableRead, table: sa.Table) -> sa.Select[tuple[SqlValue, ...]]:
    """The statement of a read.

    Raises:
        ValidationError: A value does not fit its column.
    """
    order = [table.c[column].desc() if descending else table.c[column].asc() for column, descending in read.order]
    return (
        sa.select(*(table.c[column] for column in read.columns))
        .where(*_equals(read.where, table, "where"))
        .order_by(*order)
        .limit(read.limit)
        .offset(read.offset)
    )


def _upsert(write: TableWrite, rows: list[dict[str, SqlValue]], table: sa.Table, dialect: str) -> Insert:
    insert = sqlite.insert(table).values(rows) if dialect == "sqlite" else postgresql.insert(table).values(rows)
    keys = [table.c[column] for column in write.key]
    others = {column: insert.excluded[column] for column in rows[0] if column not in write.key}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_=others)


def _bound(row: Row, table: sa.Table, field: str) -> dict[str, SqlValue]:
    return {column: to_sql(value, table.c[column].type, f"{field}.{column}") for column, value in row.items()}


def _equals(where: Row, table: sa.Table, field: str) -> list[sa.ColumnElement[bool]]:
    return [
        table.c[column].is_(None)
        if value is None
        else table.c[column] == to_sql(value, table.c[column].type, f"{field}.{column}")
        for column, value in where.items()
    ]

"""Checked writes and reads as SQLAlchemy statements: identifiers from the reflected table, values always bound."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete, Insert, Update

from onex_mesh.effect.adapters.database.parameters import Read, Row, Write
from onex_mesh.effect.adapters.database.values import SqlValue, to_sql


def write_statement(write: Write, table: sa.Table, dialect: str) -> Insert | Update | Delete:
    """The statement of a write.

    Raises:
        ValidationError: A value does not fit its column.
    """
    statement: Insert | Update | Delete
    if write.operation == "delete":
        statement = sa.delete(table).where(*_equals(write.where, table))
    elif write.operation == "update":
        statement = sa.update(table).where(*_equals(write.where, table)).values(_bound(write.rows[0], table, "data"))
    else:
        rows = [
            _bound(row, table, "data" if len(write.rows) == 1 else f"data[{index}]")
            for index, row in enumerate(write.rows)
        ]
        statement = (
            _upsert(write, rows, table, dialect) if write.operation == "upsert" else sa.insert(table).values(rows)
        )
    return statement.returning(*(table.c[column] for column in write.returning)) if write.returning else statement


def read_statement(read: Read, table: sa.Table) -> sa.Select[tuple[SqlValue, ...]]:
    """The statement of a read.

    Raises:
        ValidationError: A value does not fit its column.
    """
    order = [table.c[column].desc() if descending else table.c[column].asc() for column, descending in read.order]
    return (
        sa.select(*(table.c[column] for column in read.columns))
        .where(*_equals(read.where, table))
        .order_by(*order)
        .limit(read.limit)
        .offset(read.offset)
    )


def _upsert(write: Write, rows: list[dict[str, SqlValue]], table: sa.Table, dialect: str) -> Insert:
    insert = sqlite.insert(table).values(rows) if dialect == "sqlite" else postgresql.insert(table).values(rows)
    keys = [table.c[column] for column in write.key]
    others = {column: insert.excluded[column] for column in rows[0] if column not in write.key}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_=others)


def _bound(row: Row, table: sa.Table, field: str) -> dict[str, SqlValue]:
    return {column: to_sql(value, table.c[column], f"{field}.{column}") for column, value in row.items()}


def _equals(where: Row, table: sa.Table) -> list[sa.ColumnElement[bool]]:
    return [
        table.c[column].is_(None)
        if value is None
        else table.c[column] == to_sql(value, table.c[column], f"where.{column}")
        for column, value in where.items()
    ]

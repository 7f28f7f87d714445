"""The two databases as targets of tests: a shop's orders and accounts, and statements over them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.effect_engine import AuditList, World, effect_world

ORDERS = """CREATE TABLE IF NOT EXISTS orders (
  order_id VARCHAR(40) PRIMARY KEY, total NUMERIC(14, 2), amount BIGINT, note TEXT, placed_at {moment}, paid BOOLEAN,
  secret TEXT)"""
ACCOUNTS = """CREATE TABLE IF NOT EXISTS accounts (
  owner VARCHAR(20) PRIMARY KEY, balance NUMERIC(14, 2) NOT NULL CHECK (balance >= 0))"""


@dataclass(frozen=True, slots=True)
class Database:
    """One of the two databases."""

    kind: str
    dsn: str
    folder: Path

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite."""
        return self.kind == "sqlite"

    def target(self, statements: str = "", *, name: str = "orders", **settings: object) -> str:
        """The tables as a target's YAML.

        Args:
            statements: YAML of named statements, each at eight columns' distance from the edge or more.
            name: Name of the target.
            settings: More keys of the target, in YAML's flow style.
        """
        moment = "TIMESTAMP" if self.is_sqlite else "TIMESTAMP WITH TIME ZONE"
        ddl = ", ".join(f'"{" ".join(text.format(moment=moment).split())}"' for text in (ORDERS, ACCOUNTS))
        rest = {
            "limits": "{concurrency: 8, size_bytes: 20000}",
            "retry": "{max_retries: 3, initial_backoff_s: 0.02}",
            **settings,
        }
        extra = "".join(f"    {key}: {value}\n" for key, value in rest.items())
        named = f"    statements:\n{statements.rstrip()}\n" if statements else ""
        return f"""\
  {name}:
    kind: database
    dsn: {self.dsn}
    table: orders
    tables:
      orders: {{columns: [order_id, total, amount, note, placed_at, paid], key: [order_id]}}
      accounts: {{columns: [owner, balance], key: [owner]}}
    ddl: [{ddl}]
{extra}{named}"""

    def world(
        self,
        statements: str = "",
        *,
        environment: Mapping[str, str] | None = None,
        audit: AuditList | None = None,
        **settings: object,
    ) -> AbstractAsyncContextManager[World]:
        """An engine with the tables as target `orders`, on this database."""
        return effect_world(
            self.folder, self.target(statements, **settings), environment=environment or {}, audit=audit
        )

    async def sql(self, text: str, *values: object) -> list[tuple[object, ...]]:
        """Runs SQL beside the target; `?` are its values. Returns the rows."""
        if self.is_sqlite:
            return await asyncio.to_thread(self._sqlite, text, values)
        for place in range(1, len(values) + 1):
            text = text.replace("?", f"${place}", 1)
        connection = await asyncpg.connect(self.dsn)
        try:
            return [tuple(row) for row in await connection.fetch(text, *values)]
        finally:
            await connection.close()

    def _sqlite(self, text: str, values: Sequence[object]) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.dsn.removeprefix("sqlite:///"))) as connection, connection:
            return connection.execute(text, values).fetchall()


async def rows_of(world: World, **parameters: object) -> list[dict[str, object]]:
    """The rows of `orders`, by their id, or what else the parameters ask for."""
    result = await world.result("database_read", "orders", "", {"order": "order_id", **parameters})
    assert isinstance(result, dict)
    return list(result["rows"])


async def until_so(database: Database, question: str, *, timeout_s: float = 20.0) -> None:
    """Waits until a query returns a row.

    Raises:
        TimeoutError: It does not within the time.
    """
    async with asyncio.timeout(timeout_s):
        while not await database.sql(question):  # noqa: ASYNC110  # the database has no event for it
            await asyncio.sleep(0.01)

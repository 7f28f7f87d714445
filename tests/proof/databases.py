"""Databases: rows are counted, in a table without a key of its own, so that a second row would be there."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import ClassVar

import asyncpg

from onex.v1 import intent_pb2
from tests.postgres import PostgresServer
from tests.proof.case import Counts, EffectCase, LocalCase, NetworkCase, Stage

_TABLE = """
table: orders
tables: {orders: {columns: [order_id, total]}}
ddl: ["CREATE TABLE IF NOT EXISTS orders (order_id TEXT, total INTEGER)"]
limits: {timeout_s: 40}
"""


class _DatabaseCase(EffectCase):
    effect_type = "database_write"
    operation = "insert"
    intent_type = intent_pb2.INTENT_TYPE_DATABASE_WRITE
    # Rolled back: the row is not there until the repeat writes it.
    during: ClassVar[Counts] = Counts(then=0, in_the_end=1)

    def parameters(self, label: str) -> dict[str, object]:
        """A row."""
        return {"data": {"order_id": label, "total": 7}}


class SqliteCase(_DatabaseCase, LocalCase):
    """A file; the node waits before the statement with the label, or before COMMIT."""

    name = "orders_sqlite"
    points: ClassVar = {Stage.BEFORE: "sqlite-statement", Stage.DURING: "sqlite-commit"}

    def declaration(self) -> str:
        """The file beside the targets."""
        return f"kind: database\ndsn: sqlite:///{self.folder}/orders.db\nbusy_timeout_s: 30{_TABLE}"

    def text(self, stage: Stage, label: str) -> str:
        """All commits while one is to be held."""
        return label if stage is Stage.BEFORE else "commit"

    async def count(self, label: str) -> int:
        """Rows with the label."""
        with closing(sqlite3.connect(self.folder / "orders.db")) as database:
            found: int = database.execute("SELECT count(*) FROM orders WHERE order_id = ?", (label,)).fetchone()[0]
        return found


class PostgresCase(_DatabaseCase, NetworkCase):
    """A server; the proxy holds the first statement with the label, or COMMIT on its way there."""

    name = "orders_postgres"
    server: PostgresServer

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """An empty one."""
        self.server = PostgresServer()
        stack.callback(self.server.remove)
        await asyncio.to_thread(self.server.start)
        return self.server.port

    def declaration(self, port: int) -> str:
        """Behind the proxy."""
        return f"kind: database\ndsn: postgresql://shop@127.0.0.1:{port}/shop{_TABLE}"

    def hold(self, stage: Stage, label: str) -> None:
        """Both on the way there: an answer to COMMIT would come after the effect."""
        self.proxy.hold_request(label.encode() if stage is Stage.BEFORE else b"COMMIT")

    async def count(self, label: str) -> int:
        """Rows with the label."""
        connection = await asyncpg.connect(self.server.dsn)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM orders WHERE order_id = $1", label))
        finally:
            await connection.close()

"""Servers that several of these tests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import asyncpg
import pytest

from tests.databases import Database
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer, None, None]:
    """A PostgreSQL server for all tests; those that restart it leave it running."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def postgres_database(postgres: PostgresServer, tmp_path: Path) -> AsyncGenerator[Database, None]:
    """PostgreSQL, empty."""
    yield Database("postgresql", postgres.dsn, tmp_path)
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Database:
    """SQLite, empty."""
    return Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Both databases, empty."""
    name = "sqlite_database" if request.param == "sqlite" else "postgres_database"
    found: Database = request.getfixturevalue(name)
    return found

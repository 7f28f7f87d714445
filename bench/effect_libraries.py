"""The same effects by the libraries that the node uses, called directly: what the effect node is compared with.

Each does what its server needs to keep the effect, and nothing else: no key, no ledger, no audit record, no checks.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # ships no types
import httpx
import nats
import redis.asyncio

Call = Callable[[str], Awaitable[object]]
"""One effect, told apart from others by a text."""

CONTENT = "what is to stand there\n"
DDL = "CREATE TABLE IF NOT EXISTS orders (order_id TEXT, total INTEGER)"


def file_write(folder: Path) -> Call:
    """Temporary file, fsync, rename, fsync of the folder."""
    folder.mkdir(parents=True)

    def write(label: str) -> None:
        temporary = folder / f".{label}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(CONTENT)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / label)
        _sync(folder)

    return lambda label: asyncio.to_thread(write, label)


def file_append(folder: Path) -> Call:
    """Write and fsync."""
    folder.mkdir(parents=True)

    def append(label: str) -> None:
        with (folder / "file.txt").open("a", encoding="utf-8") as file:
            file.write(CONTENT)
            file.flush()
            os.fsync(file.fileno())

    return lambda label: asyncio.to_thread(append, label)


def sqlite(path: Path, stack: AsyncExitStack) -> Call:
    """INSERT and COMMIT, one at a time as SQLite wants it, synced as the node's."""
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    stack.callback(database.close)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", DDL):
        database.execute(statement)
    turn = threading.Lock()

    def insert(label: str) -> None:
        with turn:
            database.execute("INSERT INTO orders VALUES (?, 7)", (label,))

    return lambda label: asyncio.to_thread(insert, label)


async def postgres(dsn: str, stack: AsyncExitStack) -> Call:
    """INSERT over a pool of asyncpg."""
    pool = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=16, max_size=16))
    await pool.execute(DDL.replace("orders", "orders_direct"))

    async def insert(label: str) -> object:
        return await pool.execute("INSERT INTO orders_direct VALUES ($1, 7)", label)

    return insert


async def http(url: str, stack: AsyncExitStack) -> Call:
    """POST by httpx."""
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))

    async def post(label: str) -> object:
        return (await client.post("/orders", json={"label": label})).raise_for_status()

    return post


async def jetstream(url: str, stack: AsyncExitStack) -> Call:
    """A message with an id, acknowledged by the stream."""
    client = await nats.connect(url)
    stack.push_async_callback(client.close)
    context = client.jetstream()
    await context.add_stream(name="DIRECT", subjects=["direct.>"])

    async def publish(label: str) -> object:
        return await context.publish("direct.order", CONTENT.encode(), headers={"Nats-Msg-Id": label})

    return publish


async def redis_stream(port: int, stack: AsyncExitStack) -> Call:
    """XADD."""
    client = await stack.enter_async_context(redis.asyncio.Redis(port=port))

    async def add(label: str) -> object:
        return await client.xadd("direct", {"label": label, "body": CONTENT})

    return add


async def redis_cache(port: int, stack: AsyncExitStack) -> Call:
    """SET."""
    client = await stack.enter_async_context(redis.asyncio.Redis(port=port))

    async def put(label: str) -> object:
        return await client.set(f"direct:{label}", CONTENT)

    return put


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Databases that hang, vanish, refuse or have no room; effects that are cancelled. None keeps connections or locks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from onex_mesh.effect.core.request import EffectContext, EffectRequest
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    DatabaseConnectionError,
    EffectFailedError,
    OverloadedError,
    TargetUnavailableError,
    TemporaryDatabaseError,
    ValidationError,
)
from tests.databases import Database, rows_of, until_so
from tests.effect_engine import World, effect_world
from tests.postgres import PostgresServer
from tests.tcp_proxy import TcpProxy

_SLOW = {
    "postgresql": """\
      slow: {mode: write, sql: "INSERT INTO orders (order_id) SELECT :id || coalesce(pg_sleep(60)::text, '')",
        parameters: {id: text}}
      look: {mode: read, sql: SELECT pg_sleep(60)}
""",
    "sqlite": """\
      slow:
        mode: write
        sql: >
          INSERT INTO orders (order_id)
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
          SELECT :id || count(*) FROM n
        parameters: {id: text}
      look:
        mode: read
        sql: >
          WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
          SELECT count(*) AS c FROM n
""",
}
_RUNNING = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'onex-mesh' AND state = 'active'"
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'onex-mesh'"
_NONE_OPEN = f"SELECT 1 WHERE NOT EXISTS ({_SESSIONS} AND state <> 'idle')"


async def _insert(world: World, order_id: str, *, key: str = "", retries: int = 0) -> int:
    data = {"data": {"order_id": order_id}}
    output = await world.effect("database_write", "orders", "insert", data, key=key, retries=retries)
    return output.metadata.attempts


@pytest.mark.parametrize("effect_type", ["database_write", "database_read"])
async def test_a_cancelled_effect_stops_its_statement(database: Database, effect_type: str) -> None:
    """R10, R154: cancelling stops the statement at the database, rolls back, and gives the connection back; the target
    works on."""
    call: dict[str, object] = {"statement": "look"}
    if effect_type == "database_write":
        call = {"statement": "slow", "parameters": {"id": "a"}}
    async with database.world(_SLOW[database.kind], limits="{concurrency: 1, timeout_s: 50}") as world:
        for _ in range(3):
            effect = asyncio.create_task(world.effect(effect_type, "orders", "", call, key="k"))
            if database.is_sqlite:
                # A thread runs it: there is nothing to ask.
                await asyncio.sleep(0.2)
            else:
                await until_so(database, _RUNNING)
            effect.cancel()
            with pytest.raises(asyncio.CancelledError):
                await effect
            if not database.is_sqlite:
                await until_so(database, _NONE_OPEN)
        assert world.lanes["orders"].slots.in_use == 0
        await _insert(world, "b", key="k")
        assert [row["order_id"] for row in await rows_of(world)] == ["b"]


async def test_an_effect_past_its_time_is_rolled_back(database: Database) -> None:
    """R19: an attempt that takes longer than the target allows, or the caller waits, stops at the database, too."""
    call = {"statement": "slow", "parameters": {"id": "a"}}
    async with database.world(_SLOW[database.kind], limits="{concurrency: 1, timeout_s: 0.5}") as world:
        with pytest.raises(TargetUnavailableError, match="did not answer within") as late:
            await world.effect("database_write", "orders", "", call, retries=0)
        assert not late.value.retryable
        deadline = EffectContext(deadline=time.monotonic() + 0.3)
        with pytest.raises(ActionExpiredError):
            await world.effect("database_write", "orders", "", call, key="k", context=deadline)
        await _insert(world, "b")
        assert [row["order_id"] for row in await rows_of(world)] == ["b"]


@contextmanager
def _stopped(processes: list[int]) -> Generator[None, None, None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_server_that_hangs_holds_nobody_up(postgres_database: Database) -> None:
    """R154: server processes that stand still do not answer a cancellation either; their effects end all the same, and
    the next ones get other connections."""
    async with postgres_database.world(limits="{concurrency: 2, timeout_s: 1}") as world:
        await _insert(world, "a")
        processes = [int(str(row[0])) for row in await postgres_database.sql(_SESSIONS)]
        assert 1 <= len(processes) <= 3
        async with asyncio.timeout(60):
            with _stopped(processes):
                ended = [await _how_it_ended(world, f"b{number}") for number in range(len(processes) + 1)]
        assert "did not answer within 1 s" in ended[0]
        assert ended[-1] == "written"
        assert world.lanes["orders"].slots.in_use == 0
        await until_so(postgres_database, _NONE_OPEN)
        assert len(await rows_of(world)) == 1 + ended.count("written")


async def _how_it_ended(world: World, order_id: str) -> str:
    try:
        await _insert(world, order_id)
    except TargetUnavailableError as error:
        return error.message
    return "written"


async def test_the_server_ends_transactions_of_nodes_that_vanished(postgres_database: Database) -> None:
    """R25: a connection tells the server how long a statement and an idle transaction may last, so that a node that
    vanished without a word does not keep its locks."""
    statement = """\
      settings:
        mode: read
        sql: >
          SELECT current_setting('statement_timeout') AS s,
            current_setting('idle_in_transaction_session_timeout') AS i
"""
    async with postgres_database.world(statement, limits="{timeout_s: 2}") as world:
        result = await world.result("database_read", "orders", "", {"statement": "settings"})
        assert result == {"rows": [{"s": "7s", "i": "7s"}], "count": 1}


async def test_connections_are_as_many_as_the_target_allows(postgres_database: Database) -> None:
    """R10: however many effects are handed in, the pool has `limits.concurrency` connections, and one for the check."""
    pause = "      pause: {mode: write, sql: SELECT pg_sleep(0.05)}\n"
    async with postgres_database.world(pause, limits="{concurrency: 3, timeout_s: 30}") as world:
        effects = [
            asyncio.create_task(world.effect("database_write", "orders", "", {"statement": "pause"})) for _ in range(30)
        ]
        counts: list[int] = []
        while not all(effect.done() for effect in effects):
            found = await postgres_database.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'onex-mesh'"
            )
            counts.append(int(str(found[0][0])))
            await world.lanes["orders"].adapter.check()
        await asyncio.gather(*effects)
        assert 1 < max(counts) <= 4


async def test_a_full_pool_is_waited_for_and_then_told(database: Database) -> None:
    """R10, R154: with every connection in use a call waits for a share of its time, then is OVERLOADED, retryable; it
    never hangs, and when there is room again it works."""
    async with database.world(_SLOW[database.kind], limits="{concurrency: 1, timeout_s: 1}") as world:
        adapter = world.lanes["orders"].adapter
        held = [
            asyncio.create_task(
                adapter.plan(
                    EffectRequest(
                        "orders", "database_write", parameters={"statement": "slow", "parameters": {"id": str(n)}}
                    )
                ).run(EffectContext())
            )
            for n in range(2)
        ]
        if database.is_sqlite:
            await asyncio.sleep(0.1)
        else:
            await until_so(database, f"{_RUNNING} OFFSET 1")
        plan = adapter.plan(EffectRequest("orders", "database_write", parameters={"data": {"order_id": "a"}}))
        with pytest.raises(OverloadedError) as full:
            await plan.run(EffectContext())
        assert full.value.retryable
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await _insert(world, "b")


async def test_a_busy_writer_of_sqlite_does_not_keep_readers_out(sqlite_database: Database) -> None:
    """R154: while one writes others read what was committed before."""
    async with sqlite_database.world(_SLOW["sqlite"], limits="{concurrency: 3, timeout_s: 20}") as world:
        await _insert(world, "a")
        call = {"statement": "slow", "parameters": {"id": "b"}}
        writing = asyncio.create_task(world.effect("database_write", "orders", "", call))
        await asyncio.sleep(0.1)
        assert [row["order_id"] for row in await rows_of(world)] == ["a"]
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


@asynccontextmanager
async def _behind_proxy(database: Database, **settings: object) -> AsyncGenerator[tuple[World, TcpProxy], None]:
    port = database.dsn.rpartition(":")[2].partition("/")[0]
    async with TcpProxy(f"127.0.0.1:{port}") as proxy:
        behind = Database("postgresql", database.dsn.replace(f"127.0.0.1:{port}", proxy.endpoint), database.folder)
        # Without the removal of old keys, whose transactions would come in between.
        async with behind.world(keys_kept_s="null", **settings) as world:  # type: ignore[arg-type]  # passed on as they are
            yield world, proxy


async def _lose(proxy: TcpProxy, effect: asyncio.Task[int]) -> None:
    """Waits until the bytes went by whose answer is swallowed, and cuts the connection."""
    waiting = asyncio.create_task(proxy.reached.wait())
    await asyncio.wait({waiting, effect}, return_when=asyncio.FIRST_COMPLETED)
    assert proxy.reached.is_set(), "the effect ended before its connection was lost"
    proxy.cut()


async def test_a_lost_answer_to_commit_is_found_out_by_the_key(postgres_database: Database) -> None:
    """R9, R15: a connection that is lost while COMMIT is under way leaves open what became of it; under a key the node
    asks again and gets the recorded result: one row, one attempt."""
    async with _behind_proxy(postgres_database) as (world, proxy):
        proxy.lose_reply_to(b"COMMIT")
        effect = asyncio.create_task(_insert(world, "a", key="k"))
        await _lose(proxy, effect)
        await effect
        assert await postgres_database.sql("SELECT order_id FROM orders") == [("a",)]
        assert world.audit.records[-1].outcome == "replayed"


async def test_a_lost_commit_is_made_again_under_its_key(postgres_database: Database) -> None:
    """R9, R15: a COMMIT that never arrived is made again under the key."""
    async with _behind_proxy(postgres_database) as (world, proxy):
        proxy.lose_request(b"COMMIT")
        assert await _insert(world, "a", key="k") == 1
        assert await postgres_database.sql("SELECT order_id FROM orders") == [("a",)]


async def test_a_lost_answer_to_commit_without_a_key_is_not_repeated(postgres_database: Database) -> None:
    """R15: without a key nobody could tell whether it was committed: the error says so and is not retryable, and
    nothing is written twice."""
    async with _behind_proxy(postgres_database) as (world, proxy):
        proxy.lose_reply_to(b"COMMIT")
        effect = asyncio.create_task(_insert(world, "a", retries=3))
        await _lose(proxy, effect)
        with pytest.raises(DatabaseConnectionError, match="lost while it committed, and may have done so") as failed:
            await effect
        assert not failed.value.retryable
        assert failed.value.error_context["attempts"] == 1
        assert await postgres_database.sql("SELECT order_id FROM orders") == [("a",)]


@pytest.mark.parametrize("moment", [b"INSERT INTO orders", b"BEGIN"])
async def test_a_connection_lost_before_commit_costs_no_effect(postgres_database: Database, moment: bytes) -> None:
    """R15, R87: before COMMIT was sent nothing can have happened: it is made again on another connection, without a key
    and without a policy."""
    async with _behind_proxy(postgres_database, retry="{max_retries: 0}") as (world, proxy):
        proxy.lose_reply_to(moment)
        effect = asyncio.create_task(_insert(world, "a"))
        await _lose(proxy, effect)
        assert await effect == 1
        assert await postgres_database.sql("SELECT order_id FROM orders") == [("a",)]


async def test_a_server_that_is_gone_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    """R19, R25: work under way when the server goes down fails as DATABASE unavailable and is retried; once the server
    is back it comes through, once."""
    server = PostgresServer()
    server.start()
    try:
        database = Database("postgresql", server.dsn, tmp_path)
        pause = "      pause: {mode: write, sql: SELECT pg_sleep(2)}\n"
        async with database.world(pause, breaker="{failure_threshold: 1000}") as world:
            operations = {"operations": [{"data": {"order_id": "a"}}, {"statement": "pause"}]}
            effect = asyncio.create_task(world.effect("database_write", "orders", "", operations, key="k", retries=100))
            await until_so(database, _RUNNING)
            await asyncio.to_thread(server.restart)
            output = await effect
            assert not output.metadata.replayed
            assert await database.sql("SELECT order_id FROM orders") == [("a",)]
            await asyncio.to_thread(server.stop)
            with pytest.raises(DatabaseConnectionError) as failed:
                await _insert(world, "b")
            assert failed.value.retryable
            with pytest.raises(DatabaseConnectionError):
                await world.lanes["orders"].adapter.check()
            await asyncio.to_thread(server.start)
            await world.lanes["orders"].adapter.check()
            await _insert(world, "b")
    finally:
        server.remove()


async def test_a_standby_is_unavailable_for_writes(postgres_database: Database) -> None:
    """R19: a server that has become read-only, as one that another replaced, is unavailable, not wrong: a retry may
    find the new primary. Reads go on."""
    async with postgres_database.world() as world:
        await _insert(world, "a")
        await postgres_database.sql("ALTER ROLE shop SET default_transaction_read_only = on")
        try:
            # SQLAlchemy's pool keeps its connections; new ones see the role's setting.
            await postgres_database.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'onex-mesh'"
            )
            with pytest.raises(DatabaseConnectionError, match="read-only transaction") as failed:
                await _insert(world, "b", key="k")
            assert failed.value.retryable
            assert [row["order_id"] for row in await rows_of(world)] == ["a"]
        finally:
            connection = await asyncpg.connect(postgres_database.dsn)
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute("ALTER ROLE shop RESET default_transaction_read_only")
            await connection.close()
        assert await _insert(world, "b", key="k") == 1


async def test_two_nodes_prepare_a_database_at_once(postgres_database: Database) -> None:
    """R10: nodes that start together on an empty database do not get in each other's way."""

    async def start() -> None:
        async with postgres_database.world():
            pass

    await asyncio.gather(*(start() for _ in range(6)))


async def _as_clerk(database: Database) -> Database:
    """The same database for a user who may do nothing yet."""
    await database.sql("DROP ROLE IF EXISTS clerk")
    await database.sql("CREATE ROLE clerk LOGIN")
    await database.sql("GRANT USAGE ON SCHEMA public TO clerk")
    return Database("postgresql", database.dsn.replace("shop@", "clerk@"), database.folder)


_PLAIN = """\
  orders:
    kind: database
    dsn: {dsn}
    tables: {{orders: {{columns: [order_id, note]}}}}
    retry: {{max_retries: 3}}
"""


async def test_missing_rights_are_told_clearly(postgres_database: Database) -> None:
    """R18, R19: what a user may not do is told with the table, at the start where it can be seen then, and not retried.
    With the node's tables made beforehand and the rights granted all works without CREATE."""
    clerk = await _as_clerk(postgres_database)
    await postgres_database.sql("CREATE TABLE orders (order_id TEXT PRIMARY KEY, note TEXT)")
    with pytest.raises(
        ValidationError, match=r"onex_effects and onex_fences are missing and cannot be created \(.*permission denied"
    ):
        async with effect_world(clerk.folder, _PLAIN.format(dsn=clerk.dsn)):
            pass
    async with effect_world(clerk.folder, _PLAIN.format(dsn=postgres_database.dsn)):
        pass
    await postgres_database.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON onex_effects, onex_fences TO clerk")
    await postgres_database.sql("GRANT SELECT ON orders TO clerk")
    async with effect_world(clerk.folder, _PLAIN.format(dsn=clerk.dsn)) as world:
        insert = ("database_write", "orders", "insert", {"table": "orders", "data": {"order_id": "a"}})
        with pytest.raises(EffectFailedError, match="may not do that: permission denied for table orders") as failed:
            await world.effect(*insert, key="k")
        assert failed.value.error_context["attempts"] == 1
        assert failed.value.error_context["sqlstate"] == "42501"
        await postgres_database.sql("GRANT INSERT ON orders TO clerk")
        await world.effect(*insert, key="k")
    await postgres_database.sql("DROP OWNED BY clerk")
    await postgres_database.sql("DROP ROLE clerk")


async def test_a_table_that_vanishes_is_told_clearly(database: Database) -> None:
    """R19: a table that is dropped while the node runs is EFFECT_FAILED with its name, not retried, no breaker."""
    async with database.world() as world:
        await _insert(world, "a")
        await database.sql("DROP TABLE orders")
        with pytest.raises(EffectFailedError, match="orders") as failed:
            await _insert(world, "b", key="k", retries=3)
        assert failed.value.error_context["attempts"] == 1
        assert world.lanes["orders"].breaker.state.value == "closed"


async def test_tables_of_another_version_are_told_clearly(database: Database) -> None:
    """R18: the node's own tables with other columns stop the start with their name."""
    await database.sql("CREATE TABLE onex_fences (workflow_id VARCHAR(128) PRIMARY KEY, fencing_token BIGINT)")
    with pytest.raises(ValidationError, match="'onex_fences' has no column raised_at"):
        async with database.world():
            pass


async def test_errors_hold_no_row_and_no_value(postgres_database: Database) -> None:
    """R11, R20: PostgreSQL quotes whole rows in the details of its errors; these stay out of errors and audit."""
    async with postgres_database.world() as world:
        await world.effect("database_write", "orders", "insert", {"data": {"order_id": "a"}})
        await postgres_database.sql("ALTER TABLE orders ADD CONSTRAINT known CHECK (note <> 'hidden-note')")
        for data in ({"order_id": "b", "note": "hidden-note"}, {"order_id": "a", "note": "hidden-key"}):
            with pytest.raises(EffectFailedError, match="a constraint forbids it") as failed:
                await world.effect("database_write", "orders", "insert", {"data": data})
            shown = str(failed.value) + str(failed.value.error_context) + world.audit.records[-1].message
            assert "hidden" not in shown
            assert "DETAIL" not in shown


async def test_a_password_is_in_no_error(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """R17: whatever goes wrong with a login, neither error nor log shows the password."""
    user = postgres.dsn.replace("shop@", "nobody@")
    for dsn in (user, "postgresql://nobody@127.0.0.1:1/shop", "postgresql://nobody@no-such-host.invalid/shop"):
        target = Database("postgresql", dsn, tmp_path).target(password_env="SHOP_PASSWORD")
        async with effect_world(tmp_path, target, environment={"SHOP_PASSWORD": "tell-nobody"}) as world:
            with pytest.raises(DatabaseConnectionError) as failed:
                await _insert(world, "a")
            with pytest.raises(DatabaseConnectionError) as unwell:
                await world.lanes["orders"].adapter.check()
            for error in (failed.value, unwell.value):
                assert "tell-nobody" not in _everything(error)
            assert "tell-nobody" not in "".join(record.message for record in world.audit.records)
    assert "tell-nobody" not in "".join(capsys.readouterr())


def _everything(error: BaseException | None) -> str:
    """All texts of an error and of what caused it."""
    shown = ""
    while error is not None:
        shown += f"{error!r} {error} {getattr(error, 'error_context', '')}"
        error = error.__cause__ or error.__context__
    return shown


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """R19: a file that is no SQLite database is unavailable and not retried."""
    (tmp_path / "shop.db").write_bytes(b"not a database" * 100)
    async with Database("sqlite", f"sqlite:///{tmp_path}/shop.db", tmp_path).world() as world:
        with pytest.raises(DatabaseConnectionError, match="not a database") as failed:
            await _insert(world, "a", retries=3)
        assert failed.value.error_context["attempts"] == 1


async def test_a_lock_that_lasts_is_temporary(sqlite_database: Database) -> None:
    """R19: SQLITE_BUSY is a TemporaryDatabaseError with its name, and the breaker takes no notice."""
    async with sqlite_database.world(busy_timeout_s=0.05) as world:
        holder = sqlite3.connect(sqlite_database.folder / "shop.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TemporaryDatabaseError) as failed:
            await _insert(world, "a", key="k")
        holder.execute("ROLLBACK")
        holder.close()
        assert failed.value.error_context["sqlite_error"] == "SQLITE_BUSY"
        assert failed.value.retryable
        assert world.lanes["orders"].breaker.state.value == "closed"

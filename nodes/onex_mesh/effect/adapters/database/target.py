"""Database targets: one transaction for each effect, with its key and its fencing token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from onex_mesh.effect.adapters.database import records
from onex_mesh.effect.adapters.database.connection import WRITES, open_engine, translate
from onex_mesh.effect.adapters.database.parameters import Read, Write, check_read, check_write
from onex_mesh.effect.adapters.database.statements import read_statement, write_statement
from onex_mesh.effect.adapters.database.values import ExactNumeric, from_sql
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from onex_mesh.runtime.payload import Json

log = structlog.get_logger(__name__)


class DatabaseAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: DatabaseTarget, environment: Mapping[str, str]) -> None:
        password = read_secret(name, target.password_env, target.password_file, environment)
        self._name = name
        self._target = target
        self._engine: AsyncEngine = open_engine(target, password)
        self._tables: dict[str, sa.Table] = {}
        # SQLite has one writer at a time; taking turns here is cheaper than polling its lock.
        self._turn = asyncio.Semaphore(1 if target.dsn.startswith("sqlite") else target.limits.concurrency)
        self._preparing = asyncio.Lock()
        self._is_ready = False

    async def start(self) -> None:
        """Runs the DDL and looks at the tables. A database that is down is tried again at its first effect.

        Raises:
            ValidationError: The DDL is refused, or a listed table or column does not exist.
        """
        try:
            await self._require_ready()
        except TargetUnavailableError as error:
            log.warning("a database is not available yet", target=self._name, why=error.message)
        except EffectFailedError as error:
            raise ValidationError(f"target {self._name!r}: {error.message}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks tables, columns and the shape of the values against what the target lists."""
        if request.effect_type == "database_read":
            read = check_read(request, self._target)
            return EffectPlan(
                run=lambda _: self._read(read),
                operation=f"select {read.table}",
                once=Once.NOT_NEEDED,
                is_read=True,
            )
        write = check_write(request, self._target)
        return EffectPlan(
            run=lambda context: self._write(write, context),
            operation=f"{write.operation} {write.table}",
            once=Once.BY_TARGET,
        )

    async def check(self) -> None:
        """Connects and asks for nothing."""
        await self._require_ready()
        async with self._errors(), self._engine.connect() as connection:
            await connection.execute(sa.select(1))

    async def stop(self) -> None:
        """Closes the pool."""
        await self._engine.dispose()

    async def _write(self, write: Write, context: EffectContext) -> EffectValue:
        await self._require_ready()
        statement = write_statement(write, self._tables[write.table], self._engine.dialect.name)
        async with self._writing(may_repeat=bool(context.idempotency_key)) as connection:
            await records.require_current(connection, context)
            if context.idempotency_key:
                is_new, recorded = await records.claim(
                    connection, self._name, context, f"{write.operation} {write.table}"
                )
                if not is_new:
                    return EffectValue(recorded, replayed=True)
            answer = await connection.execute(statement)
            result: dict[str, Json] = {"operation": write.operation, "table": write.table}
            if write.returning:
                rows: list[Json] = [
                    {key: from_sql(item) for key, item in row.items()} for row in answer.mappings().all()
                ]
                result |= {"rows": len(rows), "returning": rows}
            else:
                result["rows"] = answer.rowcount
            if context.idempotency_key:
                await records.record(connection, self._name, context, result)
            return EffectValue(result)

    async def _read(self, read: Read) -> EffectValue:
        await self._require_ready()
        statement = read_statement(read, self._tables[read.table])
        async with self._errors(), self._engine.connect() as connection:
            answer = await connection.execute(statement)
            rows: list[Json] = [{key: from_sql(item) for key, item in row.items()} for row in answer.mappings()]
        size, bound = len(json.dumps(rows)), self._target.limits.size_bytes
        if size > bound:
            raise PayloadTooLargeError(
                f"{len(rows)} rows are {size} bytes, more than {bound}; ask for fewer",
                error_context={"size_bytes": size, "size_bytes_max": bound},
            )
        return EffectValue({"rows": rows, "count": len(rows)})

    @asynccontextmanager
    async def _writing(self, *, may_repeat: bool = True) -> AsyncIterator[AsyncConnection]:
        """A transaction that is going to write; committed at the end, rolled back on any exception.

        Args:
            may_repeat: False where nothing could tell afterwards whether a commit happened whose answer was lost.
        """
        async with self._turn:
            async with self._errors():
                plain = await self._engine.connect()
            try:
                async with self._errors(may_repeat=may_repeat):
                    connection = await plain.execution_options(**{WRITES: True})
                    async with connection.begin():
                        yield connection
            finally:
                await plain.close()

    @asynccontextmanager
    async def _errors(self, *, may_repeat: bool = True) -> AsyncIterator[None]:
        """Errors of database and driver as those of the mesh."""
        try:
            yield
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise translate(error, self._name, may_repeat=may_repeat) from error

    async def _require_ready(self) -> None:
        if self._is_ready:
            return
        async with self._preparing:
            if self._is_ready:
                return
            async with self._writing() as connection:
                for statement in self._target.ddl:
                    await connection.exec_driver_sql(statement)
                await records.create_tables(connection)
                self._tables = await connection.run_sync(self._reflected)
            self._is_ready = True

    def _reflected(self, connection: sa.Connection) -> dict[str, sa.Table]:
        tables: dict[str, sa.Table] = {}
        for name, listed in self._target.tables.items():
            try:
                table = sa.Table(name, sa.MetaData(), autoload_with=connection, resolve_fks=False)
            except sa.exc.NoSuchTableError as error:
                raise EffectFailedError(f"table {name!r} does not exist") from error
            missing = [column for column in listed.columns if column not in table.c]
            if missing:
                raise EffectFailedError(f"table {name!r} has no column {', '.join(missing)}")
            if connection.dialect.name == "sqlite":
                for column in table.c:
                    if isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float):
                        column.type = ExactNumeric(column.type.scale)
            tables[name] = table
        return tables

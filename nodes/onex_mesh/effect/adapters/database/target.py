"""Database targets: one transaction for each effect, with its key and its fencing token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import TextualSelect

from onex_mesh.effect.adapters.database.column_types import SqlValue
from onex_mesh.effect.adapters.database.commands import Call, Read, Writes
from onex_mesh.effect.adapters.database.expiry import Expiry
from onex_mesh.effect.adapters.database.named import named_statements
from onex_mesh.effect.adapters.database.parameters import check_read, check_writes
from onex_mesh.effect.adapters.database.results import gather
from onex_mesh.effect.adapters.database.schema import prepare
from onex_mesh.effect.adapters.database.statements import read_statement
from onex_mesh.effect.adapters.database.transactions import Transactions
from onex_mesh.effect.adapters.database.writing import Prepared, WriteWork, prepare_writes
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError

log = structlog.get_logger(__name__)

Select = sa.Select[tuple[SqlValue, ...]] | sa.TextClause | TextualSelect


class DatabaseAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: DatabaseTarget, environment: Mapping[str, str]) -> None:
        password = read_secret(name, target.password_env, target.password_file, environment)
        self._name = name
        self._target = target
        self._transactions = Transactions(name, target, password)
        self._statements = named_statements(target)
        self._tables: dict[str, sa.Table] = {}
        self._preparing = asyncio.Lock()
        self._is_ready = False
        self._expiry: Expiry | None = None

    async def start(self) -> None:
        """Runs the DDL, looks at the tables and has the statements planned. A database that is down is tried again at
        its first effect.

        Raises:
            ValidationError: The DDL is refused, a listed table or column does not exist, a statement does not fit.
        """
        try:
            await self._require_ready()
        except TargetUnavailableError as error:
            log.warning("a database is not available yet", target=self._name, why=error.message)
        except EffectFailedError as error:
            raise ValidationError(f"target {self._name!r}: {error.message}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks names and shapes against what the target lists, and values once the tables have been seen."""
        if request.effect_type == "database_read":
            read = check_read(request, self._target)
            select = self._select(read) if self._is_ready else None
            return EffectPlan(
                run=lambda _: self._read(read, select),
                operation=read.label,
                once=Once.NOT_NEEDED,
                is_read=True,
            )
        writes = check_writes(request, self._target)
        prepared = self._prepared(writes) if self._is_ready else None
        return EffectPlan(
            run=lambda context: self._write(writes, prepared, context),
            operation=writes.label,
            once=Once.BY_TARGET,
        )

    async def check(self) -> None:
        """Connects and asks for nothing."""
        await self._require_ready()
        await self._transactions.read(_ask)

    async def stop(self) -> None:
        """Closes the pool."""
        if self._expiry is not None:
            await self._expiry.stop()
        await self._transactions.close()

    async def _write(
        self, writes: Writes, prepared: tuple[Prepared, ...] | None, context: EffectContext
    ) -> EffectValue:
        await self._require_ready()
        work = WriteWork(
            self._name,
            writes,
            self._prepared(writes) if prepared is None else prepared,
            context,
            self._target.limits.size_bytes,
        )
        return await self._transactions.write(work, has_key=bool(context.idempotency_key))

    async def _read(self, read: Read, select: Select | None) -> EffectValue:
        await self._require_ready()
        statement = self._select(read) if select is None else select
        rows_max = self._target.statements[read.statement].rows_max if isinstance(read, Call) else read.limit

        async def work(connection: AsyncConnection) -> EffectValue:
            answer = await connection.stream(statement)
            rows = await gather(answer, rows_max=rows_max, size_bytes_max=self._target.limits.size_bytes)
            return EffectValue({"rows": rows, "count": len(rows)})

        return await self._transactions.read(work)

    def _select(self, read: Read) -> Select:
        if isinstance(read, Call):
            return self._statements[read.statement].bound(read)
        return read_statement(read, self._tables[read.table])

    def _prepared(self, writes: Writes) -> tuple[Prepared, ...]:
        return prepare_writes(writes, self._tables, self._statements, self._transactions.dialect.name)

    async def _require_ready(self) -> None:
        if self._is_ready:
            return
        async with self._preparing:
            if self._is_ready:
                return

            async def work(connection: AsyncConnection) -> dict[str, sa.Table]:
                return await connection.run_sync(prepare, self._name, self._target, self._statements)

            self._tables = await self._transactions.write(work, has_key=True)
            self._is_ready = True
            if self._target.keys_kept_s is not None:
                self._expiry = Expiry(self._transactions, self._name, self._target.keys_kept_s)


async def _ask(connection: AsyncConnection) -> None:
    await connection.execute(sa.select(1))

"""The work of one effect within its transaction: fence, key, statements, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Delete, Insert, Update
from sqlalchemy.sql.selectable import TextualSelect

from onex_mesh.effect.adapters.database import records
from onex_mesh.effect.adapters.database.commands import Call, TableWrite, Write, Writes
from onex_mesh.effect.adapters.database.named import NamedStatement
from onex_mesh.effect.adapters.database.results import Rows, gather, require_names
from onex_mesh.effect.adapters.database.statements import write_statement
from onex_mesh.effect.core.kinds.database_statement import ROWS_MAX
from onex_mesh.effect.core.request import EffectContext, EffectValue
from onex_mesh.runtime.errors import EffectFailedError
from onex_mesh.runtime.payload import Json

Executable = Insert | Update | Delete | sa.TextClause | TextualSelect


@dataclass(frozen=True, slots=True)
class Prepared:
    """A write with its statement."""

    write: Write
    statement: Executable
    rows_max: int


@dataclass(frozen=True, slots=True)
class WriteWork:
    """All that one effect does in its transaction. It may run several times; each but the last was rolled back."""

    target: str
    writes: Writes
    prepared: tuple[Prepared, ...]
    context: EffectContext
    size_bytes_max: int

    async def __call__(self, connection: AsyncConnection) -> EffectValue:
        """Runs it.

        Raises:
            LeaseExpiredError: A higher fencing token has written for the workflow.
            EffectFailedError: An operation wrote another number of rows than it expects.
            PayloadTooLargeError: It returns more than the target hands out.
        """
        has_key = bool(self.context.idempotency_key)
        await records.require_current(connection, self.context)
        if has_key:
            is_new, recorded = await records.claim(connection, self.target, self.context, self.writes.label)
            if not is_new:
                return EffectValue(recorded, replayed=True)
        results = [await self._run(connection, prepared) for prepared in self.prepared]
        value: Json = {"operations": list(results)} if self.writes.is_list else results[0]
        if has_key:
            await records.record(connection, self.target, self.context, value)
        return EffectValue(value)

    async def _run(self, connection: AsyncConnection, prepared: Prepared) -> dict[str, Json]:
        write = prepared.write
        if isinstance(write, TableWrite):
            result: dict[str, Json] = {"operation": write.operation, "table": write.table}
            returns = bool(write.returning)
        else:
            result, returns = {"operation": "statement", "statement": write.statement}, False
        if returns:
            answer = await connection.stream(prepared.statement)
            rows = await gather(answer, rows_max=prepared.rows_max, size_bytes_max=self.size_bytes_max)
            result |= {"rows": len(rows), "returning": rows}
        else:
            result |= await self._run_at_once(connection, prepared)
        expected = write.expect_rows
        if expected is not None and result["rows"] != expected:
            raise EffectFailedError(
                f"{write.field}expect_rows: {write.label} wrote {result['rows']} rows instead of {expected}; "
                "nothing was kept",
                error_context={"target": self.target, "rows": result["rows"], "rows_expected": expected},
            )
        return result

    async def _run_at_once(self, connection: AsyncConnection, prepared: Prepared) -> dict[str, Json]:
        answer = await connection.execute(prepared.statement)
        if not answer.returns_rows:
            count = answer.rowcount
            if count < 0 and connection.dialect.name == "sqlite":
                # The driver counts only where the statement begins with INSERT, UPDATE, DELETE or REPLACE.
                count = (await connection.exec_driver_sql("SELECT changes()")).scalar_one()
            return {"rows": count if count >= 0 else None}
        names = require_names(answer.keys())
        rows = Rows(rows_max=prepared.rows_max, size_bytes_max=self.size_bytes_max)
        for row in answer:
            rows.add(dict(zip(names, row, strict=True)))
        return {"rows": len(rows.rows), "returning": rows.rows}


def prepare_writes(
    writes: Writes, tables: Mapping[str, sa.Table], statements: Mapping[str, NamedStatement], dialect: str
) -> tuple[Prepared, ...]:
    """The statements of all writes.

    Raises:
        ValidationError: A value does not fit its column or parameter.
    """
    return tuple(_prepared(write, tables, statements, dialect) for write in writes.writes)


def _prepared(
    write: Write, tables: Mapping[str, sa.Table], statements: Mapping[str, NamedStatement], dialect: str
) -> Prepared:
    if isinstance(write, Call):
        named = statements[write.statement]
        return Prepared(write, named.bound(write), named.declared.rows_max)
    return Prepared(write, write_statement(write, tables[write.table], dialect), ROWS_MAX)

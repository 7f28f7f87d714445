"""What makes a write happen once: its key, its result and the fencing token, in the transaction of the write itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import LeaseExpiredError, TemporaryDatabaseError
from onex_mesh.runtime.payload import Json

_metadata = sa.MetaData()

EFFECTS = sa.Table(
    "onex_effects",
    _metadata,
    sa.Column("idempotency_key", sa.String(255), primary_key=True),
    sa.Column("target", sa.String(128), primary_key=True),
    sa.Column("workflow_id", sa.String(128), nullable=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("operation", sa.String(128), nullable=False),
    sa.Column("result", sa.Text, nullable=False),
    # When the key was last asked for: text, so that SQLite and PostgreSQL order it alike.
    sa.Column("recorded_at", sa.String(40), nullable=False, index=True),
)
FENCES = sa.Table(
    "onex_fences",
    _metadata,
    sa.Column("workflow_id", sa.String(128), primary_key=True),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("raised_at", sa.String(40), nullable=False, index=True),
)
OWN_TABLES = (EFFECTS, FENCES)

_ENTRIES_MAX = 3


def stamp(moment: datetime) -> str:
    """A moment as the tables hold it; later ones sort behind earlier ones."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def create_tables(connection: sa.Connection) -> None:
    """Creates both tables where they are missing."""
    _metadata.create_all(connection)


async def require_current(connection: AsyncConnection, context: EffectContext) -> None:
    """Refuses a writer that another one has followed, and keeps followers out until this transaction has ended.

    Raises:
        LeaseExpiredError: A higher fencing token has written for the workflow.
    """
    if not context.workflow_id or not context.fencing_token:
        return
    token = sa.select(FENCES.c.fencing_token).where(FENCES.c.workflow_id == context.workflow_id)
    highest = (await connection.execute(token)).scalar_one_or_none()
    if highest is None or highest < context.fencing_token:
        await connection.execute(_raise_fence(connection, context))
        highest = (await connection.execute(token)).scalar_one()
    elif highest == context.fencing_token:
        # Shared, so that steps of one workflow write side by side; raising the fence waits for them. SQLite has one
        # writer at a time anyway and leaves FOR SHARE out.
        highest = (await connection.execute(token.with_for_update(read=True))).scalar_one()
    if highest > context.fencing_token:
        raise LeaseExpiredError(
            f"workflow {context.workflow_id!r} was taken over: token {context.fencing_token} is older than {highest}",
            error_context={"fencing_token": context.fencing_token, "highest_fencing_token": highest},
        )


async def claim(connection: AsyncConnection, target: str, context: EffectContext, operation: str) -> tuple[bool, Json]:
    """Enters the key: (True, None) if the write is still to be made, otherwise (False, the recorded result).

    A key is one of its target: several targets may share a database.

    Another transaction that holds the key is waited for: its end decides.
    """
    insert = _insert(connection, EFFECTS).values(
        idempotency_key=context.idempotency_key,
        target=target,
        workflow_id=context.workflow_id,
        fencing_token=context.fencing_token,
        operation=operation,
        result="",
        recorded_at=stamp(datetime.now(UTC)),
    )
    enter = insert.on_conflict_do_nothing(index_elements=list(EFFECTS.primary_key))
    place = _is_place(target, context)
    for _ in range(_ENTRIES_MAX):
        if (await connection.execute(enter)).rowcount == 1:
            return True, None
        # Somebody still asks for it, so its time begins anew.
        touch = sa.update(EFFECTS).where(*place).values(recorded_at=stamp(datetime.now(UTC)))
        if (await connection.execute(touch)).rowcount == 1:
            result: Json = json.loads(
                (await connection.execute(sa.select(EFFECTS.c.result).where(*place))).scalar_one()
            )
            return False, result
        # It was there and has expired since.
    raise TemporaryDatabaseError(f"the key of an effect at {target!r} expires again and again")


async def record(connection: AsyncConnection, target: str, context: EffectContext, result: Json) -> None:
    """Writes the result beside the key."""
    update = sa.update(EFFECTS).where(*_is_place(target, context))
    await connection.execute(update.values(result=json.dumps(result, separators=(",", ":"))))


def _is_place(target: str, context: EffectContext) -> tuple[sa.ColumnElement[bool], ...]:
    return EFFECTS.c.idempotency_key == context.idempotency_key, EFFECTS.c.target == target


def _raise_fence(connection: AsyncConnection, context: EffectContext) -> postgresql.Insert | sqlite.Insert:
    insert = _insert(connection, FENCES).values(
        workflow_id=context.workflow_id, fencing_token=context.fencing_token, raised_at=stamp(datetime.now(UTC))
    )
    return insert.on_conflict_do_update(
        index_elements=[FENCES.c.workflow_id],
        set_={"fencing_token": insert.excluded.fencing_token, "raised_at": insert.excluded.raised_at},
        where=FENCES.c.fencing_token < insert.excluded.fencing_token,
    )


def _insert(connection: AsyncConnection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)

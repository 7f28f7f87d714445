"""Types of columns and parameters beyond those that SQLAlchemy brings."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from onex_mesh.effect.core.kinds.database_statement import ListType, ScalarType
from onex_mesh.runtime.payload import Json

SqlValue: TypeAlias = (
    "bool | int | float | str | bytes | decimal.Decimal | datetime.datetime | datetime.date | datetime.time | uuid.UUID"
    " | list[SqlValue] | list[Json] | dict[str, Json] | None"
)
SqlType: TypeAlias = "TypeEngine[Any]"
"""Invariant in what it holds, so no type says \"an engine of some of these values\"."""


class ExactNumeric(TypeDecorator[decimal.Decimal]):
    """NUMERIC columns of SQLite, which keeps 15 significant digits: bound as text, read back by their digits."""

    impl = sa.String
    cache_ok = True

    def __init__(self, scale: int | None = None) -> None:
        super().__init__()
        self.scale = scale

    def process_bind_param(self, value: decimal.Decimal | None, dialect: Dialect) -> str | None:
        """The text that SQLite turns into its own number."""
        return None if value is None else format(value, "f")

    def process_result_value(self, value: object, dialect: Dialect) -> decimal.Decimal | None:
        """The decimal that was written, at the scale of the column."""
        if value is None:
            return None
        number = decimal.Decimal(str(value))
        return number if self.scale is None else number.quantize(decimal.Decimal(1).scaleb(-self.scale))


class UuidText(TypeDecorator[uuid.UUID]):
    """UUIDs of SQLite, which has no type for them: text with dashes."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: uuid.UUID | None, dialect: Dialect) -> str | None:
        """The text."""
        return None if value is None else str(value)


def adapt(column: sa.Column[Any], *, is_sqlite: bool) -> None:
    """Gives a reflected column the type by which its values are checked and kept exact."""
    kind = column.type
    if isinstance(kind, sa.JSON):
        # null is NULL, as in every other column, and `IS NULL` finds it.
        kind.none_as_null = True
    elif is_sqlite and isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float):
        column.type = ExactNumeric(kind.scale)
    elif is_sqlite and isinstance(kind, sa.Integer):
        column.type = sa.BigInteger()


def declared_type(name: ScalarType | ListType, *, is_sqlite: bool) -> SqlType:
    """The type of a parameter or result column that a statement declares."""
    if name.endswith("[]"):
        return sa.ARRAY(_SCALARS[name.removesuffix("[]")])
    if is_sqlite and name in _SQLITE_SCALARS:
        return _SQLITE_SCALARS[name]
    return _SCALARS[name]


_SCALARS: dict[str, SqlType] = {
    "text": sa.Text(),
    "integer": sa.BigInteger(),
    "float": sa.Double(),
    "decimal": sa.Numeric(),
    "boolean": sa.Boolean(),
    "timestamp": sa.DateTime(timezone=True),
    "date": sa.Date(),
    "time": sa.Time(),
    "uuid": sa.Uuid(),
    "bytes": sa.LargeBinary(),
    "json": sa.JSON(none_as_null=True),
}
# Columns of SQLite have no zone: they hold UTC.
_SQLITE_SCALARS: dict[str, SqlType] = {
    "decimal": ExactNumeric(),
    "timestamp": sa.DateTime(),
    "uuid": UuidText(),
}

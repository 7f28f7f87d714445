"""Values on their way between JSON and SQL, by the type of the column. Nothing is rounded (F22, F37)."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import json
import math
import uuid
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

SqlValue: TypeAlias = (
    "bool | int | float | str | bytes | decimal.Decimal | datetime.datetime | datetime.date | datetime.time | uuid.UUID"
    " | list[Json] | dict[str, Json] | None"
)

_JSON_INT_MAX = 2**53
_SQLITE_DIGITS_MAX = 15


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


def to_sql(value: Json, column: sa.Column[SqlValue], field: str) -> SqlValue:
    """The value to bind for a column.

    Raises:
        ValidationError: The value does not fit the column's type.
    """
    if value is None:
        return None
    try:
        return _convert(value, column.type)
    except (ValueError, decimal.InvalidOperation, binascii.Error) as error:
        text = f"does not fit the column's type {_type_name(column.type)}: {error}"
        raise ValidationError(f"{field}: {text}", violations=((field, text),)) from error


def from_sql(value: object) -> Json:
    """The JSON of a value that the database returned: decimals, dates and integers beyond ±2^53 as text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _JSON_INT_MAX else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case decimal.Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | memoryview():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): from_sql(item) for key, item in value.items()}
        case list() | tuple():
            return [from_sql(item) for item in value]
        case _:
            return str(value)


def _convert(value: bool | int | float | str | list[Json] | dict[str, Json], kind: TypeEngine[SqlValue]) -> SqlValue:
    match kind:
        case sa.JSON():
            return value
        case ExactNumeric():
            return _sqlite_decimal(value)
        case sa.Float():
            return float(_plain_number(value))
        case sa.Numeric():
            return _decimal(value)
        case sa.Boolean():
            return _boolean(value)
        case sa.Integer():
            return _integer(value)
        case sa.DateTime():
            return _datetime(_text(value), has_zone=bool(kind.timezone))
        case sa.Date():
            return datetime.date.fromisoformat(_text(value))
        case sa.Time():
            return datetime.time.fromisoformat(_text(value))
        case sa.Uuid():
            return uuid.UUID(_text(value))
        case sa.LargeBinary():
            return base64.b64decode(_text(value), validate=True)
        case sa.String():
            return _string(value)
        case _:
            return _string(value) if isinstance(value, dict | list) else value


def _string(value: object) -> str:
    """Text as it is, a list or mapping as its JSON. A float is not turned into text: its digits are not exact."""
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"a {_json_name(value)} is not a text")


def _plain_number(value: object) -> int | float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a {_json_name(value)} is not a number")
    return value


def _decimal(value: object) -> decimal.Decimal:
    number = decimal.Decimal(str(_plain_number(value)).strip())
    if not number.is_finite():
        raise ValueError("is not finite")
    return number


def _sqlite_decimal(value: object) -> decimal.Decimal:
    number = _decimal(value)
    if len(number.normalize().as_tuple().digits) > _SQLITE_DIGITS_MAX:
        raise ValueError(f"SQLite keeps {_SQLITE_DIGITS_MAX} digits in it; declare the column TEXT or INTEGER")
    return number


def _integer(value: object) -> int:
    number = _plain_number(value)
    if isinstance(number, float):
        raise ValueError("is not a whole number")
    return int(number)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"a {_json_name(value)} is not true or false")
    return value


def _datetime(text: str, *, has_zone: bool) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    if has_zone:
        if moment.tzinfo is None:
            raise ValueError("has no offset from UTC")
        return moment
    # Columns without a zone hold UTC.
    return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment


def _json_name(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "mapping"}
    return names.get(type(value), type(value).__name__)


def _type_name(kind: TypeEngine[SqlValue]) -> str:
    return "NUMERIC" if isinstance(kind, ExactNumeric) else type(kind).__name__

"""Values on their way between JSON and SQL, by the type of the column. Nothing is rounded (F22, F37)."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import json
import math
import uuid

import sqlalchemy as sa

from onex_mesh.effect.adapters.database.column_types import ExactNumeric, SqlType, SqlValue, UuidText
from onex_mesh.effect.adapters.database.exact_numbers import json_name, to_decimal, to_float, to_integer
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

_JSON_INT_MAX = 2**53
_SQLITE_DIGITS_MAX = 15
_ITEMS_MAX = 10_000


def to_sql(value: Json, kind: SqlType, field: str) -> SqlValue:
    """The value to bind for a column or a parameter of a type.

    Raises:
        ValidationError: The value does not fit the type; `field` names it, the value itself is not in the message.
    """
    if value is None:
        return None
    try:
        return _convert(value, kind)
    except (ValueError, OverflowError, decimal.InvalidOperation, binascii.Error) as error:
        text = f"does not fit the type {_type_name(kind)}: {_reason(error)}"
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


def _convert(value: bool | int | float | str | list[Json] | dict[str, Json], kind: SqlType) -> SqlValue:
    match kind:
        case sa.JSON():
            _require_storable(value)
            return value
        case sa.ARRAY():
            return _items(value, kind.item_type)
        case ExactNumeric():
            return to_decimal(value, kind.scale, digits_max=_SQLITE_DIGITS_MAX)
        case UuidText() | sa.Uuid():
            return uuid.UUID(_text(value))
        case sa.Float():
            return to_float(value)
        case sa.Numeric():
            return to_decimal(value, kind.scale)
        case sa.Boolean():
            return _boolean(value)
        case sa.Integer():
            return to_integer(value, _bits(kind))
        case sa.DateTime():
            return _datetime(_text(value), has_zone=bool(kind.timezone))
        case sa.Date():
            return datetime.date.fromisoformat(_text(value))
        case sa.Time():
            return _time(_text(value), has_zone=bool(kind.timezone))
        case sa.LargeBinary():
            return base64.b64decode(_text(value), validate=True)
        case sa.Enum():
            return _one_of(_text(value), kind.enums)
        case sa.String():
            return _string(value)
        case _:
            return _untyped(value)


def _bits(kind: sa.Integer) -> int:
    if isinstance(kind, sa.SmallInteger):
        return 16
    return 64 if isinstance(kind, sa.BigInteger) else 32


def _untyped(value: bool | int | float | str | list[Json] | dict[str, Json]) -> SqlValue:
    """For columns whose type the database does not tell: as it is, as far as any column could hold it."""
    if isinstance(value, bool | float):
        return value
    return to_integer(value, 64) if isinstance(value, int) else _string(value)


def _string(value: object) -> str:
    """Text as it is, a list or mapping as its JSON. A float is not turned into text: its digits are not exact."""
    if isinstance(value, dict | list):
        _require_storable(value)
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a {json_name(value)} is not a text")
    _require_storable(value)
    return value


def _require_storable(value: Json) -> None:
    """NUL ends a text in C: PostgreSQL refuses it, and SQLite keeps what no program shows."""
    match value:
        case str():
            if "\x00" in value:
                raise ValueError("holds a NUL character")
            if not value.isascii():
                value.encode()
        case list():
            for item in value:
                _require_storable(item)
        case dict():
            for key, item in value.items():
                _require_storable(key)
                _require_storable(item)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"a {json_name(value)} is not true or false")
    return value


def _datetime(text: str, *, has_zone: bool) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    if has_zone:
        if moment.tzinfo is None:
            raise ValueError("has no offset from UTC")
        return moment.astimezone(datetime.UTC)
    # Columns without a zone hold UTC.
    return moment.astimezone(datetime.UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment


def _time(text: str, *, has_zone: bool) -> datetime.time:
    time = datetime.time.fromisoformat(text)
    if (time.tzinfo is not None) != has_zone:
        raise ValueError("has no offset from UTC" if has_zone else "has an offset, and the type has none")
    return time


def _one_of(text: str, names: list[str]) -> str:
    if text not in names:
        raise ValueError(f"is not one of {', '.join(names)}")
    return text


def _items(value: object, kind: SqlType) -> list[SqlValue]:
    if not isinstance(value, list):
        raise ValueError(f"a {json_name(value)} is not a list")
    if len(value) > _ITEMS_MAX:
        raise ValueError(f"has more than {_ITEMS_MAX} items")
    return [None if item is None else _convert(item, kind) for item in value]


def _reason(error: Exception) -> str:
    """Why a value does not fit, without the value: messages of Python's parsers quote it."""
    if isinstance(error, UnicodeError):
        return "is not valid Unicode"
    if isinstance(error, OverflowError):
        return "is beyond what the type holds"
    if isinstance(error, binascii.Error):
        return "is not base64"
    text = str(error)
    if text.startswith("Invalid isoformat string"):
        return "is not ISO 8601"
    return "is not a UUID" if text.startswith("badly formed") else text


def _type_name(kind: SqlType) -> str:
    match kind:
        case ExactNumeric():
            return "NUMERIC"
        case UuidText():
            return "UUID"
        case sa.ARRAY():
            return f"list of {_type_name(kind.item_type)}"
        case _:
            return type(kind).__name__

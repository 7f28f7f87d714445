"""Single values as keys: told apart by type and value, put in order, and written into states.

A whole double is an integer, as it is in JSON; what JSON has no type for (decimals, dates and times of tables) is its
text.
"""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from typing import TypeAlias

from onex_mesh.reducer.core.exact import is_number

Scalar: TypeAlias = str | int | float | bool | None
Ranked: TypeAlias = tuple[int, str | int | float | bool]
"""Rank of the type (null, boolean, number, text), and the value: keys of dicts, and of sorts."""

_JSON_INT_LIMIT = 2**53
_WHOLE = re.compile(r"-?[0-9]{1,80}")
_NULL: Ranked = (0, False)


def scalar_of(value: object) -> Scalar:
    """A value of a record or a table as a key.

    Raises:
        ValueError: It cannot be one; the message says what it is.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no value to compare")
        return int(value) if value.is_integer() and abs(value) <= _JSON_INT_LIMIT else value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    kind = {"dict": "an object", "list": "an array", "bytes": "bytes"}.get(type(value).__name__)
    raise ValueError(f"{kind or 'a ' + type(value).__name__} is no value to compare")


def ranked(value: Scalar) -> Ranked:
    """The value with the rank of its type: true and 1 are two keys."""
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return (1, value)
    return (3, value) if isinstance(value, str) else (2, value)


def value_of(key: Ranked) -> Scalar:
    """The value of a key."""
    return None if key[0] == 0 else key[1]


def to_json(value: Scalar) -> object:
    """The value as a state keeps it: integers that JSON would round are texts in an object."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _JSON_INT_LIMIT:
        return {"int": str(value)}
    return value


def from_json(kept: object) -> Scalar:
    """The value that a state keeps.

    Raises:
        ValueError: It is none.
    """
    if isinstance(kept, dict):
        digits = kept.get("int")
        if set(kept) == {"int"} and isinstance(digits, str) and _WHOLE.fullmatch(digits):
            return int(digits)
    elif kept is None or isinstance(kept, str | bool) or is_number(kept):
        return scalar_of(kept)
    raise ValueError("expected a value, or {int} for a large one")

"""Numbers from JSON as SQL takes them: whole, decimal or double, and never rounded (F22, F37)."""

from __future__ import annotations

import decimal
import math
import re

_NUMBER_CHARS_MAX = 1_100
_DIGITS_MAX = 1_000
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,1000}", re.ASCII)
_WIDE = decimal.Context(prec=2_000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def to_float(value: object) -> float:
    """A finite double.

    Raises:
        ValueError: It is none.
    """
    number = float(_plain_number(value))
    if not math.isfinite(number):
        raise ValueError("is beyond the largest double")
    return number


def to_decimal(value: object, scale: int | None, *, digits_max: int = _DIGITS_MAX) -> decimal.Decimal:
    """A decimal that its column keeps as it is.

    Args:
        value: A number, or its text.
        scale: Digits behind the point; None: any.
        digits_max: Significant digits that the database keeps.

    Raises:
        ValueError: It is none, or would be rounded.
    """
    number = decimal.Decimal(_plain_number(value))
    digits, exponent = number.normalize(_WIDE).as_tuple()[1:]
    assert isinstance(exponent, int)
    if max(len(digits), len(digits) + exponent, -exponent) > _DIGITS_MAX:
        raise ValueError(f"has more than {_DIGITS_MAX} digits")
    if len(digits) > digits_max:
        raise ValueError(f"SQLite keeps {digits_max} digits in it; declare the column TEXT or INTEGER")
    if scale is not None and number != 0 and -exponent > scale:
        raise ValueError(f"has more than {scale} digits behind the point, and would be rounded")
    return number


def to_integer(value: object, bits: int) -> int:
    """A whole number of so many bits, with sign.

    Raises:
        ValueError: It is none, or does not fit.
    """
    text = value.strip() if isinstance(value, str) else _plain_number(value)
    if isinstance(value, float) or not _WHOLE.fullmatch(text):
        raise ValueError("is not a whole number")
    number = int(text)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError(f"is beyond {bits} bits")
    return number


def json_name(value: object) -> str:
    """What JSON calls a value."""
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "mapping"}
    return names.get(type(value), type(value).__name__)


def _plain_number(value: object) -> str:
    """A number as text: ASCII digits, a point, an exponent; none of what else Python takes for a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a {json_name(value)} is not a number")
    text = str(value).strip()
    if len(text) > _NUMBER_CHARS_MAX:
        raise ValueError(f"is longer than {_NUMBER_CHARS_MAX} characters")
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a finite number")
    return text

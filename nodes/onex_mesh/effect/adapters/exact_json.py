"""JSON from outside in which no number is rounded: what a double cannot hold becomes text (F22)."""

from __future__ import annotations

import json

from onex_mesh.runtime.payload import Json

_JSON_INT_MAX = 2**53
_DEPTH_MAX = 60


def exact_json(content: bytes) -> Json:
    """The JSON of some bytes.

    Raises:
        ValueError: They are not JSON, or it is nested deeper than a payload may be.
    """
    try:
        value: Json = json.loads(content, parse_int=_integer, parse_float=_number, parse_constant=str)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if is_deeper(value, _DEPTH_MAX):
        raise ValueError(f"nested deeper than {_DEPTH_MAX} levels")
    return value


def _integer(text: str) -> int | str:
    if len(text) > 20:
        return text
    number = int(text)
    return number if abs(number) <= _JSON_INT_MAX else text


def _number(text: str) -> float | str:
    # Fifteen significant digits survive a double; a longer number could lose some.
    digits = sum(character.isdigit() for character in text.lower().partition("e")[0])
    number = float(text)
    return number if digits <= 15 and abs(number) != float("inf") else text


def is_deeper(value: Json, levels: int) -> bool:
    """Whether lists and objects stand in each other more than so many levels deep."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    items = value.values() if isinstance(value, dict) else value
    return any(is_deeper(item, levels - 1) for item in items)

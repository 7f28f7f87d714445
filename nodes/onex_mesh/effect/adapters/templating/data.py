"""The data of a template as contracts give it: bounded in depth and in number of values."""

from __future__ import annotations

from typing import Annotated

import pydantic

_DEPTH_MAX = 20
_VALUES_MAX = 20_000


def _bounded(data: object) -> object:
    left = _VALUES_MAX
    level: list[object] = [data]
    for _ in range(_DEPTH_MAX + 1):
        left -= len(level)
        if left < 0:
            raise ValueError(f"has more than {_VALUES_MAX} values")
        level = [item for value in level for item in _inside(value)]
        if not level:
            return data
    raise ValueError(f"is nested deeper than {_DEPTH_MAX} levels")


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


# The bounds are checked first: the model walks through the data by recursion.
Data = Annotated[dict[str, pydantic.JsonValue], pydantic.BeforeValidator(_bounded)]
"""Names and values of a template."""

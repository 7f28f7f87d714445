"""The shapes of what stands in effect messages: names, ids, numbers and bodies that nobody after them has to doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json, from_payload

Violation = tuple[str, str]
"""Path of a field, and what is wrong with it."""

NAME_CHARS_MAX = 128
CORRELATION_CHARS_MAX = 1_000
CACHE_KEY_CHARS_MAX = 1_000
_BODY_LEVELS_MAX = 60
"""As deep as a payload may be that travels as a message."""


def fitting_name(name: str, path: str, found: list[Violation]) -> str:
    """A name of a target, a type or an operation; empty where it cannot be one, so that no error repeats it."""
    if len(name) > NAME_CHARS_MAX:
        found.append((path, f"is longer than {NAME_CHARS_MAX} characters"))
        return ""
    if not name.isprintable():
        found.append((path, "has characters that cannot be printed"))
        return ""
    return name


def fitting_correlation_id(text: str, found: list[Violation]) -> str:
    """A correlation id; cut off where it cannot be one."""
    if len(text) > CORRELATION_CHARS_MAX:
        found.append(("correlation_id", f"is longer than {CORRELATION_CHARS_MAX} characters"))
    elif not text.isprintable():
        found.append(("correlation_id", "has characters that cannot be printed"))
    else:
        return text
    return "".join(character for character in text[:80] if character.isprintable())


def not_finite(value: Json, path: str) -> Iterator[Violation]:
    """The numbers in a value that JSON does not know: NaN and infinities, which a protobuf Value can hold."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield path, f"{value} is not a number of JSON"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from not_finite(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from not_finite(item, f"{path}[{index}]")


def read_body(body: common_pb2.Payload, found: list[Violation]) -> Json | bytes:
    """The body of an effect; None where it cannot be read or is nested too deep."""
    path = "io_operation_config.body"
    try:
        value = from_payload(body)
    except ValidationError as error:
        found.append((path, error.message))
        return None
    except RecursionError:
        found.append((path, "is nested too deep"))
        return None
    if isinstance(value, bytes):
        return value
    if _is_deeper(value, _BODY_LEVELS_MAX):
        found.append((path, f"is nested deeper than {_BODY_LEVELS_MAX} levels"))
        return None
    found.extend(not_finite(value, path))
    return value


def _is_deeper(value: Json, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [item for outer in level for item in _items(outer)]
        if not level:
            return False
    return True


def _items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

"""JSON Pointer (RFC 6901): what of an answer becomes the result."""

from __future__ import annotations

import re
from collections.abc import Mapping

from onex_mesh.effect.core.kinds.http_routes import ResultField
from onex_mesh.runtime.payload import Json

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class MissingFieldError(Exception):
    """The document has nothing where a pointer points."""


def pick(document: Json, wanted: str | Mapping[str, str | ResultField]) -> Json:
    """The value at a pointer, or an object of several.

    Raises:
        MissingFieldError: One that is required is not there.
    """
    if isinstance(wanted, str):
        return at(document, wanted)
    picked: dict[str, Json] = {}
    for name, field in wanted.items():
        rule = ResultField(pointer=field) if isinstance(field, str) else field
        try:
            picked[name] = at(document, rule.pointer)
        except MissingFieldError:
            if rule.required:
                raise
            picked[name] = None
    return picked


def at(document: Json, pointer: str) -> Json:
    """The value at a well-formed pointer.

    Raises:
        MissingFieldError: There is none.
    """
    value = document
    for escaped in pointer.split("/")[1:]:
        token = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise MissingFieldError(f"has no {pointer}")
    return value

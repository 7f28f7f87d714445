"""What pydantic finds wrong with the form of a file, in the words of its author."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

import pydantic
from pydantic_core import ErrorDetails

from onex_mesh.runtime.violations import describe

_NAMES = "letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
_SHAPES = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def form_violations(
    root: Mapping[str, object], error: pydantic.ValidationError, keys: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Path in the document, and what is wrong there.

    Args:
        root: The document.
        error: What pydantic found.
        keys: All keys that there are, for "did you mean".
    """
    found: dict[str, list[ErrorDetails]] = {}
    for row in error.errors(include_url=False):
        found.setdefault(_path(root, row["loc"], is_missing=row["type"] == "missing"), []).append(row)
    # Of alternatives, such as a text or a list, that of which only a part is wrong was meant.
    return tuple(
        (path, _text(rows, keys))
        for path, rows in found.items()
        if not any(other.startswith((f"{path}.", f"{path}[")) for other in found if path)
    )


def _path(root: object, parts: Sequence[int | str], *, is_missing: bool) -> str:
    """The path as the document has it: what pydantic calls the branches of its types is passed over."""
    path, value = "", root
    for index, part in enumerate(parts):
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            path, value = f"{path}[{part}]", value[part]
        elif isinstance(value, dict) and part in value and part != "[key]":
            path, value = f"{path}.{part}" if path else str(part), value[part]
        elif is_missing and index == len(parts) - 1:
            path = f"{path}.{part}" if path else str(part)
    return path


def _text(rows: Sequence[ErrorDetails], keys: Collection[str]) -> str:
    # Of alternatives, rather what is wrong with one than that it is not another.
    first = next((row for row in rows if row["type"] not in _SHAPES), rows[0])
    kinds, context = [row["type"] for row in rows], first.get("ctx", {})
    match first["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is no key here" + _meant(str(first["loc"][-1]), keys)
        case "string_pattern_mismatch":
            return f"{first['input']!r} is no name: {_NAMES}"
        case "string_type" if len(rows) == 1:
            return f"is {describe(first['input'])}, not text" + _quotes(first["input"])
        case "string_too_short" | "too_short":
            return "is empty"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters"
        case "literal_error":
            return f"{first['input']!r} is none of {context['expected']}"
    shapes = [_SHAPES.get(kind, "") for kind in dict.fromkeys(kinds)]
    if all(shapes):
        return f"is {describe(first['input'])}, not {' or '.join(shapes)}"
    return first["msg"]


def _quotes(value: object) -> str:
    if isinstance(value, bool):
        return "; YAML takes on, off, yes and no for truth values: put it into quotes"
    return "; put it into quotes" if isinstance(value, int | float) else ""


def _meant(key: str, keys: Collection[str]) -> str:
    close = difflib.get_close_matches(key, keys, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

"""Where the expressions stand in a text with templates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SHOWN_CHARS = 40


class UnclosedTemplateError(ValueError):
    """A "${" without its "}"; the message shows its beginning."""


@dataclass(frozen=True, slots=True)
class Source:
    """What stands between "${" and "}"."""

    text: str


def split_templates(text: str) -> Iterator[str | Source]:
    """The literal texts and the expressions of a text, in turn; "$${" stands for "${".

    Raises:
        UnclosedTemplateError: A template is not closed.
    """
    literal, position = "", 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            literal += text[position : start - 1] + "${"
            position = start + 2
            continue
        end = _closing_brace(text, start + 2)
        if end < 0:
            raise UnclosedTemplateError(f"the template {text[start : start + _SHOWN_CHARS]!r} is not closed by '}}'")
        literal += text[position:start]
        if literal:
            yield literal
            literal = ""
        yield Source(text[start + 2 : end].strip())
        position = end + 1
    literal += text[position:]
    if literal:
        yield literal


def _closing_brace(text: str, position: int) -> int:
    """Position of the brace that closes a template; braces of CEL maps and those in strings do not. -1: none."""
    depth = 0
    quote = ""
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    return -1

"""What is wrong with a definition: field paths and words for people."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping


class Violations:
    """What is wrong with a document, in the order found."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: str, text: str) -> None:
        """Notes one violation at a field path."""
        self.found.append((path, text))

    def unknown(self, path: str, key: str, known: Collection[str]) -> None:
        """Notes a key that does not exist, with the one that was probably meant."""
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known)) or 'none'}"
        self.add(join(path, key), f"unknown key {key!r}; {hint}")


def join(path: str, key: str) -> str:
    """The path of a field within the message at `path`."""
    return f"{path}.{key}" if path else key


def describe(value: object) -> str:
    """What a value is, in the words of a YAML author."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:40]!r}"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"

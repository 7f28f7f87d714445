"""How much a value really is: a list that holds another one twice is large before it looks large."""

from __future__ import annotations

from collections.abc import Iterable

import jinja2

from onex_mesh.effect.adapters.templating.budget import TooLargeError, budget

_NODES_MAX = 50_000
_PLAIN = (str, int, float, complex, range, type(None), jinja2.Undefined)


class NotPlainError(jinja2.TemplateRuntimeError):
    """A macro, a loop or the like where only data may stand."""


def weigh(value: object) -> int:
    """Characters and items of a value, what is in it included, as often as it is in it. Draws steps for them.

    Raises:
        TooLargeError: It would fill memory, or keep whoever prints or compares it busy for ever.
        NotPlainError: It is, or holds, something else than data.
    """
    if isinstance(value, str):
        return len(value)
    chars, seen = 0, 0
    waiting: list[Iterable[object]] = [(value,)]
    while waiting:
        for item in waiting.pop():
            seen += 1
            if isinstance(item, str):
                chars += len(item)
            elif isinstance(item, dict):
                waiting += (item.keys(), item.values())
            elif isinstance(item, list | tuple):
                waiting.append(item)
            elif not isinstance(item, _PLAIN):
                raise NotPlainError(f"{type(item).__name__} is not data")
            if seen > _NODES_MAX:
                raise TooLargeError(f"a value of more than {_NODES_MAX} parts")
    budget().step(seen)
    return chars + seen

"""The third check of purity: what two runs of a transition come to, in development and in tests (R47, R48)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

from onex_mesh.reducer.core.intent import Intent
from onex_mesh.reducer.core.transition import Transition
from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import PurityViolationError

_CHARS_MAX = 300
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]{6,}>")


class Run(Protocol):
    """What a run came to."""

    @property
    def document(self) -> dict[str, object]:
        """The new state as plain JSON."""
        ...

    @property
    def intents(self) -> tuple[Intent, ...]:
        """The intents."""
        ...


def check_untouched(transition: Transition, before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Refuses a transition that changed the state it was given, by whatever way.

    Raises:
        PurityViolationError: It did.
    """
    if before != after:
        told = f"{transition.action} changed the state that it was given"
        raise _violation(transition, "state", f"{told}: {_difference(before, after)}")


def compare_runs(transition: Transition, first: Run, second: Run) -> None:
    """Refuses a transition whose runs differ, or that writes where an object is in memory, which differs tomorrow.

    Raises:
        PurityViolationError: They do; with what differs.
    """
    for part, one, other in (
        ("state", first.document, second.document),
        ("intents", first.intents, second.intents),
    ):
        if one != other:
            told = f"two runs of {transition.action} differ in {part}"
            raise _violation(transition, part, f"{told}: {_difference(one, other)}")
        for text in _texts([intent.payload for intent in first.intents] if part == "intents" else first.document):
            address = _ADDRESS.search(text)
            if address:
                told = f"{transition.action} writes where an object is in memory into its {part}"
                raise _violation(transition, part, f"{told}: {address[0]}")


def _violation(transition: Transition, part: str, text: str) -> PurityViolationError:
    return PurityViolationError(
        f"{place_of(transition.call.function)}: {text}", error_context={"action": transition.action, "part": part}
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _difference(one: object, other: object) -> str:
    """The first field that differs, or both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one:
            if one[key] != other.get(key):
                return f"{key} is {one[key]!r} and then {other.get(key)!r}"
    return f"{one!r} and then {other!r}"[:_CHARS_MAX]

"""What can be told of a state machine without running it: states that are never reached or never left, and transitions
that are never taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.transition import Transition


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is hardly meant.

    Attributes:
        kind: "unreachable", "dead_end", "shadowed" or "never_taken".
        text: What it is, for people.
        state: The state that it is about; empty for a transition.
        transition: The transition that it is about; None for a state.
    """

    kind: str
    text: str
    state: str = ""
    transition: Transition | None = None


@runtime_checkable
class TellingGuard(Protocol):
    """A guard of which more is known than what it says when it is asked: those of files."""

    source: str
    """What it says, as text: two guards of the same text say the same."""

    def constant(self, status_field: str, status: str) -> bool | None:
        """What it always says in a state; None if that cannot be told."""


def analysed(fsm: Fsm) -> list[Finding]:
    """What is hardly meant of a machine.

    Of guards in Python nothing can be told; a transition in Python without a target may lead to any state.
    """
    return [*_shadowed(fsm), *_never_taken(fsm), *_unreachable(fsm), *_dead_ends(fsm)]


def edges(fsm: Fsm) -> Iterator[tuple[str, str | None, Transition]]:
    """Source, target and transition of each arrow; the target is None where the transition decides."""
    for candidates in fsm.transitions.values():
        for transition in candidates:
            for source in _names(fsm):
                if source in transition.sources:
                    yield source, source if transition.stays else transition.target, transition


def _names(fsm: Fsm) -> list[str]:
    return [str(state.value) for state in fsm.states]


def _shadowed(fsm: Fsm) -> Iterator[Finding]:
    for action, candidates in fsm.transitions.items():
        for index, transition in enumerate(candidates):
            hidden: set[str] = set()
            for earlier in candidates[:index]:
                if _takes_all_of(earlier, transition):
                    hidden |= earlier.sources & transition.sources
            if hidden >= transition.sources:
                names = ", ".join(sorted(hidden))
                text = f"{action} from {names} is never taken: an earlier transition always is"
                yield Finding("shadowed", text, transition=transition)


def _takes_all_of(earlier: Transition, later: Transition) -> bool:
    if earlier.guard is None:
        return True
    one, other = earlier.guard.function, later.guard.function if later.guard is not None else None
    return isinstance(one, TellingGuard) and isinstance(other, TellingGuard) and one.source == other.source


def _never_taken(fsm: Fsm) -> Iterator[Finding]:
    for action, candidates in fsm.transitions.items():
        for transition in candidates:
            guard = transition.guard.function if transition.guard is not None else None
            if isinstance(guard, TellingGuard) and all(
                guard.constant(fsm.status_field, source) is False for source in transition.sources
            ):
                yield Finding(
                    "never_taken", f"{action} is never taken: its guard is always false", transition=transition
                )


def _unreachable(fsm: Fsm) -> Iterator[Finding]:
    reached = {fsm.status_of(fsm.initial)}
    arrows = list(edges(fsm))
    grows = True
    while grows:
        found = {
            name
            for source, target, _ in arrows
            if source in reached
            for name in ([target] if target is not None else _names(fsm))
        }
        grows = not found <= reached
        reached |= found
    for name in _names(fsm):
        if name not in reached:
            yield Finding("unreachable", f"{name} is never reached from {fsm.status_of(fsm.initial)}", state=name)


def _dead_ends(fsm: Fsm) -> Iterator[Finding]:
    left = {source for source, target, _ in edges(fsm) if target != source}
    for name in _names(fsm):
        if name not in left and name not in fsm.final:
            yield Finding("dead_end", f"nothing leads out of {name}, and it is not final", state=name)

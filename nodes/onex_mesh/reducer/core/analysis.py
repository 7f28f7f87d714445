"""What can be told of a state machine without running it: states that are never reached or never left, and transitions
that are never taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.transition import Transition


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is hardly meant.

    Attributes:
        kind: "unreachable", "dead_end", "endless", "shadowed" or "never_taken".
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

    def constant(self, status_field: str, status: str) -> bool | None:
        """What it always says in a state; None if that cannot be told."""

    def is_implied_by(self, other: object) -> bool:
        """Whether it says yes wherever another guard does, as far as that can be told."""


def analysed(fsm: Fsm) -> list[Finding]:
    """What is hardly meant of a machine.

    Of guards in Python nothing can be told; a transition in Python without a target may lead to any state.
    """
    return [*_shadowed(fsm), *_never_taken(fsm), *_unreachable(fsm), *_dead_ends(fsm), *_endless(fsm)]


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
            hidden = hidden_sources(transition, candidates[:index])
            if hidden:
                names = ", ".join(sorted(hidden))
                text = f"{action} from {names} is never taken: an earlier transition always is"
                yield Finding("shadowed", text, transition=transition)


def hidden_sources(transition: Transition, before: Sequence[Transition]) -> frozenset[str]:
    """The states from which a transition is never taken, because an earlier one of the action always is.

    One from "*" may come after others, for what they leave; it is hidden only where nothing is left.
    """
    hidden = frozenset[str]()
    for earlier in before:
        if _takes_all_of(earlier, transition):
            hidden |= earlier.sources & transition.sources
    return hidden if hidden >= transition.sources or not transition.any_source else frozenset()


def _takes_all_of(earlier: Transition, later: Transition) -> bool:
    if earlier.guard is None:
        return True
    guard = earlier.guard.function
    return later.guard is not None and isinstance(guard, TellingGuard) and guard.is_implied_by(later.guard.function)


def _never_taken(fsm: Fsm) -> Iterator[Finding]:
    for action, candidates in fsm.transitions.items():
        for transition in candidates:
            if not any(_may_be_taken(fsm, transition, source) for source in transition.sources):
                text = f"{action} is never taken: its guard is always false"
                yield Finding("never_taken", text, transition=transition)


def _may_be_taken(fsm: Fsm, transition: Transition, source: str) -> bool:
    guard = transition.guard.function if transition.guard is not None else None
    return not isinstance(guard, TellingGuard) or guard.constant(fsm.status_field, source) is not False


def _unreachable(fsm: Fsm) -> Iterator[Finding]:
    reached = {fsm.status_of(fsm.initial)}
    arrows = [row for row in edges(fsm) if _may_be_taken(fsm, row[2], row[0])]
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
    arrows = [row for row in edges(fsm) if _may_be_taken(fsm, row[2], row[0])]
    left = {source for source, target, _ in arrows if target != source}
    for name in _names(fsm):
        if name not in left and name not in fsm.final:
            yield Finding("dead_end", f"nothing leads out of {name}, and it is not final", state=name)


def _endless(fsm: Fsm) -> Iterator[Finding]:
    """States that are left, but from which no final one is reached."""
    ends = set(fsm.final)
    arrows = [row for row in edges(fsm) if _may_be_taken(fsm, row[2], row[0])]
    grows = bool(ends)
    while grows:
        found = {source for source, target, _ in arrows if target is None or target in ends}
        grows = not found <= ends
        ends |= found
    left = {source for source, target, _ in arrows if target != source}
    for name in _names(fsm):
        if fsm.final and name not in ends and name in left:
            yield Finding("endless", f"no final state is ever reached from {name}", state=name)

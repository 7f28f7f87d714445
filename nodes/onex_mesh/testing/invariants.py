"""What must hold after every action, whatever actions come: tried on random sequences, the shortest failure is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pydantic
from pydantic import BaseModel

from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import OnexError, ValidationError
from onex_mesh.testing.machine import Source, machine_of
from onex_mesh.testing.scenario import Given, Then

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Invariant: TypeAlias = Callable[[Then], object]
"""Looks at what an action led to; a failing assertion, or False, says that it does not hold."""

# What a machine may answer instead of a transition. Anything else (a failure, an inconsistent state, impure code) is a
# fault of the machine, whatever the action.
_REFUSALS = frozenset({"TRANSITION_REFUSED", "UNKNOWN_ACTION", "VALIDATION_FAILED"})


def check_invariants(
    source: Source,
    name: str = "",
    *,
    invariants: Sequence[Invariant] = (),
    payloads: Mapping[str, SearchStrategy[object]] | None = None,
    state: object = None,
    actions_max: int = 20,
    examples: int = 100,
) -> None:
    """Tries random sequences of actions on a state machine. Needs hypothesis.

    Args:
        source: A machine, an App that has it, a YAML file, or the class that declares it.
        name: Which one of an App. Default: the only one that it has.
        invariants: What must hold after each action that was taken.
        payloads: Payloads by action. Default: what fits the payload's model. Actions that are not in the machine are
            tried too, if they are named here.
        state: The state to begin with. Default: the initial one.
        actions_max: Longest sequence.
        examples: How many sequences.

    Raises:
        AssertionError: An invariant does not hold; the message has the shortest sequence that shows it.
        OnexError: The machine failed, other than by refusing an action.
        ValidationError: hypothesis is not installed, or cannot make payloads of a model: give `payloads`.
    """
    try:
        import hypothesis
        from hypothesis import strategies as st
    except ImportError as error:
        raise ValidationError("check_invariants needs hypothesis: pip install hypothesis") from error

    @st.composite
    def of_model(draw: st.DrawFn, model: type[BaseModel]) -> object:
        try:
            return draw(st.from_type(model))
        except pydantic.ValidationError:
            # hypothesis knows the types of fields, not all that their model checks.
            hypothesis.reject()

    machine = machine_of(source, name)
    given_payloads = dict(payloads or {})
    choices: list[SearchStrategy[tuple[str, object]]] = []
    for action, candidates in machine.transitions.items():
        strategy = given_payloads.pop(action, None)
        if strategy is None:
            models = {row.payload_model for row in candidates if row.payload_model is not None}
            strategy = st.one_of([of_model(model) for model in models]) if models else st.none()
        choices.append(st.tuples(st.just(action), strategy))
    choices += [st.tuples(st.just(action), strategy) for action, strategy in given_payloads.items()]

    @hypothesis.settings(max_examples=examples, deadline=None, database=None, report_multiple_bugs=False)
    @hypothesis.given(st.lists(st.one_of(choices), max_size=actions_max))
    def holds(actions: list[tuple[str, object]]) -> None:
        current: Given | Then = Given(machine, state)
        for index, (action, payload) in enumerate(actions):
            try:
                current = current.when(action, payload, action_id=f"{index}-{action}")
            except OnexError as error:
                if error.reason not in _REFUSALS:
                    raise
                continue
            for invariant in invariants:
                assert invariant(current) is not False, f"{_label(invariant)} does not hold after {action}"

    holds()


def _label(invariant: Invariant) -> str:
    name = getattr(invariant, "__name__", "<lambda>")
    return f"the invariant at {place_of(invariant)}" if name == "<lambda>" else name

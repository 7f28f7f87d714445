"""δ(state, action) → (new state, intents): one transition of a state machine (R46–R48)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pydantic
from pydantic import BaseModel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.documents import invalid, read_model, read_state, write_model
from onex_mesh.reducer.core.failure import failure_of
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.guard import Guard
from onex_mesh.reducer.core.intent import Intent
from onex_mesh.reducer.core.runs import check_untouched, compare_runs
from onex_mesh.reducer.core.transition import Call, Next, Transition
from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import (
    OnexError,
    ReductionFailedError,
    StateConsistencyError,
    TransitionRefusedError,
    UnknownActionError,
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What an action did.

    Attributes:
        state: The new state.
        document: The new state as plain JSON.
        intents: Side effects to execute once it is committed, in order.
        previous: FSM state before.
        status: FSM state after.
        final: Whether nothing leads out of it.
    """

    state: BaseModel
    document: dict[str, object]
    intents: tuple[Intent, ...]
    previous: str
    status: str
    final: bool


def apply_action(
    fsm: Fsm,
    current: object,
    action: str,
    payload: object,
    context: Callable[[], ReducerContext],
    *,
    twice: bool = False,
) -> Applied:
    """Applies an action to a state. Pure: the same arguments always give the same result.

    Args:
        fsm: The state machine.
        current: The state as plain JSON; None for the initial one.
        action: What happens.
        payload: Its payload as plain JSON.
        context: Makes a fresh `ctx`.
        twice: Whether to run the transition a second time and compare, to find an impure one.

    Raises:
        UnknownActionError: The machine knows no such action (R66).
        TransitionRefusedError: It does not take the action in this state, or a guard refused it.
        StateConsistencyError: The given state does not fit, or the transition left it elsewhere than declared (R67).
        ValidationError: The payload does not fit.
        PurityViolationError: The transition touched something, or two runs of it differ.
        ReductionFailedError: The transition raised an exception, or returned what it may not.
    """
    candidates = _known(fsm, action)
    state = fsm.initial if current is None else read_state(fsm.model, current)
    previous = fsm.status_of(state)
    transition, value = _chosen(candidates, state, previous, action, payload, context)
    if not twice:
        return _run(fsm, transition, state, previous, value, context)
    given = write_model(state)
    applied = _run(fsm, transition, state, previous, value, context)
    check_untouched(transition, given, write_model(state))
    compare_runs(transition, applied, _run(fsm, transition, state, previous, value, context))
    return applied


def _known(fsm: Fsm, action: str) -> Sequence[Transition]:
    candidates = fsm.transitions.get(action)
    if candidates is None:
        known = fsm.actions()
        raise UnknownActionError(
            f"the reducer {fsm.name!r} knows no action {action!r}; it knows {', '.join(known)}",
            error_context={"action": action, "known": known},
        )
    return candidates


def _chosen(
    candidates: Sequence[Transition],
    state: BaseModel,
    status: str,
    action: str,
    payload: object,
    context: Callable[[], ReducerContext],
) -> tuple[Transition, object]:
    """The first transition that starts from this state and whose guard lets it, with its payload."""
    refusals = []
    for transition in candidates:
        if status not in transition.sources:
            continue
        value = _payload(transition, payload)
        if transition.guard is None or _allows(transition.guard, action, state, value, context):
            return transition, value
        refusals.append(getattr(transition.guard.function, "__name__", "guard"))
    if refusals:
        guards = ", ".join(refusals)
        raise TransitionRefusedError(
            f"{action} is refused in the state {status} by {guards}",
            error_context={"action": action, "state": status, "guards": refusals},
        )
    allowed = sorted(frozenset().union(*(transition.sources for transition in candidates)))
    raise TransitionRefusedError(
        f"{action} is refused in the state {status}; it starts from {', '.join(allowed)}",
        error_context={"action": action, "state": status, "allowed": allowed},
    )


def _payload(transition: Transition, payload: object) -> object:
    if not transition.takes_payload:
        return None
    if transition.payload_model is None:
        return transition.read_payload(payload)
    try:
        return read_model(transition.payload_model, payload)
    except pydantic.ValidationError as error:
        raise invalid(error, "fsm_action.payload") from None


def _allows(guard: Call, action: str, state: BaseModel, payload: object, context: Callable[[], ReducerContext]) -> bool:
    return bool(_called(f"the guard of {action}", guard, state, payload, context()))


def _run(
    fsm: Fsm,
    transition: Transition,
    state: BaseModel,
    previous: str,
    payload: object,
    context: Callable[[], ReducerContext],
) -> Applied:
    what = f"the transition {transition.action}"
    ctx = context()
    result = _called(what, transition.call, state, payload, ctx)
    new_state, intents = _parts(result, fsm, what, transition.call)
    status = fsm.status_of(new_state)
    if transition.target is not None and status != transition.target:
        raise StateConsistencyError(
            f"{what} left the state {status}, but declares {transition.target}",
            error_context={"action": transition.action, "expected": transition.target, "found": status},
        )
    if status != previous:
        new_state, intents = _crossed(fsm, state, new_state, intents, ctx)
    document, new_state = _stored(fsm, new_state, what)
    return Applied(new_state, document, intents, previous, status, status in fsm.final)


def _crossed(
    fsm: Fsm, before: BaseModel, after: BaseModel, intents: tuple[Intent, ...], ctx: ReducerContext
) -> tuple[BaseModel, tuple[Intent, ...]]:
    """State and intents once the exit action of the one state and the entry action of the other have run."""
    left, entered = fsm.status_of(before), fsm.status_of(after)
    leaving, entering = fsm.exits.get(left), fsm.entries.get(entered)
    if leaving is not None:
        what = f"the exit action of {left}"
        _, exit_intents = _parts((before, _called(what, leaving, before, None, ctx)), fsm, what, leaving)
        intents = (*exit_intents, *intents)
    if entering is not None:
        what = f"the entry action of {entered}"
        after, entry_intents = _parts(_called(what, entering, after, None, ctx), fsm, what, entering)
        if fsm.status_of(after) != entered:
            found = fsm.status_of(after)
            raise StateConsistencyError(
                f"{what} left the state {found}; only transitions change it",
                error_context={"expected": entered, "found": found},
            )
        intents = (*intents, *entry_intents)
    return after, intents


def _called(what: str, call: Call, state: BaseModel, payload: object, ctx: ReducerContext) -> object:
    try:
        with Guard(what):
            return call(state, payload, ctx)
    except (OnexError, KeyboardInterrupt):
        raise
    except BaseException as error:
        # A SystemExit of the application must not end the node.
        raise failure_of(error, call.function, what) from error


def _parts(result: object, fsm: Fsm, what: str, call: Call) -> tuple[BaseModel, tuple[Intent, ...]]:
    """State and intents of whatever form a function of the machine returned."""
    intents: object = ()
    state = result
    if isinstance(result, Next):
        state, intents = result.state, result.intents
    elif isinstance(result, tuple) and len(result) == 2:
        state, intents = result
    place = place_of(call.function)
    if not isinstance(state, fsm.model):
        raise ReductionFailedError(f"{place}: {what} returned a {type(state).__name__}, not a {fsm.model.__name__}")
    if not isinstance(intents, list | tuple):
        raise ReductionFailedError(f"{place}: {what} returned intents that are no sequence")
    for intent in intents:
        if not isinstance(intent, Intent):
            raise ReductionFailedError(f"{place}: {what} returned a {type(intent).__name__} among its intents")
    return state, tuple(intents)


def _stored(fsm: Fsm, state: BaseModel, what: str) -> tuple[dict[str, object], BaseModel]:
    """The state as plain JSON, and read from it again: `model_copy(update=…)` and `model_construct` check nothing."""
    try:
        document = write_model(state)
    except ValueError as error:
        raise StateConsistencyError(f"{what} left a state that cannot be stored: {error}") from None
    return document, state if fsm.is_checked else read_state(fsm.model, document, f"{what} left a state")

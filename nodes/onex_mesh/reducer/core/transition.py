"""Transitions: functions of an application that lead an FSM from one state to another (R46)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Literal, ParamSpec, TypeAlias, TypeVar

from pydantic import BaseModel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.freeze import FrozenJson, freeze, mutable_part
from onex_mesh.reducer.core.intent import Intent
from onex_mesh.runtime.definition import annotations_of, checked_name, refused

S = TypeVar("S", bound=BaseModel)
P = ParamSpec("P")
R = TypeVar("R")

Function: TypeAlias = Callable[..., object]
Sources: TypeAlias = Enum | Iterable[Enum] | Literal["*"]

ANY_STATE: Final = "*"
_MARK = "__onex_transition__"
_ENTRY = "__onex_entry__"
_EXIT = "__onex_exit__"
_NAMES = ("state", "payload", "ctx")
_NOT_AT_ONCE = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)


@dataclass(frozen=True, slots=True)
class Next(Generic[S]):
    """What a transition returns: the new state, and the side effects to execute once it is committed, in order."""

    state: S
    intents: Sequence[Intent] = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """What stands in a @transition."""

    action: str
    source: Sources
    target: Enum | None
    guard: Function | None


def transition(
    action: str, *, source: Sources, target: Enum | None, guard: Function | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares that a function is the transition of an action.

    The function is a static method that takes `state`, then optionally `payload` and `ctx`, and returns a `Next`, the
    new state alone, or a tuple of the new state and its intents:

        @staticmethod
        @transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
        def place(state: Order, payload: NewOrder, ctx: ReducerContext) -> Next[Order]: ...

    Args:
        action: What drives it. Several transitions may have the same, with other sources or guards.
        source: State, or states, that it starts from; "*" for every state that is not final.
        target: State that it leads to; None if the transition decides.
        guard: Takes the same parameters and says whether the transition may be taken now. Must be pure too.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        inner = function.__func__ if isinstance(function, staticmethod) else function
        declarations: tuple[Declaration, ...] = getattr(inner, _MARK, ())
        # Decorators are applied from the lowest up; the highest comes first, as it is read.
        setattr(inner, _MARK, (Declaration(action, source, target, guard), *declarations))
        return function

    return mark


def on_entry(*states: Enum) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares what happens when a state is entered from another one, after the transition.

    The function is a static method that takes `state` as the transition left it and, optionally, `ctx`, and returns
    what a transition returns. It must not change the FSM state.

    Args:
        states: The states.
    """
    return _hook(_ENTRY, states)


def on_exit(*states: Enum) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares what happens when a state is left for another one.

    The function is a static method that takes `state` as it was before the transition and, optionally, `ctx`, and
    returns a sequence of intents; they come before those of the transition.

    Args:
        states: The states.
    """
    return _hook(_EXIT, states)


def hooks_of(member: object) -> tuple[tuple[Enum, ...], tuple[Enum, ...]]:
    """The states at whose entry and at whose exit a member of a class is called."""
    entered: tuple[Enum, ...] = getattr(member, _ENTRY, ())
    left: tuple[Enum, ...] = getattr(member, _EXIT, ())
    return entered, left


def _hook(mark: str, states: tuple[Enum, ...]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def declare(function: Callable[P, R]) -> Callable[P, R]:
        inner = function.__func__ if isinstance(function, staticmethod) else function
        setattr(inner, mark, (*getattr(inner, mark, ()), *states))
        return function

    return declare


def declarations_of(member: object) -> tuple[Declaration, ...]:
    """The @transitions that stand above a member of a class."""
    declarations: tuple[Declaration, ...] = getattr(member, _MARK, ())
    return declarations


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a transition, and what it takes.

    Attributes:
        function: A transition or a guard.
        takes_payload: Whether it takes `payload`.
        takes_context: Whether it takes `ctx`.
    """

    function: Function
    takes_payload: bool
    takes_context: bool

    def __call__(self, state: BaseModel, payload: object, ctx: ReducerContext) -> object:
        """Calls it with what it takes."""
        if self.takes_payload:
            return self.function(state, payload, ctx) if self.takes_context else self.function(state, payload)
        return self.function(state, ctx) if self.takes_context else self.function(state)


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition of an FSM.

    Attributes:
        action: What drives it.
        sources: Values of the states that it starts from.
        any_source: Whether it was declared for every state that is not final.
        target: Value of the state that it leads to; None if it decides.
        call: The transition.
        guard: Says whether it may be taken; None if it always may.
        payload_model: Model of the payload; None for plain JSON, or for none.
        stays: Whether it is known to leave the FSM state as it is.
    """

    action: str
    sources: frozenset[str]
    any_source: bool
    target: str | None
    call: Call
    guard: Call | None
    payload_model: type[BaseModel] | None
    stays: bool = False

    @property
    def takes_payload(self) -> bool:
        """Whether transition or guard look at a payload."""
        return self.call.takes_payload or (self.guard is not None and self.guard.takes_payload)

    def read_payload(self, value: object) -> object:
        """The payload, frozen, from plain JSON.

        Raises:
            pydantic.ValidationError: It does not fit the model.
        """
        if self.payload_model is None:
            return freeze(value)
        return self.payload_model.model_validate(value)


def built_transition(
    function: Function, declaration: Declaration, *, model: type[BaseModel], states: type[Enum], final: frozenset[str]
) -> Transition:
    """The transition that a function declares.

    Args:
        function: The function, not bound.
        declaration: What stands above it.
        model: The state.
        states: Its states.
        final: Values of the final ones.

    Raises:
        ValidationError: The signature is wrong, or a state is not one; with file and line.
    """
    checked_name(function, declaration.action)
    hints = annotations_of(function)
    call = _call(function, hints, model)
    _check_result(function, hints, model)
    sources = _sources(function, declaration.source, states, final)
    target = declaration.target
    if target is not None and not isinstance(target, states):
        raise refused(function, f"the target {target!r} is not a {states.__name__}")
    return Transition(
        action=declaration.action,
        sources=sources,
        any_source=declaration.source == ANY_STATE,
        target=None if target is None else str(target.value),
        call=call,
        guard=None if declaration.guard is None else _guard(declaration.guard, model),
        payload_model=_payload_model(function, hints) if call.takes_payload else None,
    )


def built_hook(function: Function, model: type[BaseModel], *, is_exit: bool) -> Call:
    """What is called when a state is entered or left.

    Raises:
        ValidationError: The signature is wrong; with file and line.
    """
    hints = annotations_of(function)
    call = _call(function, hints, model)
    if call.takes_payload:
        raise refused(function, "an entry or exit action has no payload: (state) or (state, ctx)")
    if is_exit:
        origin = getattr(hints.get("return"), "__origin__", hints.get("return"))
        if not (isinstance(origin, type) and issubclass(origin, Sequence)):
            raise refused(function, "an exit action returns its intents: list[Intent]")
    else:
        _check_result(function, hints, model)
    return call


def _call(function: Function, hints: dict[str, object], model: type[BaseModel]) -> Call:
    if not inspect.isfunction(function):
        raise refused(function, f"a transition is a function, not a {type(function).__name__}")
    if any(kind(function) for kind in _NOT_AT_ONCE):
        raise refused(function, "a transition is pure and returns at once: a plain `def` without `yield`")
    names = tuple(inspect.signature(function).parameters)
    if names[:1] == ("self",):
        raise refused(function, "a transition has no `self`, which could be changed: put @staticmethod above it")
    if names not in (_NAMES, _NAMES[:2], _NAMES[:1], ("state", "ctx")):
        raise refused(function, f"expected (state, payload, ctx), not ({', '.join(names)})")
    if hints.get("state") is not model:
        raise refused(function, f"`state` is annotated with {model.__name__}")
    if "ctx" in names and hints.get("ctx", ReducerContext) is not ReducerContext:
        raise refused(function, "`ctx` is annotated with ReducerContext")
    return Call(function, "payload" in names, "ctx" in names)


def _guard(guard: Function, model: type[BaseModel]) -> Call:
    hints = annotations_of(guard)
    call = _call(guard, hints, model)
    if hints.get("return") is not bool:
        raise refused(guard, "a guard returns bool")
    return call


def _payload_model(function: Function, hints: dict[str, object]) -> type[BaseModel] | None:
    if "payload" not in hints:
        raise refused(function, "`payload` is not annotated")
    annotation = hints["payload"]
    if annotation is object or annotation == FrozenJson:
        return None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise refused(function, "`payload` is annotated with a frozen pydantic model, or `object` for frozen JSON")
    changeable = mutable_part(annotation)
    if changeable:
        raise refused(function, f"the payload must not be changeable: {changeable}")
    return annotation


def _check_result(function: Function, hints: dict[str, object], model: type[BaseModel]) -> None:
    if "return" not in hints:
        raise refused(function, f"the result is not annotated: Next[{model.__name__}]")
    result = hints["return"]
    origin = getattr(result, "__origin__", result)
    if origin is tuple or origin is Next or result is model:
        arguments = getattr(result, "__args__", (model,))
        if arguments and arguments[0] is model:
            return
    raise refused(function, f"a transition returns Next[{model.__name__}], {model.__name__}, or a tuple with intents")


def _sources(function: Function, source: Sources, states: type[Enum], final: frozenset[str]) -> frozenset[str]:
    if source == ANY_STATE:
        return frozenset(str(state.value) for state in states) - final
    if isinstance(source, str) and not isinstance(source, Enum):
        raise refused(function, f"the source {source!r} is not a {states.__name__}")
    given = (source,) if isinstance(source, Enum) else tuple(source)
    for state in given:
        if not isinstance(state, states):
            raise refused(function, f"the source {state!r} is not a {states.__name__}")
        if str(state.value) in final:
            raise refused(function, f"the source {state.value} is final: nothing leads out of it")
    if not given:
        raise refused(function, "a transition has at least one source")
    return frozenset(str(state.value) for state in given)

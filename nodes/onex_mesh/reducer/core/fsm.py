"""State machines: classes of transitions over a frozen pydantic state, looked at once when they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

import pydantic
from pydantic import BaseModel

from onex_mesh.reducer.core.freeze import mutable_part
from onex_mesh.reducer.core.purity import check_function, check_model
from onex_mesh.reducer.core.transition import (
    Call,
    Transition,
    built_hook,
    built_transition,
    declarations_of,
    hooks_of,
)
from onex_mesh.runtime.definition import checked_name, checked_version, refused


@dataclass(frozen=True, slots=True)
class Fsm:
    """A state machine.

    Make one with `Fsm.from_class`.

    Attributes:
        name: Name in the registry.
        version: Its version (PEP 440).
        description: For people; the first paragraph of the docstring.
        definition: The class that it was made from.
        model: Model of its state.
        status_field: Field of the model that holds the FSM state.
        states: The type of that field.
        initial: The state that a new one starts with.
        final: Values of the states that nothing leads out of.
        transitions: By action, in the order of the class.
        entries: What happens when a state is entered from another one, by its value.
        exits: What happens when a state is left for another one, by its value.
        is_checked: Whether every state that its functions return has been checked by the model.
    """

    name: str
    version: str
    description: str
    definition: type
    model: type[BaseModel]
    status_field: str
    states: type[Enum]
    initial: BaseModel
    final: frozenset[str]
    transitions: Mapping[str, tuple[Transition, ...]]
    entries: Mapping[str, Call] = field(default_factory=dict)
    exits: Mapping[str, Call] = field(default_factory=dict)
    is_checked: bool = False

    @classmethod
    def from_class(cls, definition: type, *, name: str = "", version: str = "1.0.0", description: str = "") -> Fsm:
        """The state machine that a class declares.

        The class has
        - `state_model`: a pydantic model, frozen at every depth, with a string enum in the field `status`;
        - `initial`: its first state: a member of the enum, or an instance of the model. Default: `state_model()`;
        - `final`: members of the enum that nothing leads out of. Default: none;
        - `status_field`: name of the field. Default: "status";
        - static methods under `@transition(...)`, and optionally under `@on_entry(...)` and `@on_exit(...)`.

        Args:
            definition: The class.
            name: Name in the registry. Default: the class' in snake case.
            version: PEP 440.
            description: For people. Default: the first paragraph of the docstring.

        Raises:
            ValidationError: Something of it is wrong; the message begins with file and line.
            PurityViolationError: A transition or guard does what is not pure; likewise.
        """
        model = _model(definition)
        status_field = str(getattr(definition, "status_field", "status"))
        states = _states(definition, model, status_field)
        final = _final(definition, states)
        transitions = _transitions(definition, model, states, final)
        entries, exits = _hooks(definition, model, states, final)
        check_model(model)
        return cls(
            name=checked_name(definition, name or _snake_case(definition.__name__)),
            version=checked_version(definition, version),
            description=description or " ".join((inspect.getdoc(definition) or "").split("\n\n", 1)[0].split()),
            definition=definition,
            model=model,
            status_field=status_field,
            states=states,
            initial=_initial(definition, model, status_field, states),
            final=final,
            transitions=transitions,
            entries=entries,
            exits=exits,
        )

    def status_of(self, state: BaseModel) -> str:
        """The FSM state that a state is in."""
        status = getattr(state, self.status_field)
        return str(status.value if isinstance(status, Enum) else status)

    def actions(self) -> list[str]:
        """The actions that it knows, in the order of the class."""
        return list(self.transitions)


def _model(definition: type) -> type[BaseModel]:
    if not isinstance(definition, type):
        raise refused(definition, "a reducer is a class of transitions")
    model = getattr(definition, "state_model", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise refused(definition, "`state_model` is missing: a frozen pydantic model")
    changeable = mutable_part(model)
    if changeable:
        raise refused(definition, f"the state must not be changeable: {changeable}")
    return model


def _states(definition: type, model: type[BaseModel], status_field: str) -> type[Enum]:
    declared = model.model_fields.get(status_field)
    if declared is None:
        raise refused(definition, f"{model.__name__} has no field {status_field!r}, which holds the FSM state")
    annotation = declared.annotation
    if not (isinstance(annotation, type) and issubclass(annotation, Enum) and issubclass(annotation, str)):
        raise refused(definition, f"{model.__name__}.{status_field} is a string enum (enum.StrEnum)")
    return annotation


def _final(definition: type, states: type[Enum]) -> frozenset[str]:
    given = getattr(definition, "final", ())
    members = (given,) if isinstance(given, Enum) else tuple(given)
    for member in members:
        if not isinstance(member, states):
            raise refused(definition, f"the final state {member!r} is not a {states.__name__}")
    return frozenset(str(member.value) for member in members)


def _initial(definition: type, model: type[BaseModel], status_field: str, states: type[Enum]) -> BaseModel:
    given = getattr(definition, "initial", None)
    if isinstance(given, model):
        return given
    if given is not None and not isinstance(given, states):
        raise refused(definition, f"`initial` is a {states.__name__} or a {model.__name__}, not {given!r}")
    try:
        return model() if given is None else model(**{status_field: given})
    except pydantic.ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in row["loc"]) for row in error.errors())
        raise refused(definition, f"no initial state: {fields} without default; give `initial` as a state") from None


def _transitions(
    definition: type, model: type[BaseModel], states: type[Enum], final: frozenset[str]
) -> dict[str, tuple[Transition, ...]]:
    found: dict[str, tuple[Transition, ...]] = {}
    for member in _members(definition):
        if isinstance(member, classmethod) and declarations_of(member.__func__):
            raise refused(member.__func__, "a transition has no `cls`: put @staticmethod above it")
        function = member.__func__ if isinstance(member, staticmethod) else member
        if not inspect.isfunction(function):
            continue
        for declaration in declarations_of(function):
            added = built_transition(function, declaration, model=model, states=states, final=final)
            before = found.get(added.action, ())
            _check_reachable(function, added, before)
            check_function(function)
            if declaration.guard is not None:
                check_function(declaration.guard)
            if added.payload_model is not None:
                check_model(added.payload_model)
            found[added.action] = (*before, added)
    if not found:
        raise refused(definition, "no transition: methods under @transition(...)")
    return found


def _hooks(
    definition: type, model: type[BaseModel], states: type[Enum], final: frozenset[str]
) -> tuple[dict[str, Call], dict[str, Call]]:
    """Entry and exit actions by state."""
    entries: dict[str, Call] = {}
    exits: dict[str, Call] = {}
    for member in _members(definition):
        function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        entered, left = hooks_of(function)
        if not inspect.isfunction(function) or not (entered or left):
            continue
        if not isinstance(member, staticmethod):
            raise refused(function, "an entry or exit action has neither `self` nor `cls`: put @staticmethod above it")
        check_function(function)
        for found, names, is_exit in ((entries, entered, False), (exits, left, True)):
            for state in names:
                if not isinstance(state, states):
                    raise refused(function, f"{state!r} is not a {states.__name__}")
                value = str(state.value)
                if is_exit and value in final:
                    raise refused(function, f"{value} is final: it is never left")
                if value in found:
                    what = "exit" if is_exit else "entry"
                    raise refused(function, f"{value} has an {what} action already")
                found[value] = built_hook(function, model, is_exit=is_exit)
    return entries, exits


def _members(definition: type) -> Iterator[object]:
    """What a class holds, inherited first; what a subclass defines anew stands where it was first."""
    names: dict[str, None] = {}
    for base in reversed(definition.__mro__):
        names.update(dict.fromkeys(vars(base)))
    for name in names:
        yield inspect.getattr_static(definition, name)


def _check_reachable(function: object, added: Transition, before: tuple[Transition, ...]) -> None:
    always = [earlier for earlier in before if earlier.guard is None]
    hidden = frozenset[str]().union(*(earlier.sources for earlier in always)) & added.sources
    if hidden and (hidden >= added.sources or not added.any_source):
        raise refused(
            function,
            f"{added.action} from {', '.join(sorted(hidden))} is declared twice; "
            "only a guard on the first would let the second be taken",
        )


def _snake_case(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() and at else char.lower() for at, char in enumerate(name))

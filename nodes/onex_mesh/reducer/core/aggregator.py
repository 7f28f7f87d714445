"""Aggregators of an application: a fold over records, given as a class of static methods (R54: custom)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from pydantic import BaseModel

from onex_mesh.reducer.core.freeze import mutable_part
from onex_mesh.reducer.core.purity import check_function, check_model
from onex_mesh.reducer.core.transition import Function
from onex_mesh.runtime.definition import annotations_of, checked_name, checked_version, refused

_PARAMETERS = "params"


@dataclass(frozen=True, slots=True)
class Step:
    """One function of an aggregator, and whether it takes `params`."""

    function: Function
    takes_params: bool

    def __call__(self, *values: object, params: BaseModel | None) -> object:
        """Calls it."""
        return self.function(*values, params=params) if self.takes_params else self.function(*values)


@dataclass(frozen=True, slots=True)
class Aggregator:
    """A fold over records.

    Make one with `Aggregator.from_class`.

    Attributes:
        name: Name in the registry.
        version: Its version (PEP 440).
        description: For people; the first paragraph of the docstring.
        definition: The class that it was made from.
        model: Model of its state, frozen.
        record_model: Model of its records; None for frozen JSON.
        params_model: Model of its parameters; None if it takes none.
        initial: The state of nothing.
        step: The state with one more record.
        merge: One state of two; None if it declares none.
        finish: The result of a state.
    """

    name: str
    version: str
    description: str
    definition: type
    model: type[BaseModel]
    record_model: type[BaseModel] | None
    params_model: type[BaseModel] | None
    initial: Step
    step: Step
    merge: Step | None
    finish: Step

    @classmethod
    def from_class(
        cls, definition: type, *, name: str = "", version: str = "1.0.0", description: str = ""
    ) -> Aggregator:
        """The aggregator that a class declares by static methods.

        - `initial() -> State`: the state of nothing;
        - `step(state: State, record: Record) -> State`: the state with one more record;
        - `finish(state: State) -> Result`: the result, plain JSON or a pydantic model;
        - optionally `merge(left: State, right: State) -> State`: chunks are then reduced by themselves and merged.

        State is a frozen pydantic model; records are a frozen pydantic model, or `object` for frozen JSON. Each method
        may take `params` (a pydantic model) last.

        Raises:
            ValidationError: Something of it is wrong; the message begins with file and line.
            PurityViolationError: A method does what is not pure; likewise.
        """
        initial, step, finish = (_method(definition, part) for part in ("initial", "step", "finish"))
        merge = _method(definition, "merge") if hasattr(definition, "merge") else None
        model = _state_model(initial)
        record = _record_model(step)
        params = _params_model([part for part in (initial, step, merge, finish) if part is not None])
        for checked in filter(None, (model, record, params)):
            check_model(checked)
        return cls(
            name=checked_name(definition, name or definition.__name__.lower()),
            version=checked_version(definition, version),
            description=description or " ".join((inspect.getdoc(definition) or "").split("\n\n", 1)[0].split()),
            definition=definition,
            model=model,
            record_model=record,
            params_model=params,
            initial=_built(initial, (), model),
            step=_built(step, ("state", "record"), model),
            merge=None if merge is None else _built(merge, ("left", "right"), model),
            finish=_built(finish, ("state",), model, result=False),
        )


def _method(definition: type, name: str) -> Function:
    member = inspect.getattr_static(definition, name, None)
    if member is None:
        raise refused(definition, f"an aggregator has `initial`, `step` and `finish`; {name!r} is missing")
    if not isinstance(member, staticmethod):
        raise refused(member if inspect.isfunction(member) else definition, f"{name!r}: put @staticmethod above it")
    function: Function = member.__func__
    check_function(function)
    return function


def _built(function: Function, names: tuple[str, ...], model: type[BaseModel], *, result: bool = True) -> Step:
    given = tuple(inspect.signature(function).parameters)
    if given not in (names, (*names, _PARAMETERS)):
        raise refused(function, f"expected ({', '.join(names)}), and `params` if needed, not ({', '.join(given)})")
    hints = annotations_of(function)
    for name in names:
        if name != "record" and hints.get(name) is not model:
            raise refused(function, f"{name!r} is annotated with {model.__name__}, as `initial` returns it")
    if result and hints.get("return") is not model:
        raise refused(function, f"the result is annotated with {model.__name__}, as `initial` returns it")
    if "return" not in hints:
        raise refused(function, "the result is not annotated")
    return Step(function, _PARAMETERS in given)


def _state_model(initial: Function) -> type[BaseModel]:
    model = annotations_of(initial).get("return")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise refused(initial, "`initial` returns the state: a frozen pydantic model")
    changeable = mutable_part(model)
    if changeable:
        raise refused(initial, f"the state must not be changeable: {changeable}")
    return model


def _record_model(step: Function) -> type[BaseModel] | None:
    annotation = annotations_of(step).get("record")
    if annotation is object:
        return None
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise refused(step, "`record` is annotated with a frozen pydantic model, or `object` for frozen JSON")
    changeable = mutable_part(annotation)
    if changeable:
        raise refused(step, f"the records must not be changeable: {changeable}")
    return annotation


def _params_model(functions: list[Function]) -> type[BaseModel] | None:
    found: type[BaseModel] | None = None
    for function in functions:
        if _PARAMETERS not in inspect.signature(function).parameters:
            continue
        annotation = annotations_of(function).get(_PARAMETERS)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            raise refused(function, "`params` is annotated with a pydantic model")
        if found not in (None, annotation):
            raise refused(function, f"`params` is a {annotation.__name__} here and a {found.__name__} elsewhere")
        found = annotation
    return found

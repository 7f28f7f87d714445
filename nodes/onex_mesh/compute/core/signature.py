"""What the signature of an algorithm says: its data, further inputs, parameters and whether it takes a context."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from onex_mesh.compute.core.data import RESULT, DataForm, data_form
from onex_mesh.runtime.definition import annotations_of, refused

Function = Callable[..., object]

PARAMETERS = "params"
_CONTEXT = "ctx"
_RESERVED = (PARAMETERS, _CONTEXT, "self", "cls")


@dataclass(frozen=True, slots=True)
class Input:
    """A further input of an algorithm: a parameter after the data that is annotated like data.

    Attributes:
        name: Name of the parameter, and of the input in a contract.
        form: Its form.
        required: Whether a contract must give it.
    """

    name: str
    form: DataForm
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """See the module.

    Attributes:
        data: Form of the data.
        inputs: The further inputs.
        output: Form of the result.
        params_model: Model of the parameters; None if it takes none.
        takes_context: Whether it takes a `ComputeContext`.
    """

    data: DataForm
    inputs: tuple[Input, ...]
    output: DataForm
    params_model: type[BaseModel] | None
    takes_context: bool


def signature_of(function: Function) -> Signature:
    """Reads the signature of a function.

    Raises:
        ValidationError: It is not an algorithm's; the message begins with file and line.
    """
    hints = _checked(function)
    data, rest = _parameters(function)
    if data.name not in hints:
        raise refused(function, f"the data {data.name!r} is not annotated")
    form = data_form(function, hints[data.name], f"the data {data.name!r}")
    if "return" not in hints:
        raise refused(function, "the return type is not annotated")
    names = [parameter.name for parameter in rest]
    return Signature(
        data=form,
        inputs=tuple(_input(function, one, hints) for one in rest if one.name not in (PARAMETERS, _CONTEXT)),
        output=data_form(function, hints["return"], RESULT),
        params_model=_params_model(function, hints) if PARAMETERS in names else None,
        takes_context=_CONTEXT in names,
    )


def _checked(function: Function) -> dict[str, object]:
    if not inspect.isroutine(function):
        raise refused(function, f"an algorithm is a function, not a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise refused(function, "an algorithm is pure and does not wait: `def`, not `async def`")
    if inspect.isgeneratorfunction(function):
        raise refused(function, "an algorithm returns its result, it does not yield it")
    return annotations_of(function)


def _parameters(function: Function) -> tuple[inspect.Parameter, list[inspect.Parameter]]:
    """The data, and what comes after it."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise refused(function, "an algorithm takes its data as the first parameter")
    data, rest = parameters[0], parameters[1:]
    if data.name in _RESERVED:
        raise refused(function, f"the first parameter is the data, not {data.name!r}")
    for parameter in rest:
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise refused(function, f"{parameter.name!r} cannot be given by name; what comes after the data is")
    return data, rest


def _input(function: Function, parameter: inspect.Parameter, hints: Mapping[str, object]) -> Input:
    name = parameter.name
    if name not in hints:
        raise refused(function, f"the input {name!r} is not annotated")
    required = parameter.default is inspect.Parameter.empty
    annotation = hints[name] if parameter.default is not None else _without_none(hints[name])
    return Input(name, data_form(function, annotation, f"the input {name!r}"), required)


def _without_none(annotation: object) -> object:
    """The type of an input that may be left out: X of `X | None = None`."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else annotation


def _params_model(function: Function, hints: Mapping[str, object]) -> type[BaseModel]:
    annotation = hints.get(PARAMETERS)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    raise refused(function, "`params` is annotated with a pydantic model")

"""Algorithms: functions of an application, looked at once when they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TypeAlias

from pydantic import BaseModel

from onex_mesh.compute.core.data import RESULT, DataForm, data_form
from onex_mesh.runtime.definition import annotations_of, checked_name, checked_version, refused

Function: TypeAlias = Callable[..., object]

_PARAMETERS = "params"
_CONTEXT = "ctx"


class MergeStrategy(StrEnum):
    """How the results of chunks become one (R35)."""

    CONCATENATE = "concatenate"
    """One list, or one table, in the order of the input."""
    REDUCE = "reduce"
    """The algorithm applied to the list of partial results."""
    CUSTOM = "custom"
    """The merge function of the algorithm."""


Merge: TypeAlias = MergeStrategy | Function | None


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A function that computes something from data.

    Make one with `Algorithm.from_function`.

    Attributes:
        name: Name in the registry.
        version: Its version (PEP 440).
        description: For people; the first paragraph of the docstring.
        function: What is called, with data and, where it takes them, `params=` and `ctx=`.
        pure: Whether the same input always gives the same output.
        input: Form of its data.
        output: Form of its result.
        params_model: Model of its parameters; None if it takes none.
        takes_context: Whether it takes a `ComputeContext`.
        merge: Its strategy for chunks; None if it cannot work on chunks.
        merge_function: Makes one result of the list of partial results, for CUSTOM.
        merge_takes_params: Whether the merge function takes `params=` too.
    """

    name: str
    version: str
    description: str
    function: Function
    pure: bool
    input: DataForm
    output: DataForm
    params_model: type[BaseModel] | None
    takes_context: bool
    merge: MergeStrategy | None
    merge_function: Function | None = field(default=None)
    merge_takes_params: bool = False

    @property
    def chunkable(self) -> bool:
        """Whether it can work on chunks (R32)."""
        return self.merge is not None

    @classmethod
    def from_function(
        cls,
        function: Function,
        *,
        name: str = "",
        version: str = "1.0.0",
        pure: bool = True,
        merge: Merge = None,
        description: str = "",
    ) -> Algorithm:
        """The algorithm that a function is.

        The function takes data first, then optionally `params` (a pydantic model) and `ctx` (a `ComputeContext`), and
        says what it returns. Data and result are a pydantic model, a list of models, a `pyarrow.Table`, `bytes`, or
        any plain JSON type; `Json` or `object` takes all JSON as it is.

        Args:
            function: The function; not a coroutine function.
            name: Name in the registry. Default: the function's.
            version: PEP 440.
            pure: Whether the same input always gives the same output. Impure ones are never run twice for one request.
            merge: How results of chunks become one: a strategy, or a function from the list of partial results (and
                optionally `params`) to the result. None: it cannot work on chunks.
            description: For people. Default: the first paragraph of the docstring.

        Raises:
            ValidationError: The signature is none of these; the message begins with file and line.
        """
        hints = _checked(function)
        data, params, context = _parameters(function, hints)
        input_form = data_form(function, hints[data], f"the data {data!r}")
        if "return" not in hints:
            raise refused(function, "the return type is not annotated")
        strategy, merge_function = _merge(function, merge)
        if strategy is not None and not input_form.divisible:
            raise refused(function, f"data of type {input_form.name} cannot be cut into chunks; drop `merge`")
        return cls(
            name=checked_name(function, name or getattr(function, "__name__", "")),
            version=checked_version(function, version),
            description=description or _first_paragraph(function),
            function=function,
            pure=pure,
            input=input_form,
            output=data_form(function, hints["return"], RESULT),
            params_model=params,
            takes_context=context,
            merge=strategy,
            merge_function=merge_function,
            merge_takes_params=merge_function is not None and _merge_takes_params(merge_function, params),
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Worker processes look at the function anew: what pydantic made of its annotations need not travel."""
        merge = self.merge_function or self.merge
        return _looked_at, (self.function, self.name, self.version, self.pure, merge)

    def call(self, data: object, params: BaseModel | None, context: object) -> object:
        """Calls the function.

        Args:
            data: Data in the form of `input`.
            params: An instance of `params_model`, or None if there is none.
            context: The `ComputeContext`.
        """
        if params is None:
            return self.function(data, ctx=context) if self.takes_context else self.function(data)
        if self.takes_context:
            return self.function(data, params=params, ctx=context)
        return self.function(data, params=params)

    def merged(self, partials: Sequence[object], params: BaseModel | None) -> object:
        """Calls the merge function with the list of partial results."""
        assert self.merge_function is not None
        if self.merge_takes_params:
            return self.merge_function(list(partials), params=params)
        return self.merge_function(list(partials))


@cache
def _looked_at(function: Function, name: str, version: str, pure: bool, merge: Merge) -> Algorithm:
    return Algorithm.from_function(function, name=name, version=version, pure=pure, merge=merge)


def _checked(function: Function) -> dict[str, object]:
    if not inspect.isroutine(function):
        raise refused(function, f"an algorithm is a function, not a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise refused(function, "an algorithm is pure and does not wait: `def`, not `async def`")
    if inspect.isgeneratorfunction(function):
        raise refused(function, "an algorithm returns its result, it does not yield it")
    return annotations_of(function)


def _parameters(function: Function, hints: dict[str, object]) -> tuple[str, type[BaseModel] | None, bool]:
    """Name of the data parameter, model of `params`, whether there is a `ctx`."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise refused(function, "an algorithm takes its data as the first parameter")
    data, rest = parameters[0], parameters[1:]
    if data.name in (_PARAMETERS, _CONTEXT, "self", "cls"):
        raise refused(function, f"the first parameter is the data, not {data.name!r}")
    if data.name not in hints:
        raise refused(function, f"the data {data.name!r} is not annotated")
    for parameter in rest:
        if parameter.name not in (_PARAMETERS, _CONTEXT) or parameter.kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            raise refused(function, f"{parameter.name!r}: after the data come only `params` and `ctx`")
    names = [parameter.name for parameter in rest]
    return data.name, _params_model(function, hints) if _PARAMETERS in names else None, _CONTEXT in names


def _params_model(function: Function, hints: dict[str, object]) -> type[BaseModel]:
    annotation = hints.get(_PARAMETERS)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    raise refused(function, "`params` is annotated with a pydantic model")


def _merge(function: Function, merge: Merge) -> tuple[MergeStrategy | None, Function | None]:
    if merge is None or isinstance(merge, MergeStrategy):
        if merge is MergeStrategy.CUSTOM:
            raise refused(function, "MergeStrategy.CUSTOM is said by giving the merge function itself")
        return merge, None
    return MergeStrategy.CUSTOM, merge


def _merge_takes_params(merge: Function, params: type[BaseModel] | None) -> bool:
    if not inspect.isroutine(merge) or inspect.iscoroutinefunction(merge):
        raise refused(merge, "merge is a plain function from the list of partial results to the result")
    names = list(inspect.signature(merge).parameters)
    if len(names) == 1:
        return False
    if len(names) == 2 and names[1] == _PARAMETERS and params is not None:
        return True
    raise refused(merge, "merge takes the list of partial results, and `params` if the algorithm does")


def _first_paragraph(function: Function) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split())

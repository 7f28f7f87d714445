"""Algorithms: functions of an application, looked at once when they are registered."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import TypeAlias

from pydantic import BaseModel

from onex_mesh.compute.core.data import DataForm
from onex_mesh.compute.core.signature import PARAMETERS, Function, Input, signature_of
from onex_mesh.runtime.definition import checked_name, checked_version, refused

_NO_INPUTS: Mapping[str, object] = MappingProxyType({})


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
        inputs: Its further inputs.
        output: Form of its result.
        params_model: Model of its parameters; None if it takes none.
        takes_context: Whether it takes a `ComputeContext`.
        merge: Its strategy for chunks; None if it cannot work on chunks.
        merge_function: Makes one result of the list of partial results, for CUSTOM.
        merge_takes_params: Whether the merge function takes `params=` too.
        own_merge: Whether what it makes of chunks is for its merge function only.
    """

    name: str
    version: str
    description: str
    function: Function
    pure: bool
    input: DataForm
    inputs: tuple[Input, ...]
    output: DataForm
    params_model: type[BaseModel] | None
    takes_context: bool
    merge: MergeStrategy | None
    merge_function: Function | None = field(default=None)
    merge_takes_params: bool = False
    own_merge: bool = False

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
        own_merge: bool = False,
    ) -> Algorithm:
        """The algorithm that a function is.

        The function takes data first, then further inputs by any names, optionally `params` (a pydantic model) and
        `ctx` (a `ComputeContext`), and says what it returns. Data, inputs and result are a pydantic model, a list of
        models, a `pyarrow.Table`, `bytes`, or any plain JSON type; `Json` or `object` takes all JSON as it is.

        Args:
            function: The function; not a coroutine function.
            name: Name in the registry. Default: the function's.
            version: PEP 440.
            pure: Whether the same input always gives the same output. Impure ones are never run twice for one request.
            merge: How results of chunks become one: a strategy, or a function from the list of partial results (and
                optionally `params`) to the result. None: it cannot work on chunks.
            description: For people. Default: the first paragraph of the docstring.
            own_merge: Whether what it makes of chunks is for its merge function only.

        Raises:
            ValidationError: The signature is none of these; the message begins with file and line.
        """
        signature = signature_of(function)
        strategy, merge_function = _merge(function, merge)
        if strategy is not None and not signature.data.divisible:
            raise refused(function, f"data of type {signature.data.name} cannot be cut into chunks; drop `merge`")
        params = signature.params_model
        return cls(
            name=checked_name(function, name or getattr(function, "__name__", "")),
            version=checked_version(function, version),
            description=description or _first_paragraph(function),
            function=function,
            pure=pure,
            input=signature.data,
            inputs=signature.inputs,
            output=signature.output,
            params_model=params,
            takes_context=signature.takes_context,
            merge=strategy,
            merge_function=merge_function,
            merge_takes_params=merge_function is not None and _merge_takes_params(merge_function, params),
            own_merge=own_merge,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Worker processes look at the function anew: what pydantic made of its annotations need not travel."""
        merge = self.merge_function or self.merge
        return _looked_at, (self.function, self.name, self.version, self.pure, merge)

    def call(
        self, data: object, params: BaseModel | None, context: object, inputs: Mapping[str, object] = _NO_INPUTS
    ) -> object:
        """Calls the function.

        Args:
            data: Data in the form of `input`.
            params: An instance of `params_model`, or None if there is none.
            context: The `ComputeContext`.
            inputs: Further inputs by name, in the forms of `inputs`.
        """
        named = dict(inputs)
        if params is not None:
            named[PARAMETERS] = params
        if self.takes_context:
            named["ctx"] = context
        return self.function(data, **named)

    def merged(self, partials: Sequence[object], params: BaseModel | None) -> object:
        """Calls the merge function with the list of partial results."""
        assert self.merge_function is not None
        if self.merge_takes_params:
            return self.merge_function(list(partials), params=params)
        return self.merge_function(list(partials))


@cache
def _looked_at(function: Function, name: str, version: str, pure: bool, merge: Merge) -> Algorithm:
    return Algorithm.from_function(function, name=name, version=version, pure=pure, merge=merge)


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
    if len(names) == 2 and names[1] == PARAMETERS and params is not None:
        return True
    raise refused(merge, "merge takes the list of partial results, and `params` if the algorithm does")


def _first_paragraph(function: Function) -> str:
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split())

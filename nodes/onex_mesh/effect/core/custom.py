"""Effects that an application registers: a name, a model of the parameters, a handler, and its inverse (R91)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pydantic

from onex_mesh.effect.core.compensation import Compensation, Inverse, Sources, by_name, filled_in, problems_of
from onex_mesh.effect.core.handlers import (
    first_paragraph,
    given_shape,
    model_of,
    problem_of,
    result_of,
    taken_shape,
    where_is,
)
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

BUILT_IN_TYPES = frozenset(
    {
        "database_read",
        "database_write",
        "api_call",
        "file_operation",
        "message_publish",
        "cache_update",
        "notification",
    }
)
"""Names that effects of applications cannot have."""

HandlerResult: TypeAlias = "pydantic.BaseModel | Json | bytes"
Handler: TypeAlias = Callable[..., "HandlerResult | Awaitable[HandlerResult]"]


@dataclass(frozen=True, slots=True)
class CustomEffect:
    """One effect of the application.

    Attributes:
        name: Its effect type.
        handler: `handler(parameters, context)`, plain or async. Plain ones run in a thread.
        parameters: The model that the parameters are checked against; None: the handler takes the mapping as it is.
        is_async: Whether the handler is a coroutine function.
        ledger: Whether the ledger keeps a recorded result from being overtaken by a repeat. It costs two writes to
            etcd. Without it the handler runs again if the node dies before the workflow has committed the result.
        compensation: The effect that undoes this one; None if there is none.
        timeout_s: Longest time for one attempt; None: only the caller's deadline.
        concurrency: Calls of this effect at once, on one node.
        description: For people.
    """

    name: str
    handler: Handler
    parameters: type[pydantic.BaseModel] | None
    is_async: bool
    ledger: bool = False
    compensation: Compensation | None = None
    timeout_s: float | None = None
    concurrency: int = 256
    description: str = ""

    def parse(self, parameters: Mapping[str, Json]) -> pydantic.BaseModel | Mapping[str, Json]:
        """The parameters as the handler takes them.

        Raises:
            ValidationError: They do not fit the model; all violations.
        """
        if self.parameters is None:
            return parameters
        try:
            return self.parameters.model_validate(parameters)
        except pydantic.ValidationError as error:
            raise refused(error, "") from error

    def schema(self) -> Mapping[str, Json] | None:
        """The JSON schema of the parameters; None where any mapping is taken, or a field has no schema."""
        if self.parameters is None:
            return None
        try:
            return self.parameters.model_json_schema(mode="validation")
        except pydantic.PydanticUserError:
            # A field of a type that JSON schema cannot describe: the model checks it all the same.
            return None


class EffectRegistry:
    """The effects of one application, by name."""

    def __init__(self) -> None:
        self._effects: dict[str, CustomEffect] = {}

    def register(
        self,
        name: str,
        handler: Handler,
        *,
        ledger: bool = False,
        compensate: str | Compensation = "",
        timeout_s: float | None = None,
        concurrency: int = 256,
        description: str = "",
    ) -> CustomEffect:
        """Adds an effect. The annotation of the handler's first parameter, a pydantic model, is its schema.

        Raises:
            ValidationError: The name is taken or a built-in one, or the signature is not `(parameters, context)`; file
                and line of the handler are in the message.
        """
        problem = self._problem(name, handler)
        if problem:
            raise ValidationError(f"{where_is(handler)}: effect {name!r}: {problem}", violations=((name, problem),))
        effect = CustomEffect(
            name=name,
            handler=handler,
            parameters=model_of(handler),
            is_async=inspect.iscoroutinefunction(handler),
            ledger=ledger,
            compensation=Compensation(compensate) if isinstance(compensate, str) and compensate else compensate or None,
            timeout_s=timeout_s,
            concurrency=concurrency,
            description=description or first_paragraph(handler),
        )
        self._effects[name] = effect
        return effect

    def check(self) -> None:
        """Checks what can only be checked once all effects are there: that each inverse exists and can be called.

        Raises:
            ValidationError: With every problem, and file and line of the handler of its effect.
        """
        rows = [(effect, text) for effect in self for text in self._compensation_problems(effect)]
        if rows:
            message = "\n".join(f"{where_is(effect.handler)}: effect {effect.name!r}: {text}" for effect, text in rows)
            raise ValidationError(message, violations=tuple((effect.name, text) for effect, text in rows))

    def inverse(self, name: str, parameters: Mapping[str, Json], result: Json) -> Inverse | None:
        """What undoes one execution of an effect; None if nothing is declared to.

        Args:
            name: The effect.
            parameters: What it was given, as the contract or intent had it.
            result: What it returned.

        Raises:
            ValidationError: The effect or its inverse is not registered, or the inverse does not take what it would
                be given.
        """
        effect = self._require(name)
        compensation = effect.compensation
        if compensation is None:
            return None
        undoing = self._require(compensation.effect)
        parsed = effect.parse(parameters)
        given: Json = parsed.model_dump(mode="json") if isinstance(parsed, pydantic.BaseModel) else dict(parsed)
        mapping = compensation.parameters
        if mapping is None:
            taken = taken_shape(undoing.parameters)
            mapping = {} if taken is None else by_name(_sources(effect), taken)
        try:
            made = {key: filled_in(value, {"parameters": given, "result": result}) for key, value in mapping.items()}
        except LookupError as error:
            text = f"the inverse of effect {name!r}: {error.args[0]}"
            raise ValidationError(text, violations=((name, text),)) from error
        undoing.parse(made)
        return Inverse(undoing.name, made)

    def get(self, name: str) -> CustomEffect | None:
        """The effect of a name; None where there is none."""
        return self._effects.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._effects)

    def __iter__(self) -> Iterator[CustomEffect]:
        return iter(self._effects.values())

    def __len__(self) -> int:
        return len(self._effects)

    def _problem(self, name: str, handler: Handler) -> str:
        if name in BUILT_IN_TYPES:
            return "that is the name of a built-in effect type"
        if name in self._effects:
            return f"is registered already, at {where_is(self._effects[name].handler)}"
        if not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or not name.isascii():
            return "a name has letters, digits, '_', '-' and '.' only"
        return problem_of(handler)

    def _compensation_problems(self, effect: CustomEffect) -> Iterator[str]:
        compensation = effect.compensation
        if compensation is None:
            return
        undoing = self._effects.get(compensation.effect)
        if undoing is None:
            known = ", ".join(self.names())
            yield f"compensate: there is no effect {compensation.effect!r}; registered: {known}"
            return
        for text in problems_of(compensation, _sources(effect), taken_shape(undoing.parameters)):
            yield f"compensate: {undoing.name!r} {text}"

    def _require(self, name: str) -> CustomEffect:
        effect = self._effects.get(name)
        if effect is None:
            text = f"the application has no effect {name!r}"
            raise ValidationError(text, violations=((name, text),))
        return effect


def refused(error: pydantic.ValidationError, path: str) -> ValidationError:
    """The violations of a model as the mesh reports them; values are left out."""
    rows = tuple(
        (
            ".".join((path, *(str(part) for part in row["loc"]))) if path else ".".join(str(p) for p in row["loc"]),
            row["msg"].removeprefix("Value error, "),
        )
        for row in error.errors(include_url=False, include_input=False, include_context=False)
    )
    text = "; ".join(f"{field}: {problem}" if field else problem for field, problem in rows)
    return ValidationError(text, violations=rows)


def _sources(effect: CustomEffect) -> Sources:
    return Sources(given_shape(effect.parameters), result_of(effect.handler))

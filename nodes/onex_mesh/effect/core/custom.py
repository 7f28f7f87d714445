"""Effects that an application registers: a name, a model of the parameters, a handler (R91)."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

import pydantic

from onex_mesh.effect.core.request import EffectContext
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
        compensate: Name of the effect that undoes this one; kept for the orchestrator.
        timeout_s: Longest time for one attempt; None: only the caller's deadline.
        concurrency: Calls of this effect at once, on one node.
    """

    name: str
    handler: Handler
    parameters: type[pydantic.BaseModel] | None
    is_async: bool
    ledger: bool = False
    compensate: str = ""
    timeout_s: float | None = None
    concurrency: int = 256

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
        compensate: str = "",
        timeout_s: float | None = None,
        concurrency: int = 256,
    ) -> CustomEffect:
        """Adds an effect. The annotation of the handler's first parameter, a pydantic model, is its schema.

        Raises:
            ValidationError: The name is taken or a built-in one, or the signature is not `(parameters, context)`; file
                and line of the handler are in the message.
        """
        problem = self._problem(name, handler)
        if problem:
            raise ValidationError(f"{_where(handler)}: effect {name!r}: {problem}", violations=((name, problem),))
        effect = CustomEffect(
            name=name,
            handler=handler,
            parameters=_model_of(handler),
            is_async=inspect.iscoroutinefunction(handler),
            ledger=ledger,
            compensate=compensate,
            timeout_s=timeout_s,
            concurrency=concurrency,
        )
        self._effects[name] = effect
        return effect

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
            return f"is registered already, at {_where(self._effects[name].handler)}"
        if not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or not name.isascii():
            return "a name has letters, digits, '_', '-' and '.' only"
        parameters = list(inspect.signature(handler).parameters.values())
        if len(parameters) != 2 or any(
            row.kind in (row.VAR_POSITIONAL, row.VAR_KEYWORD, row.KEYWORD_ONLY) for row in parameters
        ):
            return "the handler takes exactly (parameters, context)"
        hints = _hints(handler)
        context = hints.get(parameters[1].name)
        if context is not None and context is not EffectContext:
            return f"the handler's second parameter is an EffectContext, not {context!r}"
        first = hints.get(parameters[0].name)
        if first is not None and not (_is_model(first) or _is_mapping(first)):
            return f"the handler's first parameter is a pydantic model or a mapping, not {first!r}"
        return ""


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


def _model_of(handler: Handler) -> type[pydantic.BaseModel] | None:
    first = next(iter(inspect.signature(handler).parameters))
    hint = _hints(handler).get(first)
    return cast(type[pydantic.BaseModel], hint) if _is_model(hint) else None


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _is_mapping(hint: object) -> bool:
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(dict, origin)


def _hints(handler: Handler) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(handler))
    except NameError as error:
        raise ValidationError(f"{_where(handler)}: an annotation cannot be resolved: {error}") from error


def _where(handler: Handler) -> str:
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(handler)

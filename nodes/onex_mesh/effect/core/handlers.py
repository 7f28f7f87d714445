"""What the signature of an application's handler says: the model of its parameters, the shape of its result."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import cast

import pydantic
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from onex_mesh.effect.core.json_shapes import Shape
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import ValidationError


class _AsItTravels(GenerateJsonSchema):
    """A model that is dumped has all of its fields, those with a default too."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Whether the field is surely there."""
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None


def problem_of(handler: Callable[..., object]) -> str:
    """Why a handler cannot be one; empty if it can."""
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


def model_of(handler: Callable[..., object]) -> type[pydantic.BaseModel] | None:
    """The model of the handler's first parameter; None if it is a mapping."""
    first = next(iter(inspect.signature(handler).parameters))
    hint = _hints(handler).get(first)
    return cast(type[pydantic.BaseModel], hint) if _is_model(hint) else None


def result_of(handler: Callable[..., object]) -> Shape | None:
    """What the handler returns, as it travels; None if its annotation does not say, or says bytes."""
    hint = _hints(handler).get("return")
    if hint is None or hint is bytes:
        return None
    try:
        adapter: pydantic.TypeAdapter[object] = pydantic.TypeAdapter(cast("type[object]", hint))
        schema = adapter.json_schema(mode="serialization", by_alias=False, schema_generator=_AsItTravels)
    except (pydantic.PydanticUserError, RecursionError):
        # An annotation that pydantic has no schema for, such as an awaitable: valid, but it declares no fields.
        return None
    return Shape.of(schema)


def given_shape(model: type[pydantic.BaseModel] | None) -> Shape | None:
    """What parameters hold once they are parsed, by the names of their fields."""
    if model is None:
        return None
    return Shape.of(model.model_json_schema(mode="serialization", by_alias=False, schema_generator=_AsItTravels))


def taken_shape(model: type[pydantic.BaseModel] | None) -> Shape | None:
    """What may be given as parameters."""
    return None if model is None else Shape.of(model.model_json_schema(mode="validation"))


def where_is(handler: Callable[..., object]) -> str:
    """File and line of a handler."""
    code = getattr(inspect.unwrap(handler), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(handler)


def first_paragraph(handler: Callable[..., object]) -> str:
    """The first paragraph of the docstring, on one line."""
    text = inspect.getdoc(handler) if hasattr(handler, "__code__") else ""
    return " ".join((text or "").partition("\n\n")[0].split())


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, pydantic.BaseModel)


def _is_mapping(hint: object) -> bool:
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(dict, origin)


def _hints(handler: Callable[..., object]) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(handler))
    except NameError as error:
        raise ValidationError(f"{where_is(handler)}: an annotation cannot be resolved: {error}") from error

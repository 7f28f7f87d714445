"""States, payloads and results on their way from and to plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pydantic
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from onex_mesh.runtime.errors import StateConsistencyError, ValidationError

VIOLATIONS_MAX = 100
_SCALARS = frozenset({str, int, float, bool, type(None)})


def read_model(model: type[BaseModel], value: object) -> BaseModel:
    """An instance of a model, from plain JSON.

    Raises:
        pydantic.ValidationError: It does not fit.
    """
    if model.model_config.get("strict"):
        # JSON has no dates, decimals or tuples; pydantic knows that of JSON text, not of Python values.
        return model.model_validate_json(json.dumps(value))
    return model.model_validate(value)


def read_state(model: type[BaseModel], value: object, root: str = "current_state") -> BaseModel:
    """A state that was given or stored.

    Raises:
        StateConsistencyError: It does not fit its reducer (R67).
    """
    try:
        return read_model(model, value)
    except pydantic.ValidationError as error:
        violations = violations_of(error, root)
        raise StateConsistencyError(
            f"the state is not a {model.__name__}: {summary_of(violations)}",
            error_context={"violations": [{"field": field, "description": text} for field, text in violations]},
        ) from None


def checked_params(model: type[BaseModel], value: object, root: str = "reduction_config.parameters") -> BaseModel:
    """The parameters of a method or an aggregator; `root` says where they stand.

    Raises:
        ValidationError: They do not fit.
    """
    try:
        return read_model(model, value)
    except pydantic.ValidationError as error:
        raise invalid(error, root) from None


def write_model(value: BaseModel) -> dict[str, object]:
    """A model as plain JSON.

    Raises:
        ValueError: A field holds what its type does not allow.
    """
    try:
        document: dict[str, object] = value.model_dump(mode="json", by_alias=True, warnings="error")
    except PydanticSerializationError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return document


def plain(value: object) -> object:
    """Plain data of a value that may hold models at any depth.

    Raises:
        ValueError: A field of a model holds what its type does not allow.
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, BaseModel):
        return write_model(value)
    if isinstance(value, Mapping):
        return {key: item if type(item) in _SCALARS else plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) in _SCALARS else plain(item) for item in value]
    return value


def invalid(error: pydantic.ValidationError, root: str) -> ValidationError:
    """The error of the mesh that says what pydantic found."""
    violations = violations_of(error, root)
    return ValidationError(summary_of(violations), violations=violations)


def violations_of(error: pydantic.ValidationError, root: str) -> tuple[tuple[str, str], ...]:
    """Path, and what is wrong there, of each violation; at most 100."""
    rows = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple((path_of(root, row["loc"]), row["msg"]) for row in rows[:VIOLATIONS_MAX])


def summary_of(violations: Sequence[tuple[str, str]]) -> str:
    """The first violation, and how many more there are."""
    path, text = violations[0]
    return f"{path}: {text}" + (f" (and {len(violations) - 1} more)" if len(violations) > 1 else "")


def path_of(root: str, parts: Sequence[int | str]) -> str:
    """A path such as "input_data[3].price"."""
    return root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)

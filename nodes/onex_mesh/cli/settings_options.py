"""Flags for every setting of a node, made from `NodeSettings` so that none can be missing."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Annotated, TypeVar, get_type_hints

import typer

from onex_mesh.runtime.settings import NodeSettings

_Value = TypeVar("_Value")
_PANEL = "Settings"


def with_settings(command: Callable[..., _Value]) -> Callable[..., _Value]:
    """A command with a flag for each setting; those given arrive as its parameter `settings`, by name."""

    @functools.wraps(command)
    def wrapper(**arguments: object) -> _Value:
        settings = {name: arguments.pop(name) for name in NodeSettings.model_fields}
        given = {name: value for name, value in settings.items() if value is not None}
        return command(settings=given, **arguments)

    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "settings"
    ]
    parameters += [_parameter(name) for name in NodeSettings.model_fields]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by Typer
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del wrapper.__wrapped__  # or Typer would look through to the command's own signature
    return wrapper


def _parameter(name: str) -> inspect.Parameter:
    field = NodeSettings.model_fields[name]
    default = "" if field.default in (None, "", False) else f" Default: {field.default}."
    flag = "--" + name.replace("_", "-")
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag,
        help=f"{field.description}{default}",
        rich_help_panel=_PANEL,
        show_default=False,
    )
    # None, for not given, is told apart from every value: the environment and the default come after the flag.
    annotation = operator.getitem(Annotated, (operator.or_(field.annotation, None), option))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

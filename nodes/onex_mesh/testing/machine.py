"""What the kit and the commands take for a state machine."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from onex_mesh.app import App
from onex_mesh.reducer.core import Fsm
from onex_mesh.reducer.core.declarative.build import read_machine
from onex_mesh.runtime.errors import ValidationError

Source: TypeAlias = Fsm | App | Path | type
"""A machine; an App that has it; a YAML file; or the class that declares it."""


def machine_of(source: Source, name: str = "", version: str = "") -> Fsm:
    """The state machine that something stands for.

    Args:
        source: See `Source`.
        name: Which one of an App. Default: the only one that it has.
        version: Which version of an App's. Default: the newest.

    Raises:
        ValidationError: There is none, or several and no name.
        ReducerNotFoundError: The App has none of that name.
    """
    if isinstance(source, Fsm):
        return source
    if isinstance(source, Path):
        return read_machine(source)
    if isinstance(source, type):
        return Fsm.from_class(source)
    machines = sorted({reducer.name for reducer in source.reducers if isinstance(reducer, Fsm)})
    if not name:
        if len(machines) != 1:
            known = ", ".join(machines) or "there are none"
            raise ValidationError(f"name one of the state machines of {source.name}: {known}")
        name = machines[0]
    reducer = source.reducers.get(name, version)
    if not isinstance(reducer, Fsm):
        raise ValidationError(f"{name!r} is an aggregator, not a state machine")
    return reducer

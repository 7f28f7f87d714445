"""The reducers that a node knows, by name and version: state machines and aggregators."""

from __future__ import annotations

from collections.abc import Iterator

from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.runtime.definition import Versions
from onex_mesh.runtime.errors import ReducerNotFoundError


class ReducerRegistry:
    """Reducers by name and version; without a version, the newest by PEP 440."""

    def __init__(self) -> None:
        self._reducers: Versions[Fsm | Aggregator] = Versions()

    def add(self, reducer: Fsm | Aggregator) -> None:
        """Registers a state machine or an aggregator.

        Raises:
            ValidationError: Its name and version are taken.
        """
        self._reducers.add(reducer.name, reducer.version, reducer, reducer.definition)

    def add_class(
        self, definition: type, *, name: str = "", version: str = "1.0.0", description: str = ""
    ) -> Fsm | Aggregator:
        """Registers the reducer that a class declares.

        A class with a `state_model` is a state machine (see `Fsm.from_class`), one with `initial`, `step` and `finish`
        an aggregator (see `Aggregator.from_class`).

        Raises:
            ValidationError: Something of it is wrong, or its name and version are taken; with file and line.
            PurityViolationError: A part of it is not pure; with file and line.
        """
        reducer: Fsm | Aggregator
        if hasattr(definition, "step") and not hasattr(definition, "state_model"):
            reducer = Aggregator.from_class(definition, name=name, version=version, description=description)
        else:
            reducer = Fsm.from_class(definition, name=name, version=version, description=description)
        self.add(reducer)
        return reducer

    def get(self, name: str, version: str = "") -> Fsm | Aggregator:
        """The reducer of that name and version; the newest if no version is given.

        Raises:
            ReducerNotFoundError: There is none; the message says which there are.
        """
        reducer = self._reducers.get(name, version)
        if reducer is not None:
            return reducer
        versions = self._reducers.versions(name)
        if versions:
            raise ReducerNotFoundError(
                f"the reducer {name!r} has no version {version!r}; it has {', '.join(versions)}",
                error_context={"reducer": name, "version": version, "versions": versions},
            )
        known = ", ".join(self._reducers.names()) or "none"
        raise ReducerNotFoundError(
            f"no reducer {name!r} is registered; known: {known}",
            error_context={"reducer": name, "known": self._reducers.names()},
        )

    def names(self) -> list[str]:
        """All names, sorted."""
        return self._reducers.names()

    def __iter__(self) -> Iterator[Fsm | Aggregator]:
        """All reducers, by name and then by version."""
        return iter(self._reducers)

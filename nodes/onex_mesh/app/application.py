"""The App: the algorithms, reducers, effects and workflows of one application, under one name and version."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from packaging.version import InvalidVersion, Version

from onex.v1 import workflow_pb2
from onex_mesh.app.pure_algorithm import check_algorithm
from onex_mesh.app.workflows import WorkflowDefinition, register_workflow
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.core.algorithm import Merge
from onex_mesh.compute.core.signature import Function
from onex_mesh.effect.core.compensation import Compensation
from onex_mesh.effect.core.custom import EffectRegistry, Handler
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.reducer.core import Fsm, ReducerRegistry
from onex_mesh.reducer.core.declarative.build import read_machine
from onex_mesh.runtime.errors import ValidationError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_Class = TypeVar("_Class", bound=type)
_Function = TypeVar("_Function", bound=Function)
_Handler = TypeVar("_Handler", bound=Handler)


class App:
    """What an application brings to the mesh; each kind of node takes its part of it.

    Args:
        name: Name of the application, for people.
        version: Its version (PEP 440); nodes announce it, and dependencies of workflows are checked against it.
        description: For people.

    Raises:
        ValidationError: The name or the version is malformed.
    """

    def __init__(self, name: str, *, version: str = "0.1.0", description: str = "") -> None:
        if not _NAME.fullmatch(name):
            raise ValidationError(f"{_caller()}: the name {name!r} is not {_NAME.pattern}")
        try:
            Version(version)
        except InvalidVersion as error:
            raise ValidationError(f"{_caller()}: {version!r} is not a version (PEP 440)") from error
        self.name = name
        self.version = version
        self.description = description
        self.algorithms = AlgorithmRegistry()
        self.reducers = ReducerRegistry()
        self.effects = EffectRegistry()
        self.workflows = WorkflowRegistry()

    def algorithm(
        self,
        *,
        name: str = "",
        version: str = "1.0.0",
        pure: bool = True,
        merge: Merge = None,
        description: str = "",
    ) -> Callable[[_Function], _Function]:
        """Registers an algorithm: a plain function of data and, where it needs them, `params` and `ctx`.

        What it takes and returns follows from its annotations: a pydantic model, a list of models, a `pyarrow.Table`,
        `bytes`, or plain JSON types. `params` is a pydantic model, `ctx` a `ComputeContext`.

        Args:
            name: Name in the registry. Default: the function's.
            version: PEP 440.
            pure: Whether the same input always gives the same output.
            merge: How the results of chunks become one: a `MergeStrategy`, or a function from the list of partial
                results to the result. Default: it does not work on chunks.
            description: For people. Default: the first paragraph of the docstring.

        Raises:
            ValidationError: The signature does not fit, or name and version are taken; with file and line.
            PurityViolationError: It is declared pure and does what is not; likewise.
        """

        def register(function: _Function) -> _Function:
            if pure:
                check_algorithm(function, *(merge,) if callable(merge) else ())
            self.algorithms.add_function(
                function, name=name, version=version, pure=pure, merge=merge, description=description
            )
            return function

        return register

    def reducer(self, *, name: str = "", version: str = "1.0.0", description: str = "") -> Callable[[_Class], _Class]:
        """Registers a reducer: a class of transitions over a frozen pydantic state, or an aggregator.

        A state machine has `state_model`, optionally `initial` and `final`, and static methods under `@transition`; an
        aggregator has the static methods `initial`, `step` and `finish`.

        Args:
            name: Name in the registry. Default: the class' in snake case.
            version: PEP 440.
            description: For people. Default: the first paragraph of the docstring.

        Raises:
            ValidationError: Something of it is wrong, or name and version are taken; with file and line.
            PurityViolationError: A part of it does what is not pure; likewise.
        """

        def register(definition: _Class) -> _Class:
            self.reducers.add_class(definition, name=name, version=version, description=description)
            return definition

        return register

    def reducer_file(self, path: str | Path) -> Fsm:
        """Registers the state machine in a YAML file and returns it.

        Args:
            path: The file, relative to the file that calls.

        Raises:
            ValidationError: Something of it is wrong, or its name and version are taken; with file and line.
        """
        folder = Path(sys._getframe(1).f_code.co_filename).resolve().parent
        machine = read_machine(folder / path)
        self.reducers.add(machine)
        return machine

    def effect(
        self,
        name: str,
        *,
        ledger: bool = False,
        compensate: str | Compensation = "",
        timeout_s: float | None = None,
        concurrency: int = 256,
        description: str = "",
    ) -> Callable[[_Handler], _Handler]:
        """Registers an effect of the application: a handler `(parameters, context)`, plain or async.

        The annotation of `parameters`, a pydantic model, is what contracts and intents are checked against.

        Args:
            name: Effect type; not one of the built-in ones.
            ledger: Keep the recorded result so that a repeat never runs the handler again.
            compensate: The effect that undoes this one, by its name or as a `Compensation` with its parameters. That
                it exists and can be called is checked when the App is loaded.
            timeout_s: Longest time for one attempt. Default: the caller's deadline.
            concurrency: Most calls at once on one node.
            description: For people. Default: the first paragraph of the docstring.

        Raises:
            ValidationError: The name is taken or the signature does not fit; with file and line of the handler.
        """

        def register(handler: _Handler) -> _Handler:
            self.effects.register(
                name,
                handler,
                ledger=ledger,
                compensate=compensate,
                timeout_s=timeout_s,
                concurrency=concurrency,
                description=description,
            )
            return handler

        return register

    def workflow(self, definition: WorkflowDefinition) -> workflow_pb2.OrchestratorContract:
        """Registers a workflow under its name and returns its contract.

        Args:
            definition: The path of a YAML file, relative to the file that calls; a mapping of the same form; or an
                OrchestratorContract.

        Raises:
            ValidationError: It does not fit or its name is taken; with file, line and field.
        """
        caller = sys._getframe(1)
        folder = Path(caller.f_code.co_filename).resolve().parent
        where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        return register_workflow(self.workflows, definition, folder=folder, where=where)

    def __repr__(self) -> str:
        return f"App({self.name!r}, version={self.version!r})"


def _caller() -> str:
    """File and line of the code that makes an App."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"

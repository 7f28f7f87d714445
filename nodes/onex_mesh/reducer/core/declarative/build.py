"""From a file to a state machine: the same `Fsm` that a class declares, so what works for one works for the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import cast

import pydantic

from onex_mesh.reducer.core.analysis import Finding, analysed
from onex_mesh.reducer.core.declarative.compiler import Compiler
from onex_mesh.reducer.core.declarative.form import MachineForm, StateForm, TransitionForm, read_form
from onex_mesh.reducer.core.declarative.records import records_of
from onex_mesh.reducer.core.declarative.schema import STATE, Schema
from onex_mesh.reducer.core.declarative.steps import DeclaredEntry, DeclaredExit, DeclaredTransition
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.transition import ANY_STATE, Call, Transition
from onex_mesh.runtime.definition import checked_version
from onex_mesh.runtime.document import Document, read_document
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.violations import Violations


def read_machine(path: Path) -> Fsm:
    """The state machine in a YAML file.

    Raises:
        ValidationError: It cannot be read, a field, type or expression does not fit, a state cannot be reached or left,
            or a transition can never be taken; file, line and field of each are in the message.
    """
    return machine_of(read_document(path))


def machine_of(document: Document) -> Fsm:
    """The state machine that a document describes.

    Raises:
        ValidationError: As of `read_machine`.
    """
    return _Builder(document, read_form(document)).build()


class _Definition:
    """Stands where a class would: says where the machine is defined."""

    def __init__(self, place: str) -> None:
        self.__onex_place__ = place


class _Builder:
    """Builds one machine; collects what is wrong as it goes."""

    def __init__(self, document: Document, form: MachineForm) -> None:
        self._document = document
        self._form = form
        self._violations = Violations()
        self._names = list(form.states)

    def build(self) -> Fsm:
        form = self._form
        self._check_names()
        self._check_version()
        self._stop_if_refused()
        states = cast(
            "type[StrEnum]",
            # Members are numbered: some names, such as `mro`, an enum keeps for itself.
            StrEnum(f"{form.name}_states", {f"S{index}": name for index, name in enumerate(self._names)}),
        )
        records = records_of(form, self._violations)
        self._stop_if_refused()
        try:
            schema = Schema(records, status=(form.status, states))
            initial = schema.model(STATE).model_validate({form.status: form.initial})
        except pydantic.ValidationError as error:
            for row in error.errors():
                self._violations.add(f"data.{row['loc'][0]}", f"the default does not fit: {row['msg']}")
            self._stop_if_refused()
            raise
        compiler = Compiler(schema, form, self._place, self._violations)
        transitions = self._transitions(compiler, schema)
        entries, exits = self._hooks(compiler)
        self._stop_if_refused()
        fsm = Fsm(
            name=form.name,
            version=form.version,
            description=" ".join(form.description.split()),
            definition=cast("type", _Definition(self._place("name"))),
            model=schema.model(STATE),
            status_field=form.status,
            states=states,
            initial=initial,
            final=frozenset(form.final),
            transitions=transitions,
            entries=entries,
            exits=exits,
            is_checked=True,
        )
        self._refuse_findings(analysed(fsm))
        return fsm

    def _check_names(self) -> None:
        form, known = self._form, set(self._names)
        if len(known) < len(self._names):
            self._violations.add("states", "a state is there twice")
        for index, name in enumerate(form.final):
            self._require_state(f"final[{index}]", name, known)
        self._require_state("initial", form.initial, known)
        for index, row in enumerate(form.transitions):
            path = f"transitions[{index}]"
            for position, name in enumerate(_listed(row.source)):
                where = f"{path}.from" if isinstance(row.source, str) else f"{path}.from[{position}]"
                if name != ANY_STATE:
                    self._require_state(where, name, known)
                    if name in form.final:
                        self._violations.add(where, f"{name} is final: nothing leads out of it")
            if row.target is not None:
                self._require_state(f"{path}.to", row.target, known)
            if len({guard.name for guard in row.guards}) < len(row.guards):
                self._violations.add(f"{path}.guards", "a name is there twice: a refusal could not tell which")
            if row.guard is not None and row.guards:
                self._violations.add(f"{path}.guard", "give `guard`, or `guards` with names, not both")
        if isinstance(form.states, dict):
            for name, state in form.states.items():
                if state is not None and state.exit and name in form.final:
                    self._violations.add(f"states.{name}.exit", f"{name} is final: it is never left")

    def _check_version(self) -> None:
        try:
            checked_version(self, self._form.version)
        except ValidationError:
            self._violations.add("version", f"{self._form.version!r} is not a version such as 1.0.0 (PEP 440)")

    def _require_state(self, path: str, name: str, known: set[str]) -> None:
        if name not in known:
            self._violations.add(path, f"{name!r} is no state; there are {', '.join(self._names)}")

    def _transitions(self, compiler: Compiler, schema: Schema) -> dict[str, tuple[Transition, ...]]:
        found: dict[str, tuple[Transition, ...]] = {}
        for index, row in enumerate(self._form.transitions):
            path = f"transitions[{index}]"
            record = compiler.payload_record(row, index)
            declared = compiler.transition(row, path, record)
            guard = compiler.guard(row, path, record)
            if declared is None or (guard is None and (row.guard or row.guards)):
                continue
            takes = record is not None
            found[row.action] = (
                *found.get(row.action, ()),
                Transition(
                    action=row.action,
                    sources=self._sources(row),
                    any_source=ANY_STATE in _listed(row.source),
                    target=row.target,
                    call=Call(declared, takes, True),
                    guard=None if guard is None else Call(guard, takes, True),
                    payload_model=schema.model(record) if record is not None else None,
                    stays=row.target is None,
                ),
            )
        return found

    def _sources(self, row: TransitionForm) -> frozenset[str]:
        names = _listed(row.source)
        return frozenset(self._names) - set(self._form.final) if ANY_STATE in names else frozenset(names)

    def _hooks(self, compiler: Compiler) -> tuple[dict[str, Call], dict[str, Call]]:
        entries: dict[str, Call] = {}
        exits: dict[str, Call] = {}
        states: Mapping[str, StateForm | None] = self._form.states if isinstance(self._form.states, dict) else {}
        for name, state in states.items():
            if state is None:
                continue
            path = f"states.{name}"
            if state.assign or state.entry:
                entry: DeclaredEntry | None = compiler.entry(state, path)
                if entry is not None:
                    entries[name] = Call(entry, False, True)
            if state.exit:
                leaving: DeclaredExit | None = compiler.exit(state, path)
                if leaving is not None:
                    exits[name] = Call(leaving, False, True)
        return entries, exits

    def _refuse_findings(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if finding.kind != "endless":
                # A circle may be meant; `reducer graph` tells of it.
                self._violations.add(self._path_of(finding), finding.text)
        self._stop_if_refused()

    def _path_of(self, finding: Finding) -> str:
        if finding.transition is not None and isinstance(finding.transition.call.function, DeclaredTransition):
            return finding.transition.call.function.path
        if isinstance(self._form.states, dict):
            return f"states.{finding.state}"
        return f"states[{self._names.index(finding.state)}]" if finding.state in self._names else "states"

    def _place(self, path: str) -> str:
        line = self._document.line_of(path)
        return f"{self._document.source}:{line}" if line else self._document.source

    def _stop_if_refused(self) -> None:
        if self._violations.found:
            raise self._document.refused(tuple(self._violations.found))


def _listed(source: str | list[str]) -> list[str]:
    return [source] if isinstance(source, str) else source

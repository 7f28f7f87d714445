"""From the form of a file to what its machine does: every expression is compiled, and what is wrong is collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import pydantic
from cel_expr_python import cel

from onex_mesh.reducer.core.declarative.form import IntentForm, MachineForm, RetryForm, StateForm, TransitionForm
from onex_mesh.reducer.core.declarative.guards import DeclaredGuard
from onex_mesh.reducer.core.declarative.language import ExpressionError, Language, Program
from onex_mesh.reducer.core.declarative.pool import PACKAGE
from onex_mesh.reducer.core.declarative.schema import CONTEXT, PAYLOAD, STATE, Schema
from onex_mesh.reducer.core.declarative.scope import no_scope
from onex_mesh.reducer.core.declarative.steps import (
    Assignments,
    DeclaredEntry,
    DeclaredExit,
    DeclaredIntent,
    DeclaredTransition,
)
from onex_mesh.reducer.core.declarative.templates import Template
from onex_mesh.reducer.core.intent import IntentType, Retry
from onex_mesh.runtime.errors import ReductionFailedError
from onex_mesh.runtime.violations import Violations


class Compiler:
    """Compiles the parts of one file."""

    def __init__(self, schema: Schema, form: MachineForm, place: Callable[[str], str], violations: Violations) -> None:
        self._schema = schema
        self._form = form
        self._place = place
        self._violations = violations
        self._base = {
            "state": cel.Type(f"{PACKAGE}.{STATE}"),
            "ctx": cel.Type(f"{PACKAGE}.{CONTEXT}"),
        }

    def payload_record(self, row: TransitionForm, index: int) -> str | None:
        """Name of the record of a transition's payload."""
        if isinstance(row.payload, dict):
            return f"{PAYLOAD}{index}"
        return row.payload

    def transition(self, row: TransitionForm, path: str, record: str | None) -> DeclaredTransition | None:
        """The transition of a row; None if something of it is wrong."""
        variables = self._with_payload(record)
        assign = self._assignments(row.assign, f"{path}.assign", variables)
        intents = self._intents(row.intents, f"{path}.intents", variables)
        if assign is None or intents is None:
            return None
        change = {} if row.target is None else {self._form.status: row.target}
        return DeclaredTransition(self._schema, change, assign, intents, record, path, self._place(path), row.action)

    def guard(self, row: TransitionForm, path: str, record: str | None) -> DeclaredGuard | None:
        """The guard of a row; None if it has none, or something of it is wrong."""
        written = [(f"{path}.guard", row.guard)] if row.guard is not None else []
        written += [(f"{path}.guards[{index}].when", guard.when) for index, guard in enumerate(row.guards)]
        if not written:
            return None
        language = Language(self._schema, self._with_payload(record))
        conditions = []
        for where, source in written:
            try:
                conditions.append(language.condition(source, self._place(where)))
            except ExpressionError as error:
                self._violations.add(where, str(error))
                return None
        name = ", ".join(guard.name for guard in row.guards) or str(row.guard)
        return DeclaredGuard(self._schema, conditions, record, self._place(written[0][0]), name)

    def entry(self, state: StateForm, path: str) -> DeclaredEntry | None:
        """What happens when the state is entered."""
        assign = self._assignments(state.assign, f"{path}.assign", self._base)
        intents = self._intents(state.entry, f"{path}.entry", self._base)
        if assign is None or intents is None:
            return None
        return DeclaredEntry(self._schema, assign, intents, self._place(path), _named(state.assign, state.entry))

    def exit(self, state: StateForm, path: str) -> DeclaredExit | None:
        """What happens when the state is left."""
        intents = self._intents(state.exit, f"{path}.exit", self._base)
        return (
            None if intents is None else DeclaredExit(self._schema, intents, self._place(path), _named((), state.exit))
        )

    def _with_payload(self, record: str | None) -> dict[str, cel.Type]:
        return self._base if record is None else {**self._base, "payload": cel.Type(f"{PACKAGE}.{record}")}

    def _assignments(
        self, written: Mapping[str, str], path: str, variables: Mapping[str, cel.Type]
    ) -> Assignments | None:
        language = Language(self._schema, variables)
        known = {field.name: field for field in self._schema.record(STATE).fields}
        programs: dict[str, Program] = {}
        for name, source in written.items():
            where = f"{path}.{name}"
            if name == self._form.status:
                self._violations.add(where, "the state of the machine is changed by `to`")
            elif name not in known:
                self._violations.unknown(path, name, [key for key in known if key != self._form.status])
            else:
                try:
                    programs[name] = language.value(source, known[name].type, self._place(where))
                    self._check_constant(programs[name], name, where)
                except ExpressionError as error:
                    self._violations.add(where, str(error))
        return Assignments(programs) if len(programs) == len(written) else None

    def _check_constant(self, program: Program, field: str, path: str) -> None:
        """What always fails is told now."""
        if not program.is_constant:
            return
        try:
            self._schema.check_field(STATE, field, program.plain(no_scope(self._schema)))
        except pydantic.ValidationError as error:
            self._violations.add(path, f"{program.source}: never fits: {error.errors()[0]['msg']}")
        except ReductionFailedError as error:
            self._violations.add(path, f"always fails: {error.message.removeprefix(f'{program.place}: ')}")

    def _intents(
        self, written: Sequence[IntentForm], path: str, variables: Mapping[str, cel.Type]
    ) -> list[DeclaredIntent] | None:
        before = len(self._violations.found)
        with_next = {**variables, "next": cel.Type(f"{PACKAGE}.{STATE}")}
        intents = [self._intent(form, f"{path}[{index}]", with_next) for index, form in enumerate(written)]
        return None if len(self._violations.found) > before else intents

    def _intent(self, form: IntentForm, path: str, variables: Mapping[str, cel.Type]) -> DeclaredIntent:
        language = Language(self._schema, variables)
        each: Program | None = None
        if form.for_each is not None:
            where = f"{path}.for_each"
            try:
                each = language.compile(form.for_each, self._place(where))
                item = language.element(form.for_each, self._place(where))
                language = Language(self._schema, {**variables, "item": item})
            except ExpressionError as error:
                self._violations.add(where, str(error))
        when: Program | None = None
        if form.when is not None:
            try:
                when = language.condition(form.when, self._place(f"{path}.when"))
            except ExpressionError as error:
                self._violations.add(f"{path}.when", str(error))
        if not form.target:
            self._violations.add(f"{path}.target", "an intent names its target")
        if (form.type == IntentType.CUSTOM.value) != bool(form.custom_type):
            self._violations.add(f"{path}.custom_type", "goes with the type custom")
        return DeclaredIntent(
            form=form,
            payload=Template(form.payload, language, f"{path}.payload", self._place, self._violations.add),
            key=Template(form.key, language, f"{path}.key", self._place, self._violations.add),
            when=when,
            each=each,
            retry=None if form.retry is None else _retry(form.retry),
            place=self._place(path),
        )


def _named(assigned: Iterable[str], intents: Iterable[IntentForm]) -> str:
    """What a function without a name does, for diagrams: "count, notification to mail"."""
    return ", ".join((*assigned, *(f"{intent.type} to {intent.target}" for intent in intents)))


def _retry(form: RetryForm) -> Retry:
    return Retry(
        max_retries=form.max_retries,
        initial_backoff=_span(form.initial_backoff_s),
        max_backoff=_span(form.max_backoff_s),
        backoff_multiplier=form.backoff_multiplier,
        jitter=form.jitter,
        max_elapsed=_span(form.max_elapsed_s),
        retry_on=tuple(form.retry_on),
    )


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)

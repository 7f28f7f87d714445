"""What a machine does, compiled: guards, transitions, and what happens when a state is entered or left."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pydantic
from cel_expr_python import cel
from pydantic import BaseModel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.declarative.form import IntentForm, MachineForm, RetryForm, StateForm, TransitionForm
from onex_mesh.reducer.core.declarative.language import ExpressionError, Language, Program
from onex_mesh.reducer.core.declarative.records import CONTEXT, PAYLOAD
from onex_mesh.reducer.core.declarative.schema import PACKAGE, STATE, Schema
from onex_mesh.reducer.core.declarative.scope import Scope
from onex_mesh.reducer.core.declarative.templates import Template
from onex_mesh.reducer.core.documents import summary_of, violations_of, write_model
from onex_mesh.reducer.core.intent import Intent, IntentType, Priority, Retry
from onex_mesh.reducer.core.transition import Next
from onex_mesh.runtime.errors import ReductionFailedError, StateConsistencyError
from onex_mesh.runtime.violations import Violations

_ITEMS_MAX = 1_000
"""Intents that one `for_each` may make."""
_DRAWS = re.compile(r"\b(uuid|random_int)\s*\(")
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeclaredIntent:
    """An intent whose fields are templates."""

    form: IntentForm
    payload: Template
    key: Template
    when: Program | None
    each: Program | None
    retry: Retry | None
    place: str

    def emitted(self, scope: Scope) -> list[Intent]:
        """The intents that it comes to: none, one, or one for each item."""
        if self.each is None:
            return self._one(scope)
        items = self.each.evaluate(scope)
        if not isinstance(items, list):
            raise ReductionFailedError(f"{self.place}: for_each: {self.each.source} gave no list")
        if len(items) > _ITEMS_MAX:
            raise ReductionFailedError(f"{self.place}: for_each: {len(items)} items; at most {_ITEMS_MAX} are taken")
        return [intent for item in items for intent in self._one(scope.with_item(item))]

    def _one(self, scope: Scope) -> list[Intent]:
        if self.when is not None and self.when.evaluate(scope) is not True:
            return []
        payload = self.payload.evaluate(scope)
        key = self.key.evaluate(scope)
        assert isinstance(payload, Mapping)
        return [
            Intent(
                type=IntentType(self.form.type),
                target=self.form.target,
                payload=payload,
                priority=Priority(self.form.priority),
                idempotency_key=str(key),
                retry=self.retry,
                metadata=self.form.metadata,
                custom_type=self.form.custom_type,
            )
        ]


@dataclass(frozen=True, slots=True)
class Assignments:
    """New values of fields of the state."""

    fields: Mapping[str, Program]

    def applied(self, schema: Schema, change: Mapping[str, object], scope: Scope) -> BaseModel:
        """The state with the fields changed.

        Raises:
            ReductionFailedError: An expression failed.
            StateConsistencyError: A value does not fit its field.
        """
        values = {name: program.plain(scope) for name, program in self.fields.items()}
        document = {**scope.document("state"), **change, **values}
        try:
            return schema.model(STATE).model_validate(document)
        except pydantic.ValidationError as error:
            violations = violations_of(error, "assign")
            name = str(error.errors()[0]["loc"][0])
            place = f"{self.fields[name].place}: " if name in self.fields else ""
            raise StateConsistencyError(f"{place}{summary_of(violations)}") from None


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredTransition:
    """A transition, called as a function of a class would be."""

    schema: Schema
    change: Mapping[str, object]
    assign: Assignments
    intents: Sequence[DeclaredIntent]
    payload_record: str | None
    path: str
    __onex_place__: str
    __name__: str

    def __call__(self, state: BaseModel, *rest: object) -> Next[BaseModel]:
        """State, payload where there is one, and ctx → new state and intents."""
        scope = _scope(self.schema, state, rest, self.payload_record)
        new = self.assign.applied(self.schema, self.change, scope)
        return Next(new, _emitted(self.intents, new, scope))


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredEntry:
    """What happens when a state is entered."""

    schema: Schema
    assign: Assignments
    intents: Sequence[DeclaredIntent]
    __onex_place__: str
    __name__: str

    def __call__(self, state: BaseModel, context: ReducerContext) -> Next[BaseModel]:
        """The state that was entered → the state as it is then, and intents."""
        scope = _scope(self.schema, state, (context,))
        new = self.assign.applied(self.schema, {}, scope) if self.assign.fields else state
        return Next(new, _emitted(self.intents, new, scope))


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredExit:
    """What happens when a state is left."""

    schema: Schema
    intents: Sequence[DeclaredIntent]
    __onex_place__: str
    __name__: str

    def __call__(self, state: BaseModel, context: ReducerContext) -> list[Intent]:
        """The state that is left → intents."""
        return _emitted(self.intents, state, _scope(self.schema, state, (context,)))


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredGuard:
    """A guard; false as soon as one of its conditions is."""

    schema: Schema
    conditions: Sequence[Program]
    payload_record: str | None
    source: str
    __onex_place__: str
    __name__: str

    def __call__(self, state: BaseModel, *rest: object) -> bool:
        """State, payload where there is one, and ctx → whether the transition may be taken."""
        scope = _scope(self.schema, state, rest, self.payload_record)
        return all(condition.evaluate(scope) is True for condition in self.conditions)

    def constant(self, status_field: str, status: str) -> bool | None:
        """What it always says in a state, where that can be told: it reads nothing but the FSM state, or nothing."""
        own = f"{STATE.lower()}.{status_field}"
        for condition in self.conditions:
            source = condition.source.replace(own, f"'{status}'")
            if _DRAWS.search(source):
                continue
            try:
                # Without variables: an expression that still reads one does not compile.
                program = Language(self.schema, {}).compile(source, condition.place)
            except ExpressionError:
                continue
            scope = Scope(self.schema, ReducerContext(now=_ANY_TIME, action_id=""), {})
            try:
                if program.evaluate(scope) is False:
                    return False
            except ReductionFailedError:
                return False
        return None


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
        source = " && ".join(f"({program.source})" for program in conditions)
        return DeclaredGuard(self._schema, conditions, record, source, self._place(written[0][0]), name)

    def entry(self, state: StateForm, path: str) -> DeclaredEntry | None:
        """What happens when the state is entered."""
        assign = self._assignments(state.assign, f"{path}.assign", self._base)
        intents = self._intents(state.entry, f"{path}.entry", self._base)
        if assign is None or intents is None:
            return None
        return DeclaredEntry(self._schema, assign, intents, self._place(path), "entry")

    def exit(self, state: StateForm, path: str) -> DeclaredExit | None:
        """What happens when the state is left."""
        intents = self._intents(state.exit, f"{path}.exit", self._base)
        return None if intents is None else DeclaredExit(self._schema, intents, self._place(path), "exit")

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
                except ExpressionError as error:
                    self._violations.add(where, str(error))
        return Assignments(programs) if len(programs) == len(written) else None

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


def _scope(schema: Schema, state: BaseModel, rest: Sequence[object], payload_record: str | None = None) -> Scope:
    """What the expressions of a function read: state, payload where there is one, and ctx, as it is called."""
    context = rest[-1]
    assert isinstance(context, ReducerContext)
    documents = {"state": (STATE, write_model(state))}
    if payload_record is not None and len(rest) > 1:
        payload = rest[0]
        assert isinstance(payload, BaseModel)
        documents["payload"] = (payload_record, write_model(payload))
    return Scope(schema, context, documents)


def _emitted(intents: Sequence[DeclaredIntent], new: BaseModel, scope: Scope) -> list[Intent]:
    if not intents:
        return []
    after = scope.with_next(write_model(new))
    return [made for intent in intents for made in intent.emitted(after)]


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

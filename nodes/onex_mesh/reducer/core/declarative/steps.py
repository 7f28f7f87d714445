"""What a machine does, compiled: transitions, and what happens when a state is entered or left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pydantic
from pydantic import BaseModel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.declarative.form import IntentForm
from onex_mesh.reducer.core.declarative.language import Program
from onex_mesh.reducer.core.declarative.schema import STATE, Schema
from onex_mesh.reducer.core.declarative.scope import Scope, run_scope
from onex_mesh.reducer.core.declarative.templates import Template
from onex_mesh.reducer.core.documents import summary_of, violations_of, write_model
from onex_mesh.reducer.core.intent import Intent, IntentType, Priority, Retry
from onex_mesh.reducer.core.transition import Next
from onex_mesh.runtime.errors import ReductionFailedError, StateConsistencyError

_ITEMS_MAX = 1_000
"""Intents that one `for_each` may make."""


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
        scope = run_scope(self.schema, state, rest, self.payload_record)
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
        scope = run_scope(self.schema, state, (context,))
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
        return _emitted(self.intents, state, run_scope(self.schema, state, (context,)))


def _emitted(intents: Sequence[DeclaredIntent], new: BaseModel, scope: Scope) -> list[Intent]:
    if not intents:
        return []
    after = scope.with_next(write_model(new))
    return [made for intent in intents for made in intent.emitted(after)]

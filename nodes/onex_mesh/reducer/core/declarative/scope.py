"""What the expressions of one run read: documents by name, made messages of when an expression of CEL asks for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.declarative.schema import CONTEXT, STATE, Schema
from onex_mesh.reducer.core.documents import write_model


class Scope:
    """The variables of a run.

    Attributes:
        context: What functions such as `uuid` derive from.

    Args:
        schema: The records of the file.
        context: See above.
        documents: Record and plain JSON by name, which the record's model has checked.
        values: Values as CEL takes them, by name.
    """

    __slots__ = ("_documents", "_schema", "_values", "context")

    def __init__(
        self,
        schema: Schema,
        context: ReducerContext,
        documents: Mapping[str, tuple[str, Mapping[str, object]]],
        values: Mapping[str, object] | None = None,
    ) -> None:
        self.context = context
        self._schema = schema
        self._documents = dict(documents)
        self._values = dict(values or {})

    def with_next(self, document: Mapping[str, object]) -> Scope:
        """The same, and the state as it is now."""
        return Scope(self._schema, self.context, {**self._documents, "next": (STATE, document)}, self._values)

    def with_item(self, item: object) -> Scope:
        """The same, and one item of a list."""
        return Scope(self._schema, self.context, self._documents, {**self._values, "item": item})

    def document(self, name: str) -> Mapping[str, object]:
        """A variable as plain JSON."""
        if name == "ctx" and name not in self._documents:
            self._documents[name] = (CONTEXT, _told(self.context))
        return self._documents[name][1]

    def values(self, names: Iterable[str]) -> dict[str, object]:
        """The variables of these names that there are, as CEL takes them."""
        for name in names:
            if name not in self._values and (name == "ctx" or name in self._documents):
                document = self.document(name)
                self._values[name] = self._schema.message(self._documents[name][0], document)
        return {name: self._values[name] for name in names if name in self._values}


def run_scope(schema: Schema, state: BaseModel, rest: Sequence[object], payload_record: str | None = None) -> Scope:
    """What the expressions of a function read: state, payload where there is one, and ctx, as it is called."""
    context = rest[-1]
    assert isinstance(context, ReducerContext)
    documents = {"state": (STATE, write_model(state))}
    if payload_record is not None and len(rest) > 1:
        payload = rest[0]
        assert isinstance(payload, BaseModel)
        documents["payload"] = (payload_record, write_model(payload))
    return Scope(schema, context, documents)


def no_scope(schema: Schema) -> Scope:
    """What an expression that reads nothing reads."""
    return Scope(schema, ReducerContext(now=datetime(2000, 1, 1, tzinfo=UTC), action_id=""), {})


def _told(context: ReducerContext) -> dict[str, object]:
    now = context.now.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {"now": now, "action_id": context.action_id, "correlation_id": context.correlation_id}

"""Guards, compiled, and what can be told of them without asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from onex_mesh.reducer.core.declarative.contradiction import Domain, Domains, can_hold
from onex_mesh.reducer.core.declarative.domains import domains_of
from onex_mesh.reducer.core.declarative.language import ExpressionError, Language, Program
from onex_mesh.reducer.core.declarative.schema import STATE, Schema
from onex_mesh.reducer.core.declarative.scope import no_scope, run_scope
from onex_mesh.reducer.core.declarative.tree import Call, Name, Node
from onex_mesh.runtime.errors import ReductionFailedError


@dataclass(frozen=True, slots=True, eq=False)
class DeclaredGuard:
    """A guard; false as soon as one of its conditions is."""

    schema: Schema
    conditions: Sequence[Program]
    payload_record: str | None
    __onex_place__: str
    __name__: str

    def __call__(self, state: BaseModel, *rest: object) -> bool:
        """State, payload where there is one, and ctx → whether the transition may be taken."""
        scope = run_scope(self.schema, state, rest, self.payload_record)
        return all(condition.evaluate(scope) is True for condition in self.conditions)

    @property
    def parts(self) -> tuple[Node, ...]:
        """The conditions, and those that they are joined of by `&&`."""
        return tuple(part for condition in self.conditions for part in _joined(condition.tree))

    def constant(self, status_field: str, status: str) -> bool | None:
        """False if it cannot hold in a state; None if that cannot be told."""
        domains = domains_of(self.schema, _records(self.payload_record))
        status_is: Domains = {Name(("state", status_field)): Domain(among=frozenset((status,)))}
        if not can_hold(self.parts, {**domains, **status_is}):
            return False
        return False if any(self._is_false(condition, status_field, status) for condition in self.conditions) else None

    def is_implied_by(self, other: object) -> bool:
        """Whether it holds wherever another guard does, as far as that can be told."""
        if not isinstance(other, DeclaredGuard):
            return False
        own, parts = self.parts, other.parts
        domains = domains_of(self.schema, _records(self.payload_record))
        return set(own) <= set(parts) or not can_hold((*parts, Call("!_", (Call("_&&_", own),))), domains)

    def _is_false(self, condition: Program, status_field: str, status: str) -> bool:
        """Whether a condition that reads nothing but the FSM state, or nothing, comes to false in a state."""
        source = condition.source.replace(f"{STATE.lower()}.{status_field}", f"'{status}'")
        try:
            # Without variables: an expression that still reads one does not compile.
            program = Language(self.schema, {}).compile(source, condition.place)
        except ExpressionError:
            return False
        try:
            return program.is_constant and program.evaluate(no_scope(self.schema)) is False
        except ReductionFailedError:
            return True


def _joined(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Call) and node.function == "_&&_":
        return tuple(part for argument in node.arguments for part in _joined(argument))
    return (node,)


def _records(payload: str | None) -> dict[str, str]:
    return {"state": STATE} if payload is None else {"state": STATE, "payload": payload}

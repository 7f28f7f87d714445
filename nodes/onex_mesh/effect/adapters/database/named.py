"""Named statements, ready to run: the operator's SQL with typed places for values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.sql.selectable import TextualSelect

from onex_mesh.effect.adapters.database.column_types import SqlType, declared_type
from onex_mesh.effect.adapters.database.commands import Call
from onex_mesh.effect.adapters.database.values import to_sql
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.kinds.database_statement import Statement
from onex_mesh.effect.core.sql_text import SqlText, read_sql


@dataclass(frozen=True, slots=True)
class NamedStatement:
    """A statement that the operator declared, as SQLAlchemy has it."""

    declared: Statement
    clause: sa.TextClause
    types: Mapping[str, SqlType]
    """Of its parameters."""
    returns: Mapping[str, SqlType]
    """Of those result columns whose types are declared."""

    def bound(self, call: Call) -> sa.TextClause | TextualSelect:
        """The statement with the values of a call.

        Raises:
            ValidationError: A value does not fit its parameter.
        """
        at = f"{call.field}parameters."
        values = {name: to_sql(call.arguments.get(name), kind, f"{at}{name}") for name, kind in self.types.items()}
        clause = self.clause.bindparams(**values) if values else self.clause
        return clause.columns(**self.returns) if self.returns else clause

    def explained(self) -> sa.TextClause:
        """The question how it would run, with nothing for its parameters. Answering it runs nothing."""
        typed = [sa.bindparam(name, None, kind) for name, kind in self.types.items()]
        return sa.text(f"EXPLAIN {self.clause.text}").bindparams(*typed)


def named_statements(target: DatabaseTarget) -> dict[str, NamedStatement]:
    """The statements that a target declares, by name."""
    return {name: _named(statement, target) for name, statement in target.statements.items()}


def _named(statement: Statement, target: DatabaseTarget) -> NamedStatement:
    types = {
        name: declared_type(parameter.type, is_sqlite=target.is_sqlite)
        for name, parameter in statement.parameters.items()
    }
    typed = [sa.bindparam(name, type_=kind, required=True) for name, kind in types.items()]
    clause = sa.text(_template(read_sql(statement.sql))).bindparams(*typed)
    returns = {name: declared_type(kind, is_sqlite=target.is_sqlite) for name, kind in statement.returns.items()}
    return NamedStatement(statement, clause, types, returns)


def _template(sql: SqlText) -> str:
    """The text in SQLAlchemy's own form, in which every colon that begins no parameter is escaped."""
    return "".join(
        f":{piece.parameter}" if piece.parameter else piece.text.replace(":", r"\:") for piece in sql.pieces
    ).strip()

"""What an operator declares of a named statement: its SQL, and the types of its parameters."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from onex_mesh.effect.core.sql_text import read_sql
from onex_mesh.effect.core.targets import FrozenModel

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""What a name of a table or column may be; the allow-list holds nothing else, so no contract can name anything else."""

Identifier = Annotated[str, Field(pattern=rf"^{IDENTIFIER.pattern}$")]

ScalarType = Literal[
    "text", "integer", "float", "decimal", "boolean", "timestamp", "date", "time", "uuid", "bytes", "json"
]
ListType = Literal["text[]", "integer[]", "decimal[]", "uuid[]", "date[]", "timestamp[]"]

READ_VERBS = ("SELECT", "WITH", "VALUES")
WRITE_VERBS = ("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "SELECT")
ROWS_MAX = 10_000
"""The most rows that one read returns."""


class Parameter(FrozenModel):
    """A parameter of a statement."""

    type: ScalarType | ListType
    nullable: bool = False
    """Whether it may be null; then it may be left out, too."""
    length_max: Annotated[int | None, Field(ge=1)] = None
    """Longest text, or most items of a list. Bytes count as their base64. Default: the target's `size_bytes`."""


def _short_form(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


class Statement(FrozenModel):
    """SQL under a name that contracts may use. They give values for its parameters and nothing else."""

    sql: Annotated[str, Field(min_length=1)]
    mode: Literal["read", "write"]
    """A read runs in a transaction in which the database refuses to write."""
    parameters: dict[Identifier, Annotated[Parameter, BeforeValidator(_short_form)]] = Field(default_factory=dict)
    returns: dict[Identifier, ScalarType] = Field(default_factory=dict)
    """Types of result columns that the database does not tell, such as decimals and times of SQLite."""
    rows_max: Annotated[int, Field(ge=1, le=ROWS_MAX)] = 1_000
    """A result with more rows is refused."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        read = read_sql(self.sql)
        verbs = READ_VERBS if self.mode == "read" else WRITE_VERBS
        if read.verb not in verbs:
            raise ValueError(f"sql: a {self.mode} begins with one of {', '.join(verbs)}, not with {read.verb!r}")
        undeclared = sorted(read.parameters - self.parameters.keys())
        if undeclared:
            raise ValueError(f"sql: :{', :'.join(undeclared)} not among the parameters")
        unused = sorted(self.parameters.keys() - read.parameters)
        if unused:
            raise ValueError(f"parameters: {', '.join(unused)} not in the SQL")
        return self

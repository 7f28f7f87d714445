"""What an operator declares of a SQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.database_statement import Identifier, Statement
from onex_mesh.effect.core.sql_text import read_sql
from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig

_SCHEMES = ("sqlite", "postgresql")
_DSN_OPTIONS = ("host", "ssl")
_HOUR_S = 3_600.0
_KEYS_KEPT_S = 30 * 24 * _HOUR_S
_TEN_YEARS_S = 10 * 366 * 24 * _HOUR_S

TableOperation = Literal["insert", "update", "upsert", "delete", "select"]


class Table(FrozenModel):
    """One table that contracts may name, and what of it."""

    columns: tuple[Identifier, ...] = Field(min_length=1)
    """The columns that may be read and written."""
    key: tuple[Identifier, ...] = ()
    """The columns that identify a row; needed for upsert."""
    operations: frozenset[TableOperation] = frozenset({"insert", "update", "upsert", "delete", "select"})
    """What may be done. Default: everything."""

    @model_validator(mode="after")
    def _key_is_listed(self) -> Self:
        missing = [column for column in self.key if column not in self.columns]
        if missing:
            raise ValueError(f"key: {', '.join(missing)} not among the columns")
        return self


class DatabaseTarget(TargetConfig):
    """Tables and statements of a SQL database."""

    effect_types: ClassVar[tuple[str, ...]] = ("database_write", "database_read")

    kind: Literal["database"]
    dsn: str
    """sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host:5432/database. Never with a password."""
    password_env: str | None = None
    password_file: Path | None = None
    table: Identifier | None = None
    """The table of contracts that name none."""
    tables: dict[Identifier, Table] = Field(default_factory=dict)
    statements: dict[Identifier, Statement] = Field(default_factory=dict)
    """SQL that contracts may run by its name."""
    ddl: tuple[str, ...] = ()
    """Statements that run at every start, before the first effect: CREATE TABLE IF NOT EXISTS …"""
    isolation: Literal["read_committed", "repeatable_read", "serializable"] | None = None
    """Of its transactions. Default: that of the server, read_committed as a rule. SQLite is always serializable."""
    busy_timeout_s: Seconds = 5.0
    """SQLite: how long a transaction waits for the one that writes."""
    keys_kept_s: Annotated[float | None, Field(ge=_HOUR_S, le=_TEN_YEARS_S)] = _KEYS_KEPT_S
    """How long a key and its result are kept after they were last asked for; null: forever."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite; otherwise PostgreSQL."""
        return self.dsn.startswith("sqlite:")

    @field_validator("dsn")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        scheme = value.partition("://")[0]
        if scheme not in _SCHEMES:
            raise ValueError("is not sqlite:///… or postgresql://…")
        if scheme == "sqlite" and not value.removeprefix("sqlite:///").strip():
            raise ValueError("names no file")
        parts = urlsplit(value)
        options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if parts.password is not None or "password" in options:
            raise ValueError("holds a password; put it into a variable and name that with password_env")
        unknown = sorted({*options} - {*(() if scheme == "sqlite" else _DSN_OPTIONS)})
        if unknown:
            raise ValueError(f"has unknown options: {', '.join(unknown)}; PostgreSQL takes host and ssl, SQLite none")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.tables and not self.statements:
            raise ValueError("needs tables or statements")
        if self.table is not None and self.table not in self.tables:
            raise ValueError(f"table: {self.table!r} is not among the tables")
        if self.password_env and self.password_file:
            raise ValueError("password_env and password_file exclude each other")
        if self.is_sqlite:
            self._require_sqlite()
        return self

    def _require_sqlite(self) -> None:
        """What PostgreSQL can and SQLite cannot."""
        if self.isolation not in (None, "serializable"):
            raise ValueError(f"isolation: SQLite is serializable; {self.isolation} is for PostgreSQL")
        for name, statement in self.statements.items():
            lists = [key for key, parameter in statement.parameters.items() if parameter.type.endswith("[]")]
            if lists:
                raise ValueError(f"statements.{name}: SQLite has no lists ({', '.join(lists)}); use json and json_each")
            if any(piece.text in ("?", "@", "$") for piece in read_sql(statement.sql).pieces):
                raise ValueError(f"statements.{name}: ?, @ and $ are parameters of SQLite's own; use :name")

    def resolved(self, folder: Path) -> Self:
        """The SQLite file and the password file, taken from the folder."""
        update: dict[str, object] = {}
        if self.dsn.startswith("sqlite:///"):
            update["dsn"] = f"sqlite:///{folder / self.dsn.removeprefix('sqlite:///')}"
        if self.password_file is not None:
            update["password_file"] = folder / self.password_file
        return self.model_copy(update=update)

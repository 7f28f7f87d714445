"""What an operator declares of a SQL database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""What a name of a table or column may be; the allow-list holds nothing else, so no contract can name anything else."""

Identifier = Annotated[str, Field(pattern=rf"^{IDENTIFIER.pattern}$")]


class Table(FrozenModel):
    """One table that contracts may name, and what of it."""

    columns: tuple[Identifier, ...] = Field(min_length=1)
    """The columns that may be read and written."""
    key: tuple[Identifier, ...] = ()
    """The columns that identify a row; needed for upsert."""
    operations: frozenset[Literal["insert", "update", "upsert", "delete", "select"]] = frozenset(
        {"insert", "update", "upsert", "delete", "select"}
    )
    """What may be done. Default: everything."""

    @model_validator(mode="after")
    def _key_is_listed(self) -> Self:
        missing = [column for column in self.key if column not in self.columns]
        if missing:
            raise ValueError(f"key: {', '.join(missing)} not among the columns")
        return self


class DatabaseTarget(TargetConfig):
    """Tables of a SQL database."""

    effect_types: ClassVar[tuple[str, ...]] = ("database_write", "database_read")

    kind: Literal["database"]
    dsn: str
    """sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host:5432/database. Never with a password."""
    password_env: str | None = None
    password_file: Path | None = None
    table: Identifier | None = None
    """The table of contracts that name none."""
    tables: dict[Identifier, Table] = Field(min_length=1)
    ddl: tuple[str, ...] = ()
    """Statements that run at every start, before the first effect: CREATE TABLE IF NOT EXISTS …"""
    busy_timeout_s: Seconds = 5.0
    """SQLite: how long a transaction waits for the one that writes."""

    @field_validator("dsn")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        scheme = value.partition("://")[0]
        if scheme not in ("sqlite", "postgresql"):
            raise ValueError("is not sqlite:///… or postgresql://…")
        if scheme == "sqlite" and not value.removeprefix("sqlite:///").strip():
            raise ValueError("names no file")
        if urlsplit(value).password is not None:
            raise ValueError("holds a password; put it into a variable and name that with password_env")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.table is not None and self.table not in self.tables:
            raise ValueError(f"table: {self.table!r} is not among the tables")
        if self.password_env and self.password_file:
            raise ValueError("password_env and password_file exclude each other")
        return self

    def resolved(self, folder: Path) -> Self:
        """The SQLite file and the password file, taken from the folder."""
        update: dict[str, object] = {}
        if self.dsn.startswith("sqlite:///"):
            update["dsn"] = f"sqlite:///{folder / self.dsn.removeprefix('sqlite:///')}"
        if self.password_file is not None:
            update["password_file"] = folder / self.password_file
        return self.model_copy(update=update)

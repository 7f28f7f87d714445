"""The kinds of target that come with the node, one frozen model each (R17). None of them holds a secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""What a name of a table or column may be; the allow-list holds nothing else, so no contract can name anything else."""

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""An HTTP field name (RFC 9110, section 5.1)."""

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


class Route(FrozenModel):
    """What may be called at an HTTP target."""

    methods: frozenset[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]] = Field(min_length=1)
    path: str = Field(pattern=r"^/")
    """This path and everything below it. Whole segments: /orders does not cover /orders-old."""


class HttpTarget(TargetConfig):
    """An HTTP API."""

    effect_types: ClassVar[tuple[str, ...]] = ("api_call",)

    kind: Literal["http"]
    base_url: str
    allow: tuple[Route, ...] = Field(min_length=1)
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every call; not for credentials."""
    bearer_token_env: str | None = None
    bearer_token_file: Path | None = None
    header_env: dict[str, str] = Field(default_factory=dict)
    """Header name to the variable that holds its value: for API keys."""
    health_path: Annotated[str | None, Field(pattern=r"^/")] = None
    """Answered by GET with less than 500 when the target is well. Default: only whether it takes connections."""
    retry_after_max_s: Seconds = 60.0
    """The longest Retry-After that is respected."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is not http://host… or https://host…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds credentials; use bearer_token_env or header_env")
        if parts.query or parts.fragment:
            raise ValueError("has a query or a fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.headers, *self.header_env):
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"headers: {name!r} is not a header name")
        if self.bearer_token_env and self.bearer_token_file:
            raise ValueError("bearer_token_env and bearer_token_file exclude each other")
        return self

    def resolved(self, folder: Path) -> Self:
        """The token file, taken from the folder."""
        if self.bearer_token_file is None:
            return self
        return self.model_copy(update={"bearer_token_file": folder / self.bearer_token_file})


class FileTarget(TargetConfig):
    """Files below one folder."""

    effect_types: ClassVar[tuple[str, ...]] = ("file_operation",)

    kind: Literal["file"]
    root: Path
    operations: frozenset[Literal["write", "append", "read", "delete", "list"]] = frozenset(
        {"write", "append", "read", "delete", "list"}
    )
    """What may be done. Default: everything."""
    create: bool = True
    """Whether the folder is created where it is missing."""

    def resolved(self, folder: Path) -> Self:
        """The root, taken from the folder."""
        return self.model_copy(update={"root": folder / self.root})


class EventLogTarget(TargetConfig):
    """A file that takes events as JSON lines, each event once."""

    effect_types: ClassVar[tuple[str, ...]] = ("message_publish",)

    kind: Literal["event_log"]
    path: Path
    source: str = "onex-mesh"
    """The `source` attribute of the events."""

    def resolved(self, folder: Path) -> Self:
        """The file, taken from the folder."""
        return self.model_copy(update={"path": folder / self.path})


class SmtpTarget(TargetConfig):
    """A mail server and the templates that may be sent through it."""

    effect_types: ClassVar[tuple[str, ...]] = ("notification",)

    kind: Literal["smtp"]
    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "implicit", "opportunistic", "none"] = "starttls"
    """starttls: required; opportunistic: where the server offers it; implicit: from the first byte."""
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    sender: str
    """Address of the From header: "Name <user@domain>" or plain."""
    templates: Path
    """Folder of <name>.txt.j2 (first line "Subject: …") and optionally <name>.html.j2."""
    recipient_domains: tuple[str, ...] = ()
    """Only these get mail. Default: everyone."""
    recipients_max: Annotated[int, Field(ge=1, le=1_000)] = 50

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_env and self.password_file:
            raise ValueError("password_env and password_file exclude each other")
        if self.username and not (self.password_env or self.password_file):
            raise ValueError("username: needs password_env or password_file")
        if self.username and self.tls == "none":
            raise ValueError("tls: a password is not sent without TLS")
        return self

    def resolved(self, folder: Path) -> Self:
        """The templates and the password file, taken from the folder."""
        update: dict[str, object] = {"templates": folder / self.templates}
        if self.password_file is not None:
            update["password_file"] = folder / self.password_file
        return self.model_copy(update=update)


BUILT_IN_MODELS: dict[str, type[TargetConfig]] = {
    "database": DatabaseTarget,
    "http": HttpTarget,
    "file": FileTarget,
    "smtp": SmtpTarget,
    "event_log": EventLogTarget,
}
"""The model of each kind that comes with the node."""

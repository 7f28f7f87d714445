"""What an operator declares of NATS: the servers, and the JetStream stream that takes messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.events import EventRules
from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig

_TOKEN = r"[A-Za-z0-9_-]+"  # noqa: S105  # of a subject, not of a login
SUBJECT = re.compile(rf"{_TOKEN}(\.{_TOKEN})*")
"""A subject without wildcards. NATS takes more characters; these are the ones that every client and tool takes."""
SUBJECT_CHARS_MAX = 255
_PREFIX = rf"^[A-Za-z0-9][A-Za-z0-9_-]*(\.{_TOKEN})*$"
_PATTERN = rf"^(({_TOKEN}|\*)\.)*({_TOKEN}|\*|>)$"

Pattern = Annotated[str, Field(pattern=_PATTERN, max_length=SUBJECT_CHARS_MAX)]
"""A subject that may have wildcards: `*` for one token, `>` at the end for one or more."""
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class NatsServers(FrozenModel):
    """NATS servers and how to log in. At most one way of logging in."""

    servers: tuple[str, ...] = Field(min_length=1)
    """nats://host:4222 or tls://host:4222; members of one cluster. Never with credentials."""
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    token_env: str | None = None
    token_file: Path | None = None
    nkey_seed_env: str | None = None
    nkey_seed_file: Path | None = None
    creds_file: Path | None = None
    """A user's JWT and nkey seed, as `nsc` writes them."""
    tls: Tls | None = None
    """Default: TLS with the system's authorities where a server is tls://…, none otherwise."""

    @field_validator("servers")
    @classmethod
    def _plain_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            parts = urlsplit(server)
            if parts.username is not None or parts.password is not None:
                raise ValueError("an address holds credentials; name the variable or file that holds them")
            if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path or parts.query:
                raise ValueError(f"{server!r} is not nats://host:port or tls://host:port")
        return value

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        logins = {
            "password": self.password_env is not None or self.password_file is not None,
            "token": self.token_env is not None or self.token_file is not None,
            "nkey_seed": self.nkey_seed_env is not None or self.nkey_seed_file is not None,
            "creds": self.creds_file is not None,
        }
        given = [name for name, is_given in logins.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other")
        for name in ("password", "token", "nkey_seed"):
            if getattr(self, f"{name}_env") is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"{name}_env and {name}_file exclude each other")
        if (self.username is not None) != logins["password"]:
            raise ValueError("username and password_env or password_file need each other")
        return self

    def resolved(self, folder: Path) -> Self:
        """The files of credentials and certificates, taken from the folder."""
        given = {name: getattr(self, name) for name in ("password_file", "token_file", "nkey_seed_file", "creds_file")}
        update: dict[str, object] = {name: folder / path for name, path in given.items() if path is not None}
        if self.tls is not None:
            update["tls"] = self.tls.resolved(folder)
        return self.model_copy(update=update)


class NewStream(FrozenModel):
    """The stream as it is made where it is missing. One that exists is left as it is."""

    subjects: tuple[Pattern, ...] = ()
    """What it takes, in full. Default: everything below the target's prefix."""
    storage: Literal["file", "memory"] = "file"
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    max_age_s: Annotated[float, Field(gt=0)] | None = None
    """How long messages are kept. Default: for ever."""
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    max_messages: Annotated[int, Field(ge=1)] | None = None
    discard: Literal["old", "new"] = "old"
    """What goes when it is full: the oldest message, or the one that comes."""
    duplicate_window_s: Seconds = 120.0
    """How long the stream remembers message ids."""


class NatsTarget(NatsServers, EventRules, TargetConfig):
    """A JetStream stream that takes messages."""

    effect_types: ClassVar[tuple[str, ...]] = ("message_publish",)

    kind: Literal["nats"]
    stream: StreamName
    """Where messages have to arrive; one that the server would put elsewhere is refused."""
    prefix: Annotated[str, Field(pattern=_PREFIX, max_length=128)]
    """Begins every subject: `<prefix>.<event_type>`, or `<prefix>.<topic>` where the message has a topic."""
    subjects: tuple[Pattern, ...] = (">",)
    """The subjects that may be used, below the prefix. Default: all."""
    create: NewStream | None = None
    """Default: the stream has to exist."""
    domain: StreamName | None = None
    """The JetStream domain."""
    ledger: bool = True
    """Whether the ledger answers repeats that come after the stream has forgotten the id."""

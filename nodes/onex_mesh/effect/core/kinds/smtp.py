"""What an operator declares of a mail server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.targets import FrozenModel, TargetConfig

EVERYONE = "*"
"""In `recipient_domains`: mail may go anywhere."""

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/[a-z0-9][a-z0-9.+-]{0,63}")


class Attachments(FrozenModel):
    """Which files a notification may carry. Their sizes count to `limits.size_bytes`."""

    types: tuple[str, ...] = Field(min_length=1)
    """Media types, such as application/pdf."""
    count_max: Annotated[int, Field(ge=1, le=100)] = 10

    @field_validator("types")
    @classmethod
    def _media_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _MEDIA_TYPE.fullmatch(name):
                raise ValueError(f"{name!r} is not a media type in lower case")
            if name.startswith(("multipart/", "message/")):
                raise ValueError(f"{name!r} is a mail of its own, not a file")
        return value


class SmtpTarget(TargetConfig):
    """A mail server and the templates that may be sent through it."""

    effect_types: ClassVar[tuple[str, ...]] = ("notification",)

    kind: Literal["smtp"]
    host: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    tls: Literal["starttls", "implicit", "opportunistic", "none"] = "starttls"
    """starttls: required; opportunistic: where the server offers it; implicit: from the first byte."""
    ca_file: Path | None = None
    """Certificates of the authorities that are trusted. Default: those of the system."""
    hello: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$")] = None
    """How the node introduces itself. Default: the machine's name."""
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    sender: str
    """Address of the From header: "Name <user@domain>" or plain."""
    reply_to: str | None = None
    """Where answers go, likewise. Default: to the sender."""
    templates: Path
    """Folder of <name>.txt.j2 (first line "Subject: …") and optionally <name>.html.j2."""
    recipient_domains: tuple[str, ...] = Field(min_length=1)
    """Only these get mail, each without its sub-domains. "*": everyone."""
    recipients_max: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Of one notification, all fields together."""
    allow: frozenset[Literal["cc", "bcc", "reply_to"]] = frozenset({"cc"})
    """What notifications may say beside `to`."""
    reply_to_domains: tuple[str, ...] = ()
    """Where a notification's own `reply_to` may lead. Default: the sender's domain."""
    attachments: Attachments | None = None
    """Default: notifications carry no files."""
    mails_per_connection: Annotated[int, Field(ge=1, le=100_000)] = 100
    """After so many mails a connection is closed and another one made."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.password_env and self.password_file:
            raise ValueError("password_env and password_file exclude each other")
        if self.username and not (self.password_env or self.password_file):
            raise ValueError("username: needs password_env or password_file")
        if self.username and self.tls not in ("starttls", "implicit"):
            raise ValueError("tls: a password is not sent without TLS; starttls or implicit is needed")
        if self.ca_file is not None and self.tls == "none":
            raise ValueError("ca_file: is of no use with tls: none")
        if self.reply_to_domains and "reply_to" not in self.allow:
            raise ValueError("reply_to_domains: is of no use where allow does not list reply_to")
        return self

    def resolved(self, folder: Path) -> Self:
        """The templates and the other files, taken from the folder."""
        given = {"templates": self.templates, "password_file": self.password_file, "ca_file": self.ca_file}
        return self.model_copy(update={name: folder / path for name, path in given.items() if path is not None})

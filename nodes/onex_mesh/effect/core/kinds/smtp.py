"""What an operator declares of a mail server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from onex_mesh.effect.core.targets import TargetConfig


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

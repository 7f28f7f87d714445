"""What an operator declares of a Redis server, whatever it is used for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.effect.core.targets import FrozenModel


class RedisServer(FrozenModel):
    """A Redis server and how to log in."""

    host: Annotated[str, Field(pattern=r"^[^\s/@]+$")]
    port: Annotated[int, Field(ge=1, le=65_535)] = 6379
    db: Annotated[int, Field(ge=0, le=65_535)] = 0
    username: str | None = None
    """Default: the server's default user."""
    password_env: str | None = None
    password_file: Path | None = None
    tls: Tls | None = None
    """Default: none."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_env and self.password_file:
            raise ValueError("password_env and password_file exclude each other")
        if self.username and not (self.password_env or self.password_file):
            raise ValueError("username: needs password_env or password_file")
        return self

    def resolved(self, folder: Path) -> Self:
        """The files of password and certificates, taken from the folder."""
        update: dict[str, object] = {}
        if self.password_file is not None:
            update["password_file"] = folder / self.password_file
        if self.tls is not None:
            update["tls"] = self.tls.resolved(folder)
        return self.model_copy(update=update)

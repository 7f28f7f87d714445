"""What an operator declares of an HTTP API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""An HTTP field name (RFC 9110, section 5.1)."""


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

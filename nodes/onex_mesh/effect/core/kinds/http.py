"""What an operator declares of an HTTP API."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.http_addresses import AddressRules, literal
from onex_mesh.effect.core.kinds.http_paths import path_problem
from onex_mesh.effect.core.kinds.http_routes import HEADER_NAME, Route, contradictions
from onex_mesh.effect.core.kinds.tls import Tls
from onex_mesh.effect.core.targets import Seconds, TargetConfig

FRAMING_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-correlation-id",
    }
)
"""Headers that only the node sets: they say where a request ends, whose it is and which host it is for."""


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
    idempotency_header: Annotated[str, Field(pattern=rf"^{HEADER_NAME.pattern}$")] = "idempotency-key"
    """The header in which the server takes the key."""
    protocol: Literal["http1", "http2", "negotiate"] = "http1"
    """`negotiate`: HTTP/2 where the server offers it over TLS. `http2`: nothing else; without TLS by prior
    knowledge."""
    tls: Tls = Tls()
    """The certificate of the server is always verified, for the name in base_url."""
    redirects: Literal["refuse", "same_origin"] = "refuse"
    """`same_origin`: GET and HEAD follow up to five, to listed paths of the same scheme, host and port only."""
    allow_private: bool | tuple[str, ...] = False
    """Whether the host may have an address that is not public: true for loopback and private ones, or a list of
    networks, which may also hold link-local ones."""
    health_path: str | None = None
    """Answered by GET with less than 500 when the target is well. Default: only whether it takes connections."""
    connect_timeout_s: Seconds = 5.0
    """Longest time to find the host and to connect, TLS included. Within it an attempt certainly had no effect."""
    retry_after_max_s: Seconds = 60.0
    """The longest Retry-After that is respected."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError as error:
            raise ValueError("is not http://host… or https://host…") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise ValueError("is not http://host… or https://host…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds credentials; use bearer_token_env or header_env")
        if parts.query or parts.fragment:
            raise ValueError("has a query or a fragment")
        try:
            literal(parts.hostname)
        except ValueError as error:
            raise ValueError(f"the host {error}") from error
        value = value.rstrip("/")
        path = urlsplit(value).path
        if path and (problem := path_problem(path)):
            raise ValueError(f"the path {problem}")
        return value

    @field_validator("allow_private")
    @classmethod
    def _networks(cls, value: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        for text in value if isinstance(value, tuple) else ():
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"{text!r} is not a network such as 10.1.0.0/16") from error
        return value

    @field_validator("health_path")
    @classmethod
    def _plain_path(cls, value: str | None) -> str | None:
        if value is not None and (problem := path_problem(value)):
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in (*self.headers, *self.header_env):
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"headers: {name!r} is not a header name")
            if name.lower() in FRAMING_HEADERS:
                raise ValueError(f"headers: {name!r} is set by the node")
        if self.bearer_token_env and self.bearer_token_file:
            raise ValueError("bearer_token_env and bearer_token_file exclude each other")
        if self.tls != Tls() and not self.base_url.startswith("https:"):
            raise ValueError("tls: is for https://")
        for contradiction in contradictions(self.allow):
            raise ValueError(f"allow: {contradiction}")
        address = literal(urlsplit(self.base_url).hostname or "")
        if address is not None and (problem := self.address_rules().problem(address)):
            raise ValueError(f"base_url: {address} is {problem}; allow_private says what may be reached")
        return self

    def address_rules(self) -> AddressRules:
        """Which addresses the host may have."""
        if isinstance(self.allow_private, bool):
            return AddressRules(private=self.allow_private)
        return AddressRules(networks=tuple(ip_network(text) for text in self.allow_private))

    def resolved(self, folder: Path) -> Self:
        """The files, taken from the folder."""
        token = self.bearer_token_file
        return self.model_copy(
            update={
                "bearer_token_file": None if token is None else folder / token,
                "tls": self.tls.resolved(folder),
            }
        )

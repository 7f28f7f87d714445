"""What may be called at an HTTP target, and what its answers mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.http_paths import PathParameter, PathTemplate
from onex_mesh.effect.core.targets import FrozenModel

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""An HTTP field name (RFC 9110, section 5.1)."""

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
Meaning = Literal["success", "failure", "temporary"]
Status = Annotated[int, Field(ge=200, le=599)] | Annotated[str, Field(pattern=r"^[2-5]xx$")]
"""A status code, or a class of them such as "4xx"."""

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}")
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")


class ResultField(FrozenModel):
    """One field of a result: where it stands in the answer's JSON."""

    pointer: str
    """JSON Pointer (RFC 6901); "" is the whole answer."""
    required: bool = True
    """Whether an answer without it is a failure; otherwise the field is null."""

    @field_validator("pointer")
    @classmethod
    def _is_pointer(cls, value: str) -> str:
        return _pointer(value)


Wanted = str | dict[str, str | ResultField]
"""A JSON pointer, or names with one each."""


class ResponseRules(FrozenModel):
    """What an answer means and what of it becomes the result. What a contract says goes before what its route says."""

    success: tuple[Status, ...] = ()
    """Default: 2xx."""
    failure: tuple[Status, ...] = ()
    """Final. Default: 3xx and 4xx but for those below, 501, 505."""
    temporary: tuple[Status, ...] = ()
    """The server has not done it and may later. Default: 429, 503; of unknown outcome: 408, 425, other 5xx."""
    result: Wanted | None = None
    """What becomes the result's body: a JSON pointer, or names with one each. Default: all."""
    headers: tuple[str, ...] | None = None
    """Headers that become part of the result. Default: content-type, etag, last-modified, location, link and
    x-request-id."""

    @field_validator("result")
    @classmethod
    def _are_pointers(
        cls, value: str | dict[str, str | ResultField] | None
    ) -> str | dict[str, str | ResultField] | None:
        for pointer in [value] if isinstance(value, str) else (value or {}).values():
            if isinstance(pointer, str):
                _pointer(pointer)
        return value

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is not a header name")
        return None if value is None else tuple(name.lower() for name in value)

    @model_validator(mode="after")
    def _without_contradiction(self) -> Self:
        listed = [str(status) for status in (*self.success, *self.failure, *self.temporary)]
        for status in listed:
            if listed.count(status) > 1:
                raise ValueError(f"{status} stands here twice")
        return self

    def meaning(self, status: int) -> Meaning | None:
        """What a status means by these rules; None where they say nothing. A code goes before its class."""
        for wanted in (status, f"{status // 100}xx"):
            if wanted in self.success:
                return "success"
            if wanted in self.failure:
                return "failure"
            if wanted in self.temporary:
                return "temporary"
        return None


class Route(FrozenModel):
    """What may be called."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")] | None = None
    """By which contracts may ask for it."""
    methods: frozenset[Method] = Field(min_length=1)
    path: Annotated[str, Field(max_length=1_000)]
    """A path below base_url. A `{parameter}` stands for one segment or the middle of one; `/**` at the end for
    everything below."""
    parameters: dict[str, PathParameter] = Field(default_factory=dict)
    """What the parameters of the path may be. Default: any text that stays in its segment."""
    query: frozenset[str] | None = None
    """Names that may stand in the query. Default: any."""
    content_types: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "application/json",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    )
    """Types that a body may have."""
    response: ResponseRules = ResponseRules()

    @field_validator("content_types")
    @classmethod
    def _are_media_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for media_type in value:
            if not is_media_type(media_type):
                raise ValueError(f"{media_type[:64]!r} is not a media type in lower case, without parameters")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.template().names
        for name in self.parameters:
            if name not in names:
                raise ValueError(f"parameters: the path has no {{{name}}}")
        return self

    def template(self) -> PathTemplate:
        """The path, read.

        Raises:
            ValueError: It is no template.
        """
        return _template(self.path)


def is_media_type(text: str) -> bool:
    """Whether a text is a media type in lower case without parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def contradictions(routes: tuple[Route, ...]) -> Iterator[str]:
    """Names that stand for more than one route."""
    names = [route.name for route in routes if route.name is not None]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"two routes have the name {name!r}"


@lru_cache(maxsize=4_096)
def _template(path: str) -> PathTemplate:
    return PathTemplate(path)


def _pointer(text: str) -> str:
    if not _POINTER.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not a JSON pointer")
    return text

"""Parameters of API calls, checked against what the target lists. No contract can name another host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

import pydantic

from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.http import HEADER_NAME, HttpTarget
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
READING_METHODS = frozenset({"GET", "HEAD"})

# Set by the node or by the target; from a contract they could change where a request ends or whose it is.
_RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-correlation-id",
        "x-http-method-override",
    }
)
# RFC 3986, section 3.3: characters of path segments.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%25", re.IGNORECASE)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,4096}")
_HEADERS_MAX = 50
_PATH_CHARS_MAX = 2_048

Violation = tuple[str, str]
_Scalar = str | int | float | bool


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    path: str
    query: dict[str, _Scalar | list[_Scalar] | None] = {}
    headers: dict[str, str] = {}
    body: pydantic.JsonValue = None


@dataclass(frozen=True, slots=True)
class Call:
    """A checked API call."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    body_type: str


def check_call(request: EffectRequest, target: HttpTarget) -> Call:
    """The call that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: Its body is larger than the target takes.
    """
    try:
        given = _Parameters.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    method = (request.operation or "GET").upper()
    reserved = _RESERVED_HEADERS | {name.lower() for name in (*target.headers, *target.header_env)}
    found = [*_path_violations(given.path), *_header_violations(given.headers, reserved)]
    if not found and not _is_allowed(method, given.path, target):
        found.append(("path", f"{method[:16]} {given.path[:200]} is not allowed at this target"))
    has_json = "body" in given.model_fields_set
    if has_json and request.has_body:
        found.append(("body", "is given twice: in the parameters and beside them"))
    if method in READING_METHODS and (has_json or request.has_body):
        found.append(("body", f"{method} has none"))
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    body, body_type = _body(request, given, has_json)
    if body is not None and len(body) > target.limits.size_bytes:
        raise PayloadTooLargeError(
            f"a body of {len(body)} bytes is more than the {target.limits.size_bytes} that the target takes",
            error_context={"size_bytes": len(body), "size_bytes_max": target.limits.size_bytes},
        )
    return Call(method, given.path, tuple(_query(given)), tuple(given.headers.items()), body, body_type)


def header_text(text: str) -> str:
    """A text of a client as a header may carry it: everything but visible ASCII percent-encoded."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]^`{|}~\"<>")


def _path_violations(path: str) -> Iterator[Violation]:
    if len(path) > _PATH_CHARS_MAX:
        yield "path", f"is longer than {_PATH_CHARS_MAX} characters"
    elif not _PATH.fullmatch(path) or _BAD_ESCAPE.search(path):
        yield "path", "is not an absolute path of URL characters"
    else:
        segments = path.split("/")[1:]
        # A server decodes escapes after a proxy has judged the path; so they are judged decoded.
        decoded = [unquote(segment) for segment in segments]
        if any(segment in (".", "..") or set(segment) & {"/", "\\", "\x00"} for segment in decoded):
            yield "path", "leads elsewhere: '.', '..' and escaped slashes are refused"
        elif any(ord(character) < 0x20 or character == "\x7f" for segment in decoded for character in segment):
            yield "path", "has control characters"
        elif "" in segments[:-1]:
            yield "path", "has an empty segment"


def _header_violations(headers: dict[str, str], reserved: frozenset[str]) -> Iterator[Violation]:
    if len(headers) > _HEADERS_MAX:
        yield "headers", f"{len(headers)} are more than {_HEADERS_MAX}"
    for name, value in headers.items():
        where = f"headers.{name[:64]!r}"
        if not HEADER_NAME.fullmatch(name):
            yield where, "is not a header name"
        elif name.lower() in reserved or name.lower().startswith(("proxy-", "sec-", "x-forwarded-")):
            yield where, "is set by the node or by the target"
        if not _HEADER_VALUE.fullmatch(value):
            yield where, "has line breaks, control characters or characters beyond ASCII"


def _is_allowed(method: str, path: str, target: HttpTarget) -> bool:
    return any(method in route.methods and _covers(route.path, path) for route in target.allow)


def _covers(prefix: str, path: str) -> bool:
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")


def _query(given: _Parameters) -> Iterator[tuple[str, str]]:
    # Fields of a protobuf Struct have no order of their own.
    for name, value in sorted(given.query.items()):
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, str(item).lower() if isinstance(item, bool) else str(item)


def _body(request: EffectRequest, given: _Parameters, has_json: bool) -> tuple[bytes | None, str]:
    if request.has_body:
        if isinstance(request.body, bytes):
            return request.body, "application/octet-stream"
        return json.dumps(request.body, sort_keys=True).encode(), "application/json"
    if has_json:
        return json.dumps(given.body, sort_keys=True).encode(), "application/json"
    return None, ""

"""Parameters of API calls, checked against what the target lists. No contract can name another host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pydantic

from onex_mesh.effect.adapters.http.bodies import Body, Scalar, read_body, text_rows
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.http import FRAMING_HEADERS, HttpTarget
from onex_mesh.effect.core.kinds.http_paths import path_problem
from onex_mesh.effect.core.kinds.http_routes import HEADER_NAME, ResponseRules, Route
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import ValidationError

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
READING_METHODS = frozenset({"GET", "HEAD"})

# Set by the target, or read by some servers in place of what was checked.
_RESERVED_HEADERS = FRAMING_HEADERS | {
    "authorization",
    "cookie",
    "forwarded",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
}
_RESERVED_PREFIXES = ("proxy-", "sec-", "x-forwarded-")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]{0,4094}[\x21-\x7e])?)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADERS_MAX = 50
_QUERY_CHARS_MAX = 8_192

Violation = tuple[str, str]


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    path: str | None = None
    route: str | None = None
    path_parameters: dict[str, str | int] | None = None
    query: dict[str, Scalar | list[Scalar] | None] = {}
    headers: dict[str, str] = {}
    body: pydantic.JsonValue = None
    form: dict[str, Scalar | list[Scalar] | None] | None = None
    body_base64: str | None = None
    content_type: str | None = None
    response: ResponseRules = ResponseRules()


@dataclass(frozen=True, slots=True)
class Call:
    """A checked API call."""

    method: str
    path: str
    """Below the base URL, percent-encoded."""
    query: str
    """Percent-encoded; empty for none."""
    headers: tuple[tuple[str, str], ...]
    body: Body | None
    rules: tuple[ResponseRules, ResponseRules]
    """What the answer means: by the contract, then by the route."""


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
    found: list[Violation] = []
    route, path, method = _destination(given, request.operation.upper(), target, found)
    found.extend(_header_violations(given.headers, target))
    query = _query(given.query, route, found)
    if "set-cookie" in (given.response.headers or ()):
        found.append(("response.headers", "set-cookie belongs to the node"))
    fields: dict[str, object] = {
        name: getattr(given, name) for name in ("body", "form", "body_base64") if name in given.model_fields_set
    }
    body = read_body(request, fields, given.content_type, found)
    if body is not None:
        if method in READING_METHODS:
            found.append(("body", f"{method} has none"))
        elif route is not None and body.content_type not in route.content_types:
            found.append(("content_type", f"{body.content_type} is not one of {', '.join(route.content_types)}"))
    if found or route is None:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    if body is not None:
        body.require_size(target.limits.size_bytes)
    return Call(method, path, query, tuple(given.headers.items()), body, (given.response, route.response))


def find_route(method: str, path: str, target: HttpTarget) -> Route | None:
    """The first listed route that a method and a path without a violation belong to."""
    for route in target.allow:
        if method in route.methods and route.template().match(path, route.parameters):
            return route
    return None


def header_text(text: str) -> str:
    """A text of a client as a header may carry it: everything but visible ASCII percent-encoded."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]^`{|}~\"<>")


def _destination(
    given: _Parameters, asked: str, target: HttpTarget, found: list[Violation]
) -> tuple[Route | None, str, str]:
    """The route, the path and the method; what is missing is in the violations."""
    if (given.path is None) == (given.route is None):
        found.append(("path", "either path or route is required"))
        return None, "", asked
    if given.path is not None and "{" not in given.path:
        return _by_path(given, given.path, asked or "GET", target, found)
    route = _listed(given, asked, target)
    if route is None:
        what = f"route {given.route[:64]!r}" if given.route is not None else f"path {given.path!r:.200}"
        found.append(("path" if given.route is None else "route", f"{asked[:16]} {what} is not allowed at this target"))
        return None, "", asked
    method = asked or (min(route.methods) if len(route.methods) == 1 else "GET")
    template = route.template()
    if method not in route.methods:
        found.append(("method", f"{method[:16]} is not one of {', '.join(sorted(route.methods))}"))
    elif template.has_rest:
        found.append(("path", f"{route.path} has no single path; give one"))
    else:
        values = {name: str(value) for name, value in (given.path_parameters or {}).items()}
        problems = [(f"path_parameters.{name}", text) for name, text in template.problems(values, route.parameters)]
        found.extend(problems)
        if not problems:
            return route, template.fill(values), method
    return None, "", method


def _by_path(
    given: _Parameters, path: str, method: str, target: HttpTarget, found: list[Violation]
) -> tuple[Route | None, str, str]:
    if given.path_parameters:
        found.append(("path_parameters", "belong to a route or to a path with {parameters}"))
    if problem := path_problem(path):
        found.append(("path", problem))
        return None, path, method
    route = find_route(method, path, target)
    if route is None:
        found.append(("path", f"{method[:16]} {path[:200]} is not allowed at this target"))
    return route, path, method


def _listed(given: _Parameters, method: str, target: HttpTarget) -> Route | None:
    """The route of a name, or the one with a path as it is written in the target's file."""
    for route in target.allow:
        if given.route is not None:
            if route.name == given.route:
                return route
        elif route.path == given.path and (method or "GET") in route.methods:
            return route
    return None


def _header_violations(headers: Mapping[str, str], target: HttpTarget) -> Iterator[Violation]:
    own = {name.lower() for name in (*target.headers, *target.header_env, target.idempotency_header, "idempotency-key")}
    if len(headers) > _HEADERS_MAX:
        yield "headers", f"{len(headers)} are more than {_HEADERS_MAX}"
    lowered = [name.lower() for name in headers]
    for name, value in headers.items():
        where = f"headers.{name[:64]!r}"
        if not HEADER_NAME.fullmatch(name):
            yield where, "is not a header name"
        elif name.lower() in _RESERVED_HEADERS | own or name.lower().startswith(_RESERVED_PREFIXES):
            yield where, "is set by the node or by the target"
        elif lowered.count(name.lower()) > 1:
            yield where, "is given twice"
        if not _HEADER_VALUE.fullmatch(value):
            yield where, "has line breaks, control characters, characters beyond ASCII or blanks around it"


def _query(query: Mapping[str, Scalar | list[Scalar] | None], route: Route | None, found: list[Violation]) -> str:
    rows = list(text_rows(query))
    listed = query.keys() if route is None or route.query is None else route.query
    found.extend((f"query.{name[:64]!r}", "is not listed for this route") for name in query if name not in listed)
    for name, value in rows:
        if _CONTROL.search(name) or _CONTROL.search(value):
            found.append((f"query.{name[:64]!r}", "has line breaks or other control characters"))
    encoded = urlencode(rows)
    if len(encoded) > _QUERY_CHARS_MAX:
        found.append(("query", f"is longer than {_QUERY_CHARS_MAX} characters"))
    return encoded

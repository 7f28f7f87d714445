"""Paths of HTTP targets: templates that an operator lists, and the paths that contracts ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Literal
from urllib.parse import quote, unquote_to_bytes

from pydantic import Field, field_validator

from onex_mesh.effect.core.targets import FrozenModel

# RFC 3986, section 3.3: characters of path segments.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%25")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()+,;=:@-]*")
_PARAMETER = re.compile(r"([^{}]*)\{([A-Za-z_][A-Za-z0-9_]{0,63})\}([^{}]*)")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PATH_CHARS_MAX = 2_048
_REST = "**"

Part = tuple[str, str, str]
"""A segment with a parameter: what is before it, its name, what is after it. Without a name it is all literal."""


class PathParameter(FrozenModel):
    """What one parameter of a path template may be."""

    type: Literal["string", "integer", "uuid", "date"] = "string"
    pattern: str | None = None
    """A regular expression that the whole text matches."""
    length_max: Annotated[int, Field(ge=1, le=1_000)] = 200
    """Characters, before they are percent-encoded."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is not a regular expression: {error}") from error
        return value

    def problem(self, text: str) -> str:
        """What is wrong with a value; empty if nothing is."""
        if not text:
            return "is empty"
        if len(text) > self.length_max:
            return f"is longer than {self.length_max} characters"
        if found := segment_problem(text):
            return found
        if "%" in text:
            # A server that decodes twice would see something else than was checked.
            return "has a percent sign"
        if not self._has_type(text):
            return f"is not of type {self.type}"
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            return "does not match the pattern"
        return ""

    def _has_type(self, text: str) -> bool:
        match self.type:
            case "string":
                return True
            case "integer":
                return _INTEGER.fullmatch(text) is not None
            case "uuid":
                return _UUID.fullmatch(text) is not None
            case "date":
                return _is_date(text)


_ANY = PathParameter()


class PathTemplate:
    """A path with parameters, such as `/orders/{id}/lines`; with `/**` at its end everything below belongs to it.

    Raises:
        ValueError: The text is not a template.
    """

    __slots__ = ("_parts", "has_rest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        segments = text.split("/")
        if segments[0] or len(segments) < 2:
            raise ValueError("does not begin with '/'")
        self.has_rest = segments[-1] == _REST
        segments = segments[1:-1] if self.has_rest else segments[1:]
        if "" in (segments if self.has_rest else segments[:-1]):
            raise ValueError("has an empty segment")
        self._parts = tuple(_part(segment) for segment in segments)
        names = self.names
        if len(set(names)) != len(names):
            raise ValueError("has a parameter twice")

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in their order."""
        return tuple(name for _, name, _ in self._parts if name)

    def match(self, path: str, rules: Mapping[str, PathParameter]) -> bool:
        """Whether a path without a violation is one of this template."""
        segments = [_decoded(segment) for segment in path.split("/")[1:]]
        if self.has_rest and segments[-1] == "" and len(segments) > 1:
            segments.pop()
        if len(segments) < len(self._parts) or (len(segments) > len(self._parts) and not self.has_rest):
            return False
        return all(
            _fits(segment, part, rules.get(part[1], _ANY)) for segment, part in zip(segments, self._parts, strict=False)
        )

    def fill(self, values: Mapping[str, str]) -> str:
        """The path with each parameter percent-encoded; the values have been checked and are complete."""
        return "/" + "/".join(
            f"{before}{quote(values[name], safe='')}{after}" if name else before for before, name, after in self._parts
        )

    def problems(self, values: Mapping[str, str], rules: Mapping[str, PathParameter]) -> Iterator[tuple[str, str]]:
        """What is wrong with values for the parameters: name and text of each violation."""
        for name in values.keys() - set(self.names):
            yield name, f"{self.text} has no such parameter"
        for before, name, after in self._parts:
            if not name:
                continue
            if name not in values:
                yield name, "is required"
            elif found := rules.get(name, _ANY).problem(values[name]) or segment_problem(before + values[name] + after):
                yield name, found


def path_problem(path: str) -> str:
    """What is wrong with a path as it would be sent; empty if nothing is."""
    if len(path) > _PATH_CHARS_MAX:
        return f"is longer than {_PATH_CHARS_MAX} characters"
    if not _PATH.fullmatch(path) or _BAD_ESCAPE.search(path):
        return "is not an absolute path of URL characters"
    segments = path.split("/")[1:]
    # A server decodes escapes after a proxy has judged the path; so they are judged decoded.
    for segment in segments:
        if found := segment_problem(_decoded(segment)):
            return found
    return "has an empty segment" if "" in segments[:-1] else ""


def segment_problem(text: str) -> str:
    """What is wrong with one decoded segment; empty if nothing is."""
    # Some servers cut off what follows a semicolon before they resolve dots.
    if text.partition(";")[0] in (".", "..") or set(text) & {"/", "\\"}:
        return "leads elsewhere: '.', '..' and escaped slashes are refused"
    if any(character < " " or "\x7f" <= character < "\xa0" or character == "\ufffd" for character in text):
        return "has control characters or is not UTF-8"
    return ""


def _part(segment: str) -> Part:
    match = _PARAMETER.fullmatch(segment)
    before, name, after = match.groups() if match is not None else (segment, "", "")
    if not _LITERAL.fullmatch(before + after) or (not name and segment_problem(segment)):
        raise ValueError(f"has the segment {segment!r}, which is neither plain text nor has one {{parameter}}")
    return before, name, after


def _fits(segment: str, part: Part, rule: PathParameter) -> bool:
    before, name, after = part
    if not name:
        return segment == before
    has_room = len(segment) > len(before) + len(after)
    if not has_room or not segment.startswith(before) or not segment.endswith(after):
        return False
    return not rule.problem(segment[len(before) : len(segment) - len(after)])


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment).decode(errors="replace")


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True

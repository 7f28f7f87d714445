"""Parameters of file operations, checked; the same for folders and for object stores."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pydantic

from onex_mesh.effect.adapters.files.content import Format, encoded, require_size
from onex_mesh.effect.adapters.files.paths import split_path
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.file import FILE_OPERATIONS
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import ValidationError

PAGE_DEFAULT = 1_000
PAGE_MAX = 10_000
_OFFSET_MAX = 2**53
_CONTENT_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,100}(; ?[A-Za-z0-9_-]{1,20}=[!-~]{1,40})?"
)

# Which parameters an operation takes beside `path`.
_TAKES = {
    "write": {"content", "content_type", "overwrite"},
    "append": {"content", "content_type"},
    "read": {"format", "delimiter", "offset", "length"},
    "delete": set[str](),
    "list": {"glob", "recursive", "limit", "after"},
    "copy": {"destination", "overwrite"},
    "move": {"destination", "overwrite"},
}
WRITING = frozenset({"write", "append", "delete", "copy", "move"})
"""The operations that change something."""

Violation = tuple[str, str]


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    path: str = ""
    destination: str = ""
    content: pydantic.JsonValue = None
    content_type: str = ""
    overwrite: bool | None = None
    format: Format = "text"
    delimiter: str = pydantic.Field(",", min_length=1, max_length=1)
    offset: Annotated[int, pydantic.Field(ge=0, le=_OFFSET_MAX)] = 0
    length: Annotated[int | None, pydantic.Field(ge=0, le=_OFFSET_MAX)] = None
    glob: Annotated[str, pydantic.Field(max_length=200, pattern=r"^[^/\x00]*$")] = ""
    recursive: bool = False
    limit: Annotated[int, pydantic.Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    after: Annotated[str, pydantic.Field(max_length=4_096)] = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A path that cannot lead out of the root."""

    path: str
    folder: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a file."""

    offset: int
    length: int | None
    """None: to the end."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which entries of a folder."""

    folder: tuple[str, ...]
    path: str
    glob: re.Pattern[str] | None
    """Matched against names, not against paths."""
    recursive: bool
    limit: int
    after: str
    """The path below the folder after which the page begins; empty: at the beginning."""


@dataclass(frozen=True, slots=True)
class FileOperation:
    """A checked operation; of the parts behind `place` those hold something that the operation takes."""

    operation: str
    place: Place
    destination: Place
    overwrite: bool
    content: bytes
    content_type: str
    """What the contract says, or what follows from the kind of content."""
    format: Format
    delimiter: str
    part: ByteRange | None
    page: PageRequest


def check_operation(
    request: EffectRequest, allowed: frozenset[str], size_bytes_max: int, *, has_types: bool = False
) -> FileOperation:
    """The operation that a request asks for.

    Args:
        request: The request.
        allowed: Operations that the target lists.
        size_bytes_max: Most that the target takes.
        has_types: Whether the target keeps a media type with each file.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: Its content is larger than the target takes.
    """
    try:
        given = _Parameters.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    operation = request.operation
    found = list(_operation_violations(operation, allowed))
    if not found:
        found.extend(_parameter_violations(given, request, has_types))
    place = _place(given.path, "path", found, may_be_empty=operation == "list")
    destination = _place(given.destination, "destination", found, may_be_empty=operation not in ("copy", "move"))
    if given.destination and given.destination == given.path:
        found.append(("destination", "is the path itself"))
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    content, content_type = b"", ""
    if "content" in _TAKES[operation]:
        content, content_type = encoded(request.body if request.has_body else given.content)
        require_size(len(content), size_bytes_max, given.path)
    has_part = bool(given.model_fields_set & {"offset", "length"})
    return FileOperation(
        operation=operation,
        place=place,
        destination=destination,
        # A write has always replaced; a copy or a move onto another file is more often a mistake.
        overwrite=operation == "write" if given.overwrite is None else given.overwrite,
        content=content,
        content_type=given.content_type or content_type,
        format=given.format,
        delimiter=given.delimiter,
        part=ByteRange(given.offset, given.length) if has_part else None,
        page=_page(given),
    )


def _operation_violations(operation: str, allowed: frozenset[str]) -> Iterator[Violation]:
    if operation not in _TAKES:
        yield "operation", f"{operation[:64]!r} is not one of {', '.join(FILE_OPERATIONS)}"
    elif operation not in allowed:
        yield "operation", f"{operation!r} is not allowed at this target"


def _parameter_violations(given: _Parameters, request: EffectRequest, has_types: bool) -> Iterator[Violation]:
    operation, takes = request.operation, _TAKES[request.operation]
    named = given.model_fields_set
    for field in sorted(named - takes - {"path"}):
        yield field, f"{operation} has none"
    if "content" not in takes and request.has_body:
        yield "content", f"{operation} has none"
    if "content" in takes and ("content" in named) == request.has_body:
        yield "content", "is given twice" if request.has_body else "is required"
    if given.content_type and not has_types:
        yield "content_type", "this target keeps none"
    elif given.content_type and not _CONTENT_TYPE.fullmatch(given.content_type):
        yield "content_type", "is not a media type"
    if named & {"offset", "length"} and given.format in ("json", "csv"):
        yield "format", f"a part of a file is not read as {given.format}"


def _place(path: str, field: str, found: list[Violation], *, may_be_empty: bool) -> Place:
    if not path and may_be_empty:
        return Place("", (), "")
    try:
        *folder, name = split_path(path, field)
    except ValidationError as error:
        found.extend(error.violations)
        return Place("", (), "")
    return Place(path, tuple(folder), name)


def _page(given: _Parameters) -> PageRequest:
    # fnmatch makes patterns that do not backtrack over the whole name again and again.
    glob = re.compile(fnmatch.translate(given.glob)) if given.glob else None
    folder = tuple(given.path.split("/")) if given.path else ()
    return PageRequest(folder, given.path, glob, given.recursive, given.limit, given.after)

"""Paths of contracts: relative, of plain segments, and with nothing in them that someone might read as a way out."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from onex_mesh.runtime.errors import ValidationError

RESERVED = ".onex"
"""Names that begin so belong to the node."""

_SEGMENT_BYTES_MAX = 200
DEPTH_MAX = 32
"""Segments of a path."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_DECODED_ROUNDS = 4


def split_path(path: str, field: str = "path") -> tuple[str, ...]:
    """The segments of a relative path.

    Args:
        path: Segments with slashes between them.
        field: The name of the parameter, for the violation.

    Raises:
        ValidationError: It is absolute, empty, leads upwards or has characters that names must not have.
    """
    segments = tuple(path.split("/"))
    problem = ""
    if not path or path.startswith("/"):
        problem = "is not a relative path"
    elif len(segments) > DEPTH_MAX:
        problem = f"is deeper than {DEPTH_MAX} folders"
    elif _CONTROL.search(path):
        problem = "has control characters or backslashes"
    elif any(segment in ("", ".", "..") for segment in segments):
        problem = "has empty segments, '.' or '..'"
    elif any(len(segment.encode(errors="replace")) > _SEGMENT_BYTES_MAX for segment in segments):
        problem = f"has a name longer than {_SEGMENT_BYTES_MAX} bytes"
    elif any(segment.startswith(RESERVED) for segment in segments):
        problem = f"has a name that begins with {RESERVED!r}"
    elif not path.isprintable() or "\ud800" <= max(path, default="") <= "\udfff":
        problem = "has characters that are not printable"
    elif any(_may_be_read_otherwise(segment) for segment in segments):
        problem = "has escapes or look-alikes of '.', '..', '/' or '\\'"
    if problem:
        raise ValidationError(f"{field}: {path[:100]!r} {problem}", violations=((field, problem),))
    return segments


def is_name(segment: str) -> bool:
    """Whether a contract could name it; what it could not name is not listed either."""
    try:
        return len(split_path(segment)) == 1
    except ValidationError:
        return False


def _may_be_read_otherwise(segment: str) -> bool:
    """Whether a proxy that decodes, or a file system that normalizes, would take the segment for a way elsewhere."""
    text = segment
    for _ in range(_DECODED_ROUNDS):
        text = unicodedata.normalize("NFKC", text)
        if text in (".", "..") or _CONTROL.search(text) or (text != segment and "/" in text):
            return True
        decoded = unquote(text, errors="replace")
        if decoded == text:
            return False
        text = decoded
    # Escaped more often than anyone means.
    return True

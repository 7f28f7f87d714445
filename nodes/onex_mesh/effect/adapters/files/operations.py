"""Parameters of file operations, and what reading a file gives."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Literal

import pydantic

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.effect.adapters.files.root import split_path
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.file import FileTarget
from onex_mesh.effect.core.request import EffectRequest, EffectValue
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

Format = Literal["text", "json", "csv", "bytes"]


class _Parameters(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    path: str = ""
    content: pydantic.JsonValue = None
    format: Format = "text"
    delimiter: str = pydantic.Field(",", min_length=1, max_length=1)


@dataclass(frozen=True, slots=True)
class FileOperation:
    """A checked operation. `folder` and `name` cannot lead out of the root."""

    operation: str
    path: str
    folder: tuple[str, ...]
    name: str
    content: bytes
    format: Format
    delimiter: str


def check_operation(request: EffectRequest, target: FileTarget) -> FileOperation:
    """The operation that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: Its content is larger than the target takes.
    """
    try:
        given = _Parameters.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    operation = request.operation
    found: list[tuple[str, str]] = []
    if operation not in ("write", "append", "read", "delete", "list"):
        found.append(("operation", f"{operation[:64]!r} is not one of write, append, read, delete, list"))
    elif operation not in target.operations:
        found.append(("operation", f"{operation!r} is not allowed at this target"))
    segments: tuple[str, ...] = ()
    if given.path or operation != "list":
        try:
            segments = split_path(given.path)
        except ValidationError as error:
            found.extend(error.violations)
    has_content = "content" in given.model_fields_set
    takes_content = operation in ("write", "append")
    if takes_content and has_content == request.has_body:
        found.append(("content", "is required" if not has_content else "is given twice"))
    if not takes_content and (has_content or request.has_body):
        found.append(("content", f"{operation} has none"))
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    content = _bytes_of(request.body if request.has_body else given.content) if takes_content else b""
    require_size(len(content), target.limits.size_bytes, given.path)
    is_list = operation == "list"
    return FileOperation(
        operation=operation,
        path=given.path,
        folder=segments if is_list else segments[:-1],
        name="" if is_list else segments[-1],
        content=content,
        format=given.format,
        delimiter=given.delimiter,
    )


def require_size(size_bytes: int, bound: int, path: str) -> None:
    """Refuses what is larger than the target takes.

    Raises:
        PayloadTooLargeError: It is.
    """
    if size_bytes > bound:
        raise PayloadTooLargeError(
            f"{path!r}: {size_bytes} bytes are more than {bound}",
            error_context={"size_bytes": size_bytes, "size_bytes_max": bound},
        )


def read_as(content: bytes, operation: FileOperation) -> EffectValue:
    """The content of a file in the format that was asked for.

    Raises:
        EffectFailedError: It is not in that format.
    """
    if operation.format == "bytes":
        return EffectValue(content, "application/octet-stream")
    if operation.format == "json":
        try:
            return EffectValue(exact_json(content))
        except ValueError as error:
            raise EffectFailedError(f"{operation.path!r} is not JSON: {error}") from error
    try:
        # Spreadsheets begin their UTF-8 with a mark that belongs to no field.
        text = content.decode("utf-8-sig" if operation.format == "csv" else "utf-8")
    except UnicodeDecodeError as error:
        raise EffectFailedError(f"{operation.path!r} is not UTF-8 text, at byte {error.start}") from error
    return EffectValue(text if operation.format == "text" else _rows(text, operation))


def _rows(text: str, operation: FileOperation) -> list[Json]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=operation.delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return []
        if len(set(header)) != len(header):
            raise EffectFailedError(f"{operation.path!r}: two columns have the same name")
        rows: list[Json] = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise EffectFailedError(
                    f"{operation.path!r}, line {reader.line_num}: {len(row)} fields, the header has {len(header)}"
                )
            rows.append(dict(zip(header, row, strict=True)))
        return rows
    except csv.Error as error:
        raise EffectFailedError(f"{operation.path!r}, line {reader.line_num}: {error}") from error


def _bytes_of(value: Json | bytes) -> bytes:
    """Bytes and text as they are, everything else as its JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    # Fields of a protobuf Struct have no order of their own; sorted, a repeat writes the same bytes.
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()

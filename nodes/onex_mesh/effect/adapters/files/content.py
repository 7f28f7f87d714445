"""The content of files: how parameters become bytes, and what reading bytes in a format gives."""

from __future__ import annotations

import csv
import io
import json
from typing import Literal

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.effect.core.request import EffectValue
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError
from onex_mesh.runtime.payload import Json

Format = Literal["text", "json", "csv", "bytes"]

BYTES_TYPE = "application/octet-stream"
TEXT_TYPE = "text/plain; charset=utf-8"
JSON_TYPE = "application/json"


def encoded(value: Json | bytes) -> tuple[bytes, str]:
    """Bytes and text as they are, everything else as its JSON; and the media type of that."""
    if isinstance(value, bytes):
        return value, BYTES_TYPE
    if isinstance(value, str):
        return value.encode(), TEXT_TYPE
    # Fields of a protobuf Struct have no order of their own; sorted, a repeat writes the same bytes.
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode(), JSON_TYPE


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


def read_as(
    content: bytes, format_: Format, path: str, *, delimiter: str = ",", content_type: str = BYTES_TYPE
) -> EffectValue:
    """Content in the format that was asked for.

    Args:
        content: The bytes.
        format_: What they are read as.
        path: Where they are from, for errors.
        delimiter: Between the fields of a line, for csv.
        content_type: Media type of the result where it is bytes.

    Raises:
        EffectFailedError: It is not in that format.
    """
    if format_ == "bytes":
        return EffectValue(content, content_type)
    if format_ == "json":
        try:
            return EffectValue(exact_json(content))
        except ValueError as error:
            raise EffectFailedError(f"{path!r} is not JSON: {error}") from error
    try:
        # Spreadsheets begin their UTF-8 with a mark that belongs to no field.
        text = content.decode("utf-8-sig" if format_ == "csv" else "utf-8")
    except UnicodeDecodeError as error:
        raise EffectFailedError(f"{path!r} is not UTF-8 text, at byte {error.start}") from error
    return EffectValue(text if format_ == "text" else _rows(text, path, delimiter))


def _rows(text: str, path: str, delimiter: str) -> list[Json]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return []
        if len(set(header)) != len(header):
            raise EffectFailedError(f"{path!r}: two columns have the same name")
        rows: list[Json] = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise EffectFailedError(
                    f"{path!r}, line {reader.line_num}: {len(row)} fields, the header has {len(header)}"
                )
            rows.append(dict(zip(header, row, strict=True)))
        return rows
    except csv.Error as error:
        raise EffectFailedError(f"{path!r}, line {reader.line_num}: {error}") from error

"""Bodies of API calls: JSON, a form, or bytes, each with its media type."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode

from onex_mesh.effect.adapters.exact_json import is_deeper
from onex_mesh.effect.core.kinds.http_routes import is_media_type
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError
from onex_mesh.runtime.payload import Json

_DEPTH_MAX = 60
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_BYTES = "application/octet-stream"

Scalar = str | int | float | bool
FormFields = Mapping[str, Scalar | list[Scalar] | None]
"""Names with a value, several, or none."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent."""

    content: bytes
    content_type: str

    def require_size(self, bytes_max: int) -> None:
        """Refuses one that is too large.

        Raises:
            PayloadTooLargeError: It is.
        """
        if len(self.content) > bytes_max:
            raise PayloadTooLargeError(
                f"a body of {len(self.content)} bytes is more than the {bytes_max} that the target takes",
                error_context={"size_bytes": len(self.content), "size_bytes_max": bytes_max},
            )


def read_body(
    request: EffectRequest, fields: Mapping[str, object], content_type: str | None, found: list[tuple[str, str]]
) -> Body | None:
    """The body of a call; None where it has none or a wrong one.

    Args:
        request: May have a body beside its parameters.
        fields: What the parameters give of `body` (JSON), `form` and `body_base64`.
        content_type: Its media type, where it is not the usual one.
        found: Takes what is wrong.
    """
    if len(fields) + request.has_body > 1:
        given = [*fields, *(["the contract's body"] if request.has_body else [])]
        found.append(("body", f"is given more than once: {', '.join(given)}"))
        return None
    if content_type is not None and not is_media_type(content_type):
        found.append(("content_type", "is not a media type in lower case, without parameters"))
        return None
    if request.has_body:
        if isinstance(request.body, bytes):
            return _bytes(request.body, content_type)
        return _json(request.body, content_type, found)
    if "body" in fields:
        return _json(cast("Json", fields["body"]), content_type, found)
    if "form" in fields:
        return _form(cast("FormFields", fields["form"] or {}), content_type, found)
    if "body_base64" in fields:
        return _base64(str(fields["body_base64"]), content_type, found)
    if content_type is not None:
        found.append(("content_type", "is given without a body"))
    return None


def text_rows(fields: FormFields) -> Iterator[tuple[str, str]]:
    """Names and texts of a query or a form, in the order of the names: fields of a protobuf Struct have none."""
    for name, value in sorted(fields.items()):
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                yield name, str(item).lower() if isinstance(item, bool) else str(item)


def _json(value: Json, content_type: str | None, found: list[tuple[str, str]]) -> Body | None:
    content_type = content_type or _JSON
    if content_type != _JSON and not content_type.endswith("+json"):
        found.append(("content_type", f"{content_type} is not JSON"))
        return None
    if is_deeper(value, _DEPTH_MAX):
        found.append(("body", f"is nested deeper than {_DEPTH_MAX} levels"))
        return None
    return Body(json.dumps(value, sort_keys=True).encode(), content_type)


def _form(fields: FormFields, content_type: str | None, found: list[tuple[str, str]]) -> Body | None:
    if content_type not in (None, _FORM):
        found.append(("content_type", f"a form is {_FORM}"))
        return None
    return Body(urlencode(list(text_rows(fields))).encode(), _FORM)


def _base64(text: str, content_type: str | None, found: list[tuple[str, str]]) -> Body | None:
    try:
        return _bytes(base64.b64decode(text, validate=True), content_type)
    except (binascii.Error, ValueError):
        found.append(("body_base64", "is not Base64"))
        return None


def _bytes(content: bytes, content_type: str | None) -> Body:
    return Body(content, content_type or _BYTES)

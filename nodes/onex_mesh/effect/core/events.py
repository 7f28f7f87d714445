"""Events as they come from a broker: CloudEvents 1.0 in the structured and the binary mode, read and checked."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

STRUCTURED_TYPE = "application/cloudevents+json"

_REQUIRED = ("id", "source", "specversion", "type")
_KNOWN = frozenset({*_REQUIRED, "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"})
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_ATTRIBUTE_CHARS_MAX = 2_048
_PREFIXES = ("ce-", "ce_")
_CONTENT_TYPE = "content-type"
_DATA = frozenset({"data", "data_base64"})


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event. `source` and `id` together tell it from every other."""

    id: str
    source: str
    type: str
    subject: str = ""
    time: str = ""
    content_type: str = ""
    data: Json | bytes = None
    """JSON, text, or bytes where the content type is neither."""
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def correlation_id(self) -> str:
        """The request that it belongs to, where its producer said so."""
        return str(self.extensions.get("correlationid", ""))

    def json(self) -> dict[str, Json]:
        """The event as templates read it: its attributes by name, `data`, or `data_base64` for bytes."""
        shown: dict[str, Json] = {"id": self.id, "source": self.source, "type": self.type}
        optional = {"subject": self.subject, "time": self.time, "datacontenttype": self.content_type}
        shown |= {name: value for name, value in optional.items() if value}
        shown |= self.extensions
        if isinstance(self.data, bytes):
            shown["data_base64"] = base64.b64encode(self.data).decode()
        else:
            shown["data"] = self.data
        return shown


def read_event(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """The event in a message.

    Args:
        headers: Its headers or fields, in any case. Where one of them begins with `ce-` or `ce_` the mode is binary.
        body: The whole event as JSON (structured mode), or its data (binary mode).

    Raises:
        ValidationError: It is not a CloudEvent of version 1.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    attributes = {
        name[3:]: _plain(name, value)
        for name, value in lower.items()
        if name.startswith(_PREFIXES) and name[3:] not in _DATA
    }
    media_type = lower.get(_CONTENT_TYPE, "")
    if attributes and not media_type.startswith(STRUCTURED_TYPE):
        return _binary(attributes, media_type, body)
    return _structured(body)


def _plain(name: str, value: str) -> str:
    """An attribute as it was before it became a header, where what is not plain ASCII is percent-encoded."""
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise _refused(name[3:67], "is not percent-encoded UTF-8") from error


def _binary(attributes: Mapping[str, Json], media_type: str, body: bytes) -> CloudEvent:
    content_type = media_type or str(attributes.get("datacontenttype", ""))
    return _event(attributes, content_type, _decoded(body, content_type))


def _structured(body: bytes) -> CloudEvent:
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _refused("", "is not JSON") from error
    if not isinstance(value, dict):
        raise _refused("", "is not a JSON object")
    content_type = value.get("datacontenttype", "")
    data: Json | bytes = value.get("data")
    encoded = value.get("data_base64")
    if encoded is not None:
        if data is not None or not isinstance(encoded, str):
            raise _refused("data_base64", "stands beside data, or is not a text")
        try:
            data = _decoded(base64.b64decode(encoded, validate=True), str(content_type))
        except binascii.Error as error:
            raise _refused("data_base64", "is not base64") from error
    return _event(value, str(content_type), data)


def _event(attributes: Mapping[str, Json], content_type: str, data: Json | bytes) -> CloudEvent:
    for name in _REQUIRED:
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise _refused(name, "is required, a text that is not empty")
    if attributes["specversion"] not in ("1.0",):
        raise _refused("specversion", "is not 1.0")
    for name, value in attributes.items():
        if name not in _DATA and isinstance(value, str) and len(value) > _ATTRIBUTE_CHARS_MAX:
            raise _refused(name[:64], f"has more than {_ATTRIBUTE_CHARS_MAX} characters")
    return CloudEvent(
        id=str(attributes["id"]),
        source=str(attributes["source"]),
        type=str(attributes["type"]),
        subject=_optional(attributes, "subject"),
        time=_optional(attributes, "time"),
        content_type=content_type,
        data=data,
        extensions={
            name: value
            for name, value in attributes.items()
            if name not in _KNOWN and _EXTENSION.fullmatch(name) and isinstance(value, str | int | bool)
        },
    )


def _optional(attributes: Mapping[str, Json], name: str) -> str:
    value = attributes.get(name)
    if value is not None and not isinstance(value, str):
        raise _refused(name, "is not a text")
    return value or ""


def _decoded(body: bytes, content_type: str) -> Json | bytes:
    """Data by its media type; none is JSON, as CloudEvents has it."""
    if not body:
        return None
    media_type = content_type.partition(";")[0].strip().lower()
    if not media_type or media_type.endswith(("/json", "+json")):
        try:
            value: Json = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _refused("data", "is not the JSON that its content type says") from error
        return value
    if media_type.startswith("text/"):
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise _refused("data", "is not UTF-8 text") from error
    return body


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _refused(name: str, text: str) -> ValidationError:
    path = f"event.{name}" if name else "event"
    return ValidationError(f"{path}: {text}", violations=((path, text),))

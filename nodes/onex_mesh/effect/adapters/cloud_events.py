"""Events as CloudEvents 1.0 puts them into messages: whole as JSON, or as data with headers beside it.

The attributes are those of the CloudEvents specification 1.0.2, the JSON that of its JSON event format, the headers
those of its HTTP protocol binding with the prefix `ce-`, the content type among them as `ce-datacontenttype`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

JSON_TYPE = "application/json"
STRUCTURED_TYPE = "application/cloudevents+json"
DEPTH_MAX = 60

# Section 3 of the HTTP binding: visible ASCII but for the quote and the percent sign stays as it is.
_PLAIN_HEADER = "!#$&'()*+,/:;<=>?@[\\]^`{|}~"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Its attributes hold no control characters."""

    id: str
    source: str
    type: str
    time: datetime
    subject: str = ""
    content_type: str = JSON_TYPE
    data: Json | bytes = None
    """Bytes where the content type is another than JSON."""
    extensions: Mapping[str, str] = field(default_factory=dict)

    def attributes(self) -> dict[str, str]:
        """All attributes that have a value, in the order of the specification."""
        named = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "datacontenttype": self.content_type if self.data is not None else "",
            **self.extensions,
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event as a message carries it."""

    headers: Mapping[str, str]
    """Names in lower case, values in visible ASCII."""
    body: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes up, headers included."""
        return len(self.body) + sum(len(name) + len(value) + 4 for name, value in self.headers.items())


def structured(event: Event) -> Encoded:
    """The event as one JSON object.

    Raises:
        ValidationError: Its data cannot be JSON.
    """
    whole: dict[str, Json] = {**event.attributes()}
    if isinstance(event.data, bytes):
        whole["data_base64"] = base64.b64encode(event.data).decode()
    elif event.data is not None:
        whole["data"] = event.data
    return Encoded({"content-type": STRUCTURED_TYPE}, _json(whole))


def binary(event: Event) -> Encoded:
    """The event's data, its attributes as headers.

    Raises:
        ValidationError: Its data cannot be JSON.
    """
    headers = {f"ce-{name}": quote(value, safe=_PLAIN_HEADER) for name, value in event.attributes().items()}
    if event.data is None:
        return Encoded(headers, b"")
    return Encoded(headers, event.data if isinstance(event.data, bytes) else _json(event.data))


def printable(text: str) -> str:
    """A text of a client as an attribute may hold it: control characters percent-encoded."""
    return _CONTROL.sub(lambda found: quote(found.group()), text)


def _json(value: Json) -> bytes:
    problem = "cannot be JSON: it holds NaN, infinity or half a character"
    try:
        if _is_deeper(value, DEPTH_MAX):
            problem = f"is nested deeper than {DEPTH_MAX} levels"
            raise ValueError(problem)
        # Fields of a protobuf Struct have no order of their own; sorted, the same event gives the same bytes.
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
        return text.encode()
    except ValueError as error:
        raise ValidationError(f"data: {problem}", violations=(("data", problem),)) from error


def _is_deeper(value: Json, levels: int) -> bool:
    level: list[Json] = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True

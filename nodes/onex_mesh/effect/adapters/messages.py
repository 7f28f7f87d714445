"""Messages that a contract or an intent asks to publish: checked, and made events."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import pydantic

from onex_mesh.effect.adapters.cloud_events import JSON_TYPE, Encoded, Event, binary, printable, structured
from onex_mesh.effect.adapters.http.trace import traceparent
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.events import EventRules
from onex_mesh.effect.core.request import EffectContext, EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# RFC 2045: type/subtype and parameters, without quoted ones.
_MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}( ?; ?[a-z0-9-]+=[A-Za-z0-9._-]+){0,5}"
)
_BYTES_TYPE = "application/octet-stream"

Violation = tuple[str, str]


class _Parameters(pydantic.BaseModel):
    """R90: event_type, data; other fields, such as ids, belong to the data."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True)

    event_type: Annotated[str, pydantic.Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
    data: pydantic.JsonValue = None
    subject: Annotated[str, pydantic.Field(max_length=200)] = ""
    timestamp: Annotated[str, pydantic.Field(max_length=64)] = ""
    topic: Annotated[str, pydantic.Field(max_length=255)] = ""
    content_type: Annotated[str, pydantic.Field(max_length=255)] = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A checked message."""

    event: Event
    encoded: Encoded
    topic: str
    """Where it goes within the target; empty: as the target says."""


def check_message(request: EffectRequest, rules: EventRules, *, size_bytes_max: int, has_topics: bool) -> Message:
    """The message that a request asks for.

    Args:
        request: The request. Its bytes or JSON beside the parameters, where it has some, are the data.
        rules: What the target takes, and in which form.
        size_bytes_max: Largest message, headers included.
        has_topics: Whether a message may say where it goes within the target.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: It is larger than the target takes.
    """
    try:
        given = _Parameters.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    found = list(_violations(given, request, rules, has_topics=has_topics))
    moment = _moment(given.timestamp, found)
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    event = Event(
        id=request.context.idempotency_key or str(uuid.uuid4()),
        source=rules.source,
        type=given.event_type,
        # The time of the action stays the same when another node does the work again.
        time=moment or request.context.issued_at or datetime.now(UTC),
        subject=given.subject,
        content_type=given.content_type or (_BYTES_TYPE if isinstance(request.body, bytes) else JSON_TYPE),
        data=request.body if request.has_body else _data(given),
        extensions=_extensions(request.context),
    )
    encoded = structured(event) if rules.mode == "structured" else binary(event)
    if encoded.size_bytes > size_bytes_max:
        raise PayloadTooLargeError(
            f"a message of {encoded.size_bytes} bytes is more than the {size_bytes_max} that the target takes",
            error_context={"size_bytes": encoded.size_bytes, "size_bytes_max": size_bytes_max},
        )
    return Message(event, encoded, given.topic)


def _violations(
    given: _Parameters, request: EffectRequest, rules: EventRules, *, has_topics: bool
) -> Iterator[Violation]:
    if not rules.takes(given.event_type):
        yield "event_type", f"{given.event_type!r} is not allowed at this target"
    if _CONTROL.search(given.subject):
        yield "subject", "has line breaks or other control characters"
    if given.topic and not has_topics:
        yield "topic", "this target has none"
    if given.content_type and not isinstance(request.body, bytes):
        yield "content_type", "is for bytes in the contract's body"
    elif given.content_type and not _MEDIA_TYPE.fullmatch(given.content_type):
        yield "content_type", "is not a media type"
    if request.has_body and (given.data is not None or given.model_extra):
        yield "data", "is given twice: in the parameters and beside them"


def _moment(text: str, found: list[Violation]) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        found.append(("timestamp", "is not an ISO 8601 time"))
        return None
    if moment.tzinfo is None:
        found.append(("timestamp", "has no offset from UTC"))
        return None
    return moment


def _data(given: _Parameters) -> Json:
    """The data; fields of the payload beside it, such as order_id, are part of it."""
    beside: dict[str, Json] = dict(given.model_extra or {})
    if not beside:
        return given.data
    if given.data is None:
        return beside
    if isinstance(given.data, dict):
        return {**beside, **given.data}
    return {**beside, "data": given.data}


def _extensions(context: EffectContext) -> dict[str, str]:
    return {
        "correlationid": printable(context.correlation_id),
        "traceparent": traceparent(context.traceparent, context.correlation_id),
    }

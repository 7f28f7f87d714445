"""Messages as plain values, in the form that people write contracts in: the way back of `contract_form`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from onex.v1 import common_pb2
from onex_mesh.runtime.payload import Json, from_struct, from_value

_PAYLOAD_FIELDS = frozenset({"json", "data", "location", "content_type"})


def to_plain(message: Message) -> Json:
    """The plain value of a message; what is not set is left out.

    Enum names lose their prefix, 64-bit integers stay integers, durations become "1.5s", timestamps ISO 8601 in UTC,
    bytes Base64, and payloads the JSON they hold.
    """
    match message:
        case duration_pb2.Duration():
            return _duration(message)
        case timestamp_pb2.Timestamp():
            return message.ToJsonString()
        case struct_pb2.Value():
            return from_value(message)
        case struct_pb2.Struct():
            return from_struct(message)
        case common_pb2.Payload():
            return payload_plain(message)
        case _:
            # The stubs offer two descriptor classes, one per implementation of protobuf; both have the same attributes.
            fields = cast(list[tuple[FieldDescriptor, object]], message.ListFields())
            return {field.name: _field(field, value) for field, value in fields}


def payload_plain(payload: common_pb2.Payload) -> Json:
    """The JSON that a payload holds; the payload's own form where that is not JSON, or could be taken for that form."""
    if payload.WhichOneof("content") == "json":
        value = from_value(payload.json)
        looks_like_form = isinstance(value, dict) and value.keys() <= _PAYLOAD_FIELDS and bool(value)
        return {"json": value} if looks_like_form else value
    form: dict[str, Json] = {}
    match payload.WhichOneof("content"):
        case "data":
            form["data"] = base64.b64encode(payload.data).decode("ascii")
        case "location":
            form["location"] = to_plain(payload.location)
        case _:
            return None
    if payload.content_type:
        form["content_type"] = payload.content_type
    return form


def _field(field: FieldDescriptor, value: object) -> Json:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        items = cast(Mapping[str, object], value)
        return {key: _single(entry, items[key]) for key in sorted(items)}
    if field.is_repeated:
        return [_single(field, item) for item in cast(list[object], value)]
    return _single(field, value)


def _single(field: FieldDescriptor, value: object) -> Json:
    if isinstance(value, Message):
        return to_plain(value)
    if field.enum_type is not None:
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        known = field.enum_type.values_by_number.get(cast(int, value))
        return known.name.removeprefix(prefix) if known is not None else cast(int, value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    assert isinstance(value, bool | int | float | str)
    return value


def _duration(duration: duration_pb2.Duration) -> str:
    text = f"{duration.seconds}.{abs(duration.nanos):09d}".rstrip("0").rstrip(".")
    negative = "-" if duration.nanos < 0 and duration.seconds == 0 else ""
    return f"{negative}{text}s"

"""Payloads and their Python values.

JSON travels as `google.protobuf.Value`, so that any tool can read it; its numbers are doubles, so integers beyond ±2^53
are refused with the path of their field rather than rounded (F22). Bytes pass through untouched.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

from onex.v1 import common_pb2
from onex_lease.errors import ValidationError

JSON_TYPE = "application/json"
BYTES_TYPE = "application/octet-stream"
ARROW_TYPE = "application/vnd.apache.arrow.stream"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

INLINE_BYTES_MAX = 256 * 1024
"""Largest result of a step that travels and is committed as it is; a larger one goes to the payload store."""
NO_STORE = "set ONEX_PAYLOAD_STORE on the node, and it travels as a location"

_INT_LIMIT = 2**53

LEVELS_MAX = 60
"""How deep a JSON value may be, in messages: an object is three (Struct, map entry, Value), a list two. Parsers take
100 in all, and what carries a payload (frames, actions, chains, log records) needs its share."""
_OBJECT_LEVELS = 3
_LIST_LEVELS = 2
_PARSER_LEVELS = 100

_DATA_TAG = common_pb2.Payload.DATA_FIELD_NUMBER << 3 | 2


def json_payload(value: object) -> common_pb2.Payload:
    """A JSON payload of a plain value.

    Raises:
        ValidationError: A part cannot be JSON; its path is in the message.
    """
    payload = common_pb2.Payload(content_type=JSON_TYPE)
    fill_value(payload.json, value)
    return payload


def bytes_payload(data: bytes, content_type: str = BYTES_TYPE) -> common_pb2.Payload:
    """A payload of raw bytes."""
    return common_pb2.Payload(data=data, content_type=content_type)


def data_field(size_bytes: int) -> bytes:
    """What stands before so many bytes of `data` in an encoded Payload.

    A payload that parses the two (`MergeFromString`) copies them once, out of whatever memory they are in; assigned to
    `data`, they would have to be copied into a `bytes` object first.
    """
    return bytes((_DATA_TAG,)) + _varint(size_bytes)


def from_payload(payload: common_pb2.Payload) -> Json | bytes:
    """The value of a payload: plain JSON, or bytes; None where the payload holds nothing.

    Bytes of type application/json are parsed.

    Raises:
        ValidationError: The bytes claim to be JSON and are not, or the payload is a location (to be fetched first).
    """
    match payload.WhichOneof("content"):
        case "json":
            return from_value(payload.json)
        case "data":
            if payload.content_type == JSON_TYPE:
                return parse_json(payload.data)
            return payload.data
        case "location":
            raise ValidationError(
                "the payload is stored elsewhere and was not fetched", violations=(("location", "not fetched"),)
            )
        case _:
            return None


def content_bytes(payload: common_pb2.Payload) -> bytes:
    """The content of a payload as the payload store keeps it: its bytes, or its JSON as text.

    Equal JSON gives equal bytes: keys are sorted, and there is no white space.
    """
    if payload.WhichOneof("content") != "json":
        return payload.data
    return json.dumps(from_value(payload.json), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def parse_json(data: bytes) -> Json:
    """The JSON value of bytes.

    Raises:
        ValidationError: They are not JSON, or nested too deep.
    """
    try:
        value: Json = json.loads(data)
    except ValueError as error:
        raise ValidationError(f"not JSON: {error}", violations=(("data", str(error)),)) from error
    except RecursionError as error:
        raise _too_deep("data") from error
    return value


def to_value(value: object) -> struct_pb2.Value:
    """The protobuf Value of a plain value; see `fill_value`."""
    message = struct_pb2.Value()
    fill_value(message, value)
    return message


def fill_value(message: struct_pb2.Value, value: object, path: str = "", levels: int = 0) -> None:
    """Writes a plain value into a protobuf Value.

    Args:
        message: What to write into.
        value: The value.
        path: Where it stands in the whole, for error messages.
        levels: How deep it stands in the whole (see `LEVELS_MAX`).

    Decimal, UUID, date, datetime and string enums become strings; everything else that is not JSON is refused.

    Raises:
        ValidationError: The value or a part of it cannot be JSON; its path is in the message.
    """
    if value is None:
        message.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, str):
        message.string_value = value.value if isinstance(value, enum.Enum) else value
    elif isinstance(value, int):
        if not -_INT_LIMIT <= value <= _INT_LIMIT:
            raise _refused(path, f"the integer {value} is beyond ±2^53 and would be rounded; send it as a string")
        message.number_value = value
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(path, f"{value} is not JSON")
        message.number_value = value
    elif isinstance(value, Mapping):
        if levels + _OBJECT_LEVELS > LEVELS_MAX:
            raise _too_deep(path)
        fields = message.struct_value.fields
        message.struct_value.SetInParent()
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(path, f"the key {key!r} is not a string")
            fill_value(fields[key], item, f"{path}.{key}" if path else key, levels + _OBJECT_LEVELS)
    elif isinstance(value, list | tuple):
        if levels + _LIST_LEVELS > LEVELS_MAX:
            raise _too_deep(path)
        items = message.list_value.values
        message.list_value.SetInParent()
        for index, item in enumerate(value):
            fill_value(items.add(), item, f"{path}[{index}]", levels + _LIST_LEVELS)
    elif isinstance(value, decimal.Decimal | uuid.UUID):
        message.string_value = str(value)
    elif isinstance(value, datetime.datetime | datetime.date):
        message.string_value = value.isoformat()
    else:
        raise _refused(path, f"a {type(value).__name__} cannot be JSON")


def from_value(message: struct_pb2.Value) -> Json:
    """The plain value of a protobuf Value. Whole numbers come back as int, fields in the order of their names.

    Protobuf has its maps in another order in each process, and what is computed must not depend on that (R48).
    """
    kind = message.WhichOneof("kind")
    if kind == "string_value":
        return message.string_value
    if kind == "number_value":
        number = message.number_value
        return int(number) if number.is_integer() and abs(number) <= _INT_LIMIT else number
    if kind == "struct_value":
        return from_struct(message.struct_value)
    if kind == "list_value":
        return [from_value(item) for item in message.list_value.values]
    if kind == "bool_value":
        return message.bool_value
    return None


def from_struct(message: struct_pb2.Struct) -> dict[str, Json]:
    """The plain dict of a protobuf Struct, in the order of the names."""
    return {key: from_value(message.fields[key]) for key in sorted(message.fields)}


def to_struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    """The protobuf Struct of a plain mapping.

    Raises:
        ValidationError: A part cannot be JSON; its path is in the message.
    """
    message = struct_pb2.Struct()
    for key, item in values.items():
        fill_value(message.fields[key], item, key, _OBJECT_LEVELS)
    return message


def levels_of(path: Iterable[str | int]) -> int:
    """How deep a place is within a value: a name leads into an object, a number into a list."""
    return sum(_LIST_LEVELS if isinstance(part, int) else _OBJECT_LEVELS for part in path)


def require_shallow(value: struct_pb2.Value, path: str, levels: int = 0) -> None:
    """Refuses a JSON value that came over the wire and is too deep to be carried on.

    Args:
        value: The value.
        path: Where it stands, for error messages.
        levels: How deep it stands in the whole.

    Raises:
        ValidationError: It is deeper than `LEVELS_MAX`.
    """
    if value.WhichOneof("kind") not in ("struct_value", "list_value"):
        return
    try:
        # The parser counts in C, which costs less than a walk in Python: the wrapping leaves it the levels allowed.
        struct_pb2.Value.FromString(_wrapped(value.SerializeToString(), _PARSER_LEVELS - LEVELS_MAX + levels))
    except DecodeError:
        raise _too_deep(path) from None


def _wrapped(encoded: bytes, levels: int) -> bytes:
    """An encoded Value within lists, and one object where the number is odd, that are so many levels deep."""
    if levels % _LIST_LEVELS:
        encoded = _enclosed(0x2A, _enclosed(0x0A, _enclosed(0x12, encoded)))  # Value.struct_value, .fields, entry.value
        levels -= _OBJECT_LEVELS
    for _ in range(levels // _LIST_LEVELS):
        encoded = _enclosed(0x32, _enclosed(0x0A, encoded))  # Value.list_value, ListValue.values
    return encoded


def _enclosed(tag: int, encoded: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _too_deep(path: str) -> ValidationError:
    objects, lists = LEVELS_MAX // _OBJECT_LEVELS, LEVELS_MAX // _LIST_LEVELS
    # A path of that depth says nothing more than its beginning.
    return _refused(path[:80], f"nested too deep: at most {objects} objects or {lists} lists within each other")


def _refused(path: str, text: str) -> ValidationError:
    return ValidationError(f"{path or 'value'}: {text}", violations=((path or "value", text),))

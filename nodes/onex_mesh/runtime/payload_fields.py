"""The payloads within a message, wherever they stand in it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from onex.v1 import common_pb2

_PAYLOAD = common_pb2.Payload.DESCRIPTOR.full_name
_OWN = "onex.v1."


class _Shape(enum.Enum):
    ONE = "one"
    LIST = "list"
    MAP = "map"


def payloads_in(message: Message, at: str = "") -> Iterator[tuple[str, common_pb2.Payload]]:
    """Every payload that is set within a message, with its path; the payloads are the message's own, not copies.

    Args:
        message: What to look into; a payload itself is not.
        at: Path of the message, for the paths of its payloads.
    """
    shapes = _shapes(message.DESCRIPTOR)
    if not shapes:
        return
    for field, value in cast(list[tuple[FieldDescriptor, object]], message.ListFields()):
        shape = shapes.get(field.number)
        if shape is None:
            continue
        for place, item in _items(shape, value, f"{at}.{field.name}" if at else field.name):
            if isinstance(item, common_pb2.Payload):
                yield place, item
            else:
                yield from payloads_in(item, place)


def _items(shape: _Shape, value: object, path: str) -> Iterator[tuple[str, Message]]:
    if shape is _Shape.MAP:
        items = cast(Mapping[object, Message], value)
        for key in sorted(items, key=str):
            yield f"{path}.{key}", items[key]
    elif shape is _Shape.LIST:
        for index, item in enumerate(cast(list[Message], value)):
            yield f"{path}[{index}]", item
    else:
        yield path, cast(Message, value)


@cache
def _shapes(kind: Descriptor) -> Mapping[int, _Shape]:
    """The fields of a type that may have payloads in them, by number: most types have none, and need no look."""
    found: dict[int, _Shape] = {}
    for field in kind.fields:
        held = _held(field)
        if held is None or not (held.full_name == _PAYLOAD or _PAYLOAD in _reached(held, frozenset())):
            continue
        plural = _Shape.LIST if field.is_repeated else _Shape.ONE
        found[field.number] = _Shape.MAP if _is_map(field) else plural
    return found


def _reached(kind: Descriptor, seen: frozenset[str]) -> frozenset[str]:
    for field in kind.fields:
        held = _held(field)
        if held is not None and held.full_name.startswith(_OWN) and held.full_name not in seen:
            seen = _reached(held, seen | {held.full_name})
    return seen


def _held(field: FieldDescriptor) -> Descriptor | None:
    """The type of the messages in a field; of a map, that of its values."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return kind.fields_by_name["value"].message_type
    return kind


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry

"""The payloads within a message, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from onex.v1 import common_pb2

_PAYLOAD = common_pb2.Payload.DESCRIPTOR.full_name
_OWN = "onex.v1."


def payloads_in(message: Message, at: str = "") -> Iterator[tuple[str, common_pb2.Payload]]:
    """Every payload that is set within a message, with its path; the payloads are the message's own, not copies.

    Args:
        message: What to look into; a payload itself is not.
        at: Path of the message, for the paths of its payloads.
    """
    if not _may_hold(message.DESCRIPTOR):
        return
    for field, value in cast(list[tuple[FieldDescriptor, object]], message.ListFields()):
        kind = _value_type(field)
        if kind is None or not (kind.full_name == _PAYLOAD or _may_hold(kind)):
            continue
        path = f"{at}.{field.name}" if at else field.name
        for place, item in _items(field, value, path):
            if isinstance(item, common_pb2.Payload):
                yield place, item
            else:
                yield from payloads_in(item, place)


def _items(field: FieldDescriptor, value: object, path: str) -> Iterator[tuple[str, Message]]:
    if _is_map(field):
        items = cast(Mapping[object, Message], value)
        for key in sorted(items, key=str):
            yield f"{path}.{key}", items[key]
    elif field.is_repeated:
        for index, item in enumerate(cast(list[Message], value)):
            yield f"{path}[{index}]", item
    else:
        yield path, cast(Message, value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value_type(field: FieldDescriptor) -> Descriptor | None:
    kind = field.message_type
    if kind is None or not _is_map(field):
        return kind
    return kind.fields_by_name["value"].message_type


@cache
def _may_hold(kind: Descriptor) -> bool:
    """Whether messages of a type may have a payload in them: most do not and need no look."""
    return _PAYLOAD in _reached(kind, frozenset())


def _reached(kind: Descriptor, seen: frozenset[str]) -> frozenset[str]:
    for field in kind.fields:
        found = _value_type(field)
        if found is not None and found.full_name.startswith(_OWN) and found.full_name not in seen:
            seen = _reached(found, seen | {found.full_name})
    return seen

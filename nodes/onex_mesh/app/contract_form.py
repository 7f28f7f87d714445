"""Contracts as people write them: plain mappings turned into protobuf messages, every field checked.

The form is that of the messages of `onex.v1` with these freedoms: enum names without their prefix, durations as "5s",
"250ms" or a number of seconds, payloads given as their JSON, and a step's command (`effect`, `compute`, `reduction`)
directly in the step. A key that no field has is refused with the nearest one that exists.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.app.scalar_form import duration_seconds, read_scalar
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import fill_value
from onex_mesh.runtime.violations import Violations, describe, join

_PAYLOAD_FORMS = frozenset({"json", "data", "location"})
_PAYLOAD_FIELDS = _PAYLOAD_FORMS | {"content_type"}
_COMMANDS = ("effect", "intents", "compute", "reduction")


def fill_message(message: Message, value: object, path: str, violations: Violations) -> None:
    """Writes a plain value into a message; what does not fit is noted with its path."""
    special = _SPECIAL.get(message.DESCRIPTOR.full_name)
    if special is not None:
        special(message, value, path, violations)
    elif not isinstance(value, Mapping):
        violations.add(path, f"expected a mapping, found {describe(value)}")
    else:
        fill_fields(message, value, path, violations)


def fill_fields(message: Message, values: Mapping[str, object], path: str, violations: Violations) -> None:
    """Writes each entry of a mapping into the field of its name."""
    # The stubs offer two descriptor classes, one per implementation of protobuf; both have the same attributes.
    fields = cast(Mapping[str, FieldDescriptor], message.DESCRIPTOR.fields_by_name)
    oneofs: dict[str, str] = {}
    for key, value in values.items():
        field = fields.get(key)
        where = join(path, key)
        if field is None:
            violations.unknown(path, key, fields.keys())
            continue
        if value is None and not _takes_null(field):
            violations.add(where, "has no value; give one or leave the key out")
            continue
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            other = oneofs.setdefault(oneof.name, key)
            if other != key:
                violations.add(where, f"only one of {other!r} and {key!r} can be given")
                continue
        _fill_field(message, field, value, where, violations)


def _takes_null(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.full_name in ("google.protobuf.Value", "onex.v1.Payload")


def _fill_field(message: Message, field: FieldDescriptor, value: object, path: str, violations: Violations) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(message, field, value, path, violations)
    elif field.is_repeated:
        if not isinstance(value, list | tuple):
            violations.add(path, f"expected a list, found {describe(value)}")
            return
        items = getattr(message, field.name)
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            if field.message_type is not None:
                fill_message(items.add(), item, where, violations)
            else:
                scalar = read_scalar(field, item, where, violations)
                if scalar is not None:
                    items.append(scalar)
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        fill_message(child, value, path, violations)
    else:
        scalar = read_scalar(field, value, path, violations)
        if scalar is not None:
            setattr(message, field.name, scalar)


def _fill_map(message: Message, field: FieldDescriptor, value: object, path: str, violations: Violations) -> None:
    if not isinstance(value, Mapping):
        violations.add(path, f"expected a mapping, found {describe(value)}")
        return
    assert field.message_type is not None
    entry = field.message_type.fields_by_name["value"]
    target = getattr(message, field.name)
    for key, item in value.items():
        where = join(path, str(key))
        if entry.message_type is not None:
            fill_message(target[str(key)], item, where, violations)
        else:
            scalar = read_scalar(entry, item, where, violations)
            if scalar is not None:
                target[str(key)] = scalar


def _fill_duration(message: Message, value: object, path: str, violations: Violations) -> None:
    assert isinstance(message, duration_pb2.Duration)
    seconds = duration_seconds(value)
    if seconds is None:
        violations.add(path, f'expected a duration such as "5s", "250ms" or "1m30s", found {describe(value)}')
        return
    try:
        message.FromNanoseconds(round(seconds * 1e9))
    except ValueError:
        violations.add(path, f"{value!r} is longer than a duration can be")


def _fill_timestamp(message: Message, value: object, path: str, violations: Violations) -> None:
    assert isinstance(message, timestamp_pb2.Timestamp)
    try:
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        violations.add(path, f"expected a time with its offset, such as 2026-01-31T12:00:00Z, found {describe(value)}")
        return
    message.FromDatetime(moment)


def _fill_json(message: Message, value: object, path: str, violations: Violations) -> None:
    assert isinstance(message, struct_pb2.Value)
    try:
        fill_value(message, value, path)
    except ValidationError as error:
        for where, text in error.violations:
            violations.add(where, text)


def _fill_struct(message: Message, value: object, path: str, violations: Violations) -> None:
    assert isinstance(message, struct_pb2.Struct)
    if not isinstance(value, Mapping):
        violations.add(path, f"expected a mapping, found {describe(value)}")
        return
    for key, item in value.items():
        _fill_json(message.fields[key], item, join(path, key), violations)


def _fill_payload(message: Message, value: object, path: str, violations: Violations) -> None:
    """A payload in its own form if it has exactly that form, otherwise the value as its JSON."""
    assert isinstance(message, common_pb2.Payload)
    if (
        isinstance(value, Mapping)
        and value.keys() & _PAYLOAD_FORMS
        and value.keys() <= {*_PAYLOAD_FORMS, "content_type"}
    ):
        fill_fields(message, value, path, violations)
    elif isinstance(value, bytes):
        message.data = value
    else:
        _fill_json(message.json, value, path, violations)


def _fill_step(message: Message, value: object, path: str, violations: Violations) -> None:
    """A step, whose command may stand in it directly: `compute:` for `command: {compute: …}`."""
    assert isinstance(message, workflow_pb2.Step)
    if not isinstance(value, Mapping):
        violations.add(path, f"expected a mapping, found {describe(value)}")
        return
    fields = [name for name in message.DESCRIPTOR.fields_by_name if name != "command"]
    given = [key for key in (*_COMMANDS, "command") if key in value]
    if len(given) > 1:
        violations.add(join(path, given[1]), f"a step has one command; {given[0]!r} is there already")
    for key, item in value.items():
        if key in _COMMANDS:
            if key == given[0]:
                fill_fields(message.command, {key: item}, path, violations)
        elif key == "command" or key in fields:
            fill_fields(message, {key: item}, path, violations)
        else:
            violations.unknown(path, key, [*fields, *_COMMANDS])


_SPECIAL: Mapping[str, Callable[[Message, object, str, Violations], None]] = {
    "google.protobuf.Duration": _fill_duration,
    "google.protobuf.Timestamp": _fill_timestamp,
    "google.protobuf.Value": _fill_json,
    "google.protobuf.Struct": _fill_struct,
    "onex.v1.Payload": _fill_payload,
    "onex.v1.Step": _fill_step,
}

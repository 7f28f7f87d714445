"""Contracts as people write them: plain mappings turned into protobuf messages, every field checked.

The form is that of the messages of `onex.v1` with these freedoms: enum names without their prefix, durations as "5s",
"250ms" or a number of seconds, payloads given as their JSON, and a step's command (`effect`, `compute`, `reduction`)
directly in the step. A key that no field has is refused with the nearest one that exists.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import fill_value

_PAYLOAD_FORMS = frozenset({"json", "data", "location"})
_PAYLOAD_FIELDS = _PAYLOAD_FORMS | {"content_type"}
_COMMANDS = ("effect", "intents", "compute", "reduction")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|d)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


class Violations:
    """What is wrong with a document, in the order found."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []

    def add(self, path: str, text: str) -> None:
        """Notes one violation at a field path."""
        self.found.append((path, text))

    def unknown(self, path: str, key: str, known: Collection[str]) -> None:
        """Notes a key that does not exist, with the one that was probably meant."""
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"
        self.add(join(path, key), f"unknown key {key!r}; {hint}")


def join(path: str, key: str) -> str:
    """The path of a field within the message at `path`."""
    return f"{path}.{key}" if path else key


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


def describe(value: object) -> str:
    """What a value is, in the words of a YAML author."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:40]!r}"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def duration_seconds(value: object) -> float | None:
    """The seconds of "5s", "250ms", "1m30s" or a number; None where the value is no duration."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) and value >= 0 else None
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return None
    text = value.replace(" ", "")
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


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
                scalar = _scalar(field, item, where, violations)
                if scalar is not None:
                    items.append(scalar)
    elif field.message_type is not None:
        child = getattr(message, field.name)
        child.SetInParent()
        fill_message(child, value, path, violations)
    else:
        scalar = _scalar(field, value, path, violations)
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
            scalar = _scalar(entry, item, where, violations)
            if scalar is not None:
                target[str(key)] = scalar


def _scalar(
    field: FieldDescriptor, value: object, path: str, violations: Violations
) -> bool | int | float | str | bytes | None:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            if isinstance(value, str):
                return value
            quote = "; put it in quotes" if isinstance(value, int | float | datetime.date) else ""
            violations.add(path, f"expected text, found {describe(value)}{quote}")
        case FieldDescriptor.TYPE_BOOL:
            if isinstance(value, bool):
                return value
            violations.add(path, f"expected true or false, found {describe(value)}")
        case FieldDescriptor.TYPE_ENUM:
            return _enum(field.enum_type, value, path, violations)
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
            violations.add(path, f"expected a number, found {describe(value)}")
        case FieldDescriptor.TYPE_BYTES:
            return _bytes(value, path, violations)
        case _:
            low, high = _INTEGERS[field.type]
            if not isinstance(value, int) or isinstance(value, bool):
                violations.add(path, f"expected a whole number, found {describe(value)}")
            elif not low <= value <= high:
                violations.add(path, f"{value} is not within {low} to {high}")
            else:
                return value
    return None


def _enum(kind: EnumDescriptor | None, value: object, path: str, violations: Violations) -> int | None:
    assert kind is not None
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names = {row.name.removeprefix(prefix): row.number for row in kind.values if row.number != 0}
    if not isinstance(value, str):
        violations.add(path, f"expected one of {', '.join(names)}, found {describe(value)}")
        return None
    name = value.upper().removeprefix(prefix)
    if name in names:
        return names[name]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}"
    violations.add(path, f"{value!r} is not known; {hint}")
    return None


def _bytes(value: object, path: str, violations: Violations) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            violations.add(path, "expected Base64 text")
            return None
    violations.add(path, f"expected Base64 text, found {describe(value)}")
    return None


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

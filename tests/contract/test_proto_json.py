"""Every message of the contract is plain serialisable data."""

from __future__ import annotations

import math

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.descriptors import messages

MESSAGES = messages()

# A command may hold a chain, whose links hold commands; an error may hold its cause.
_NESTING_MAX = 6

_SCALARS: dict[int, object] = {
    FieldDescriptor.TYPE_STRING: 'text with "quotes", ünïcode and \n a line end',
    FieldDescriptor.TYPE_BYTES: bytes(range(256)),
    FieldDescriptor.TYPE_BOOL: True,
    FieldDescriptor.TYPE_DOUBLE: 0.1 + 0.2,
    FieldDescriptor.TYPE_INT32: -(2**31),
    FieldDescriptor.TYPE_INT64: 2**63 - 1,
}


def filled(descriptor: Descriptor, *, choice: int = 0, nesting: int = 0) -> Message:
    """A message with every field set; of each oneof, the member of number `choice`, or its last one."""
    message = GetMessageClass(descriptor)()
    skipped = {
        field.name
        for oneof in descriptor.oneofs
        for index, field in enumerate(oneof.fields)
        if index != min(choice, len(oneof.fields) - 1)
    }
    for field in descriptor.fields:
        if field.name not in skipped:
            _fill(message, field, choice, nesting)
    return message


def _fill(message: Message, field: FieldDescriptor, choice: int, nesting: int) -> None:
    if field.message_type is not None and nesting >= _NESTING_MAX:
        return
    if _fill_known(message, field):
        return
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        target = getattr(message, field.name)
        value = field.message_type.fields_by_name["value"]
        if value.message_type is not None:
            target["key"].CopyFrom(filled(value.message_type, choice=choice, nesting=nesting + 1))
        else:
            target["key"] = _scalar(value)
    elif field.message_type is not None:
        value = filled(field.message_type, choice=choice, nesting=nesting + 1)
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            getattr(message, field.name).CopyFrom(value)
    elif field.is_repeated:
        getattr(message, field.name).extend([_scalar(field), _scalar(field)])
    else:
        setattr(message, field.name, _scalar(field))


def _fill_known(message: Message, field: FieldDescriptor) -> bool:
    """Google's own types that have a JSON form of their own."""
    if field.message_type is None or field.is_repeated:
        return False
    match field.message_type.full_name:
        case "google.protobuf.Timestamp":
            getattr(message, field.name).FromJsonString("2024-02-29T23:59:59.123456789Z")
        case "google.protobuf.Duration":
            getattr(message, field.name).FromJsonString("-3.000000001s")
        case "google.protobuf.Struct":
            getattr(message, field.name).update({"a": [1.5, None, {"b": "${steps.read.output}"}], "": True})
        case "google.protobuf.Value":
            getattr(message, field.name).list_value.extend(["x", -0.5, False, None])
        case _:
            return False
    return True


def _scalar(field: FieldDescriptor) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return _SCALARS[field.type]


def _choices() -> list[tuple[str, int]]:
    """Each message with each number of a oneof's member, so that every member is tried."""
    return [
        (name, choice)
        for name, descriptor in sorted(MESSAGES.items())
        for choice in range(max((len(oneof.fields) for oneof in descriptor.oneofs), default=1))
    ]


def _unset(message: Message) -> list[str]:
    present = {field.name for field, _ in message.ListFields()}
    chosen = {oneof.name: message.WhichOneof(oneof.name) for oneof in message.DESCRIPTOR.oneofs}
    return [
        field.name
        for field in message.DESCRIPTOR.fields
        if field.name not in present and (field.containing_oneof is None or chosen[field.containing_oneof.name] is None)
    ]


@pytest.mark.parametrize(("name", "choice"), _choices())
def test_every_message_survives_json(name: str, choice: int) -> None:
    """R129: a message with every field set is the same after a way through JSON, and through bytes."""
    message = filled(MESSAGES[name], choice=choice)
    assert _unset(message) == []
    through_json = json_format.Parse(json_format.MessageToJson(message), type(message)())
    assert through_json == message
    assert type(message).FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_an_empty_message_survives_json(name: str) -> None:
    """R129: what is not set stays not set."""
    message = GetMessageClass(MESSAGES[name])()
    assert json_format.MessageToDict(message) == {}
    assert json_format.ParseDict({}, type(message)()) == message


def test_json_uses_the_names_of_enum_values_and_keeps_64_bits() -> None:
    """R129: what people see in grpcurl: enum names, and 64-bit integers that are not rounded."""
    action = filled(MESSAGES["Action"])
    shown = json_format.MessageToDict(action)
    assert shown["actionType"] == "ACTION_TYPE_ROLLBACK_STATE"
    assert shown["fencingToken"] == str(2**63 - 1)
    assert shown["expiresAt"] == "2024-02-29T23:59:59.123456789Z"


_JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False).filter(
        lambda number: math.copysign(1, number) > 0 or number != 0
    )
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=_JSON_VALUES)
def test_any_json_survives_in_a_payload(value: object) -> None:
    """R129: any JSON value in a Payload is the same after a way through JSON and through bytes."""
    payload = GetMessageClass(MESSAGES["Payload"])()
    json_format.ParseDict({"json": value, "contentType": "application/json"}, payload)
    assert json_format.MessageToDict(payload).get("json") == value
    assert json_format.Parse(json_format.MessageToJson(payload), type(payload)()) == payload
    assert type(payload).FromString(payload.SerializeToString()) == payload

"""The fields of a command that may hold templates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from google.protobuf import struct_pb2
from google.protobuf.message import Message

from onex.v1 import action_pb2, common_pb2


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A payload: templates stand in its JSON, and it may be replaced as a whole."""

    at: str
    reach: Callable[[action_pb2.Command], common_pb2.Payload]


@dataclass(frozen=True, slots=True)
class StructField:
    """A struct: templates stand in its values."""

    at: str
    reach: Callable[[action_pb2.Command], struct_pb2.Struct]


@dataclass(frozen=True, slots=True)
class StringField:
    """A string: a template in it gives a text.

    Attributes:
        at: Path within the command.
        reach: Gives the message that it is a field of.
        name: Name of the field there.
    """

    at: str
    reach: Callable[[action_pb2.Command], Message]
    name: str


Field: TypeAlias = PayloadField | StructField | StringField


def _payload(at: str) -> PayloadField:
    return PayloadField(at, attrgetter(at))


def _struct(at: str) -> StructField:
    return StructField(at, attrgetter(at))


def _string(at: str) -> StringField:
    holder, _, name = at.rpartition(".")
    return StringField(at, attrgetter(holder), name)


_FIELDS: Mapping[str, tuple[Field, ...]] = {
    "effect": (
        _struct("effect.io_operation_config.parameters"),
        _payload("effect.io_operation_config.body"),
        _string("effect.idempotency_key"),
        _string("effect.cache.key"),
    ),
    "compute": (
        _payload("compute.input_data"),
        _struct("compute.algorithm_config.parameters"),
        _string("compute.cache.key"),
    ),
    "reduction": (
        _payload("reduction.input_data"),
        _string("reduction.fsm_action.action"),
        _payload("reduction.fsm_action.payload"),
        _struct("reduction.reduction_config.parameters"),
    ),
}


def fields_of(command: action_pb2.Command) -> Iterator[Field]:
    """The fields of a command that may hold templates. A chain has none of its own: its links have."""
    kind = command.WhichOneof("command") or ""
    yield from _FIELDS.get(kind, ())
    if kind == "compute":
        for name in sorted(command.compute.inputs):
            yield _further_input(name)
    if kind == "intents":
        for index in range(len(command.intents.intents)):
            yield _intent_payload(index)


def _further_input(name: str) -> PayloadField:
    return PayloadField(f"compute.inputs.{name}", lambda command: command.compute.inputs[name])


def _intent_payload(index: int) -> StructField:
    return StructField(f"intents.intents[{index}].payload", lambda command: command.intents.intents[index].payload)

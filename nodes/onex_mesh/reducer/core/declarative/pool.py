"""The records of a file as the descriptors of protobuf messages, which give CEL its types."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, timestamp_pb2, wrappers_pb2

from onex_mesh.reducer.core.declarative.types import FieldType, Kind, Record, RecordField

PACKAGE = "machine"

_Proto = descriptor_pb2.FieldDescriptorProto
_numbers = itertools.count(1)
_WRAPPED = {
    Kind.STRING: "StringValue",
    Kind.DECIMAL: "StringValue",
    Kind.INT: "Int64Value",
    Kind.DOUBLE: "DoubleValue",
    Kind.BOOL: "BoolValue",
}
SCALARS = {
    Kind.STRING: _Proto.TYPE_STRING,
    Kind.DECIMAL: _Proto.TYPE_STRING,
    Kind.INT: _Proto.TYPE_INT64,
    Kind.DOUBLE: _Proto.TYPE_DOUBLE,
    Kind.BOOL: _Proto.TYPE_BOOL,
}
"""The kinds that a message holds as they are."""


def pool_of(records: Sequence[Record]) -> descriptor_pool.DescriptorPool:
    """A pool with a message for each record, in the package `PACKAGE`."""
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, struct_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name=f"machine_{next(_numbers)}.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module in (timestamp_pb2, struct_pb2, wrappers_pb2)],
    )
    for record in records:
        message = file.message_type.add(name=record.name)
        for number, field in enumerate(record.fields, 1):
            _add_field(message, number, field)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, field: RecordField) -> None:
    if field.type.kind is Kind.MAP:
        assert field.type.item is not None
        # A map is a list of entries to protobuf; the entry's name follows from that of the field.
        entry = message.nested_type.add(name="".join(part.capitalize() for part in field.name.split("_")) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_Proto.LABEL_OPTIONAL, type=_Proto.TYPE_STRING)
        _typed(entry.field.add(name="value", number=2, label=_Proto.LABEL_OPTIONAL), field.type.item)
        added = message.field.add(name=field.name, number=number, label=_Proto.LABEL_REPEATED)
        added.type, added.type_name = _Proto.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
        return
    is_list = field.type.kind is Kind.LIST
    label = _Proto.LABEL_REPEATED if is_list else _Proto.LABEL_OPTIONAL
    item = field.type.item if is_list else field.type
    assert item is not None
    _typed(message.field.add(name=field.name, number=number, label=label), item)


def _typed(proto: descriptor_pb2.FieldDescriptorProto, kind: FieldType) -> None:
    if kind.kind in SCALARS and not kind.optional:
        proto.type = SCALARS[kind.kind]
        return
    proto.type = _Proto.TYPE_MESSAGE
    if kind.kind is Kind.RECORD:
        proto.type_name = f".{PACKAGE}.{kind.record}"
    elif kind.kind is Kind.TIMESTAMP:
        proto.type_name = ".google.protobuf.Timestamp"
    elif kind.kind is Kind.JSON:
        proto.type_name = ".google.protobuf.Value"
    else:
        proto.type_name = f".google.protobuf.{_WRAPPED[kind.kind]}"

"""The records of a file, twice: as pydantic models, which check values, and as protobuf messages, which give CEL types.

CEL knows the fields of messages and their types, so a wrong name or a sum of a number and a text is found when the file
is loaded, not when an order is placed. The messages exist in this process only and never travel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal, TypeAlias, cast

import pydantic
from cel_expr_python import cel
from google.protobuf import message_factory, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from onex_mesh.reducer.core.declarative.pool import PACKAGE, SCALARS, pool_of
from onex_mesh.reducer.core.declarative.types import FieldType, Kind, Record, RecordField
from onex_mesh.reducer.core.freeze import FrozenDict, FrozenJson
from onex_mesh.runtime.payload import Json, from_value, to_value

STATE = "State"
PAYLOAD = "Payload"
CONTEXT = "Context"
"""Names of the records of the state, of payloads (with a number), and of `ctx`; no others may have them."""

_WHOLE_MAX = 2**53
_TIMESTAMP = "google.protobuf.Timestamp"
_VALUE = "google.protobuf.Value"
_CEL = {
    Kind.STRING: cel.Type.STRING,
    Kind.DECIMAL: cel.Type.STRING,
    Kind.INT: cel.Type.INT,
    Kind.DOUBLE: cel.Type.DOUBLE,
    Kind.BOOL: cel.Type.BOOL,
    Kind.TIMESTAMP: cel.Type.TIMESTAMP,
    Kind.JSON: cel.Type.DYN,
}
_PYTHON: Mapping[Kind, object] = {
    Kind.STRING: str,
    Kind.INT: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
    Kind.DOUBLE: Annotated[float, Field(allow_inf_nan=False)],
    Kind.BOOL: bool,
    Kind.DECIMAL: Annotated[Decimal, Field(allow_inf_nan=False)],
    Kind.TIMESTAMP: AwareDatetime,
    Kind.JSON: FrozenJson,
}
_EMPTY: Mapping[Kind, object] = {
    Kind.STRING: "",
    Kind.INT: 0,
    Kind.DOUBLE: 0.0,
    Kind.BOOL: False,
    Kind.DECIMAL: Decimal(0),
    Kind.JSON: None,
    Kind.LIST: (),
    Kind.MAP: FrozenDict[str, object](),
}


Plain: TypeAlias = Callable[[object], object]
"""From a value of a document to plain JSON as CEL would give it."""


def _as_it_is(value: object) -> object:
    return value


_PLAIN: Mapping[Kind, Plain] = {
    **dict.fromkeys((Kind.STRING, Kind.INT, Kind.BOOL, Kind.DECIMAL), _as_it_is),
    Kind.JSON: lambda value: from_value(to_value(cast("Json", value))),
    Kind.TIMESTAMP: lambda value: None if value is None else _in_utc(datetime.fromisoformat(str(value))),
}


def _in_utc(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class RecordModel(BaseModel):
    """Base of the models."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Schema:
    """The records of one file.

    Args:
        records: Each after those that it uses.
        status: The field of the state that holds the FSM state, and the enum of its values.
    """

    def __init__(self, records: Sequence[Record], *, status: tuple[str, type[Enum]] | None = None) -> None:
        self._records = {record.name: record for record in records}
        self._models: dict[str, type[BaseModel]] = {}
        self._status = status
        for record in records:
            self._models[record.name] = self._model(record)
        self.pool = pool_of(records)
        self._messages = {
            name: message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
            for name in self._records
        }
        self._direct = {
            record.name: tuple(field.name for field in record.fields if self._is_direct(field.type))
            for record in records
        }
        self._indirect = {
            record.name: tuple(field for field in record.fields if not self._is_direct(field.type))
            for record in records
        }

    def model(self, name: str) -> type[BaseModel]:
        """The model of a record."""
        return self._models[name]

    def record(self, name: str) -> Record:
        """A record."""
        return self._records[name]

    def __contains__(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return name in self._records

    def check_field(self, record: str, field: str, value: object) -> None:
        """Checks plain JSON of one field.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        found = next(row for row in self._records[record].fields if row.name == field)
        annotation: type = cast("type", self._annotation(self._records[record], found))
        pydantic.TypeAdapter(annotation).validate_python(value)

    def cel_type(self, kind: FieldType) -> cel.Type:
        """What CEL takes a field for."""
        if kind.kind is Kind.RECORD:
            return cel.Type(f"{PACKAGE}.{kind.record}")
        if kind.item is not None:
            item = self.cel_type(kind.item)
            return cel.Type.List(item) if kind.kind is Kind.LIST else cel.Type.Map(cel.Type.STRING, item)
        return _CEL[kind.kind]

    def message(self, name: str, document: Mapping[str, object]) -> Message:
        """The message of a record, from plain JSON that its model has checked."""
        # protobuf itself takes most of it, nested dicts and lists included, and is faster at it.
        message = self._messages[name](**{key: document[key] for key in self._direct[name] if key in document})
        self._fill(message, self._indirect[name], document)
        return message

    def plain(self, value: object) -> object:
        """Plain JSON of a value that CEL returned.

        Raises:
            ValueError: It cannot be JSON: bytes, a duration, a map with other keys than text.
        """
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                # As everywhere in the mesh, JSON numbers that are whole are whole.
                return int(value) if value.is_integer() and abs(value) <= _WHOLE_MAX else value
            case datetime():
                return _in_utc(value)
            case Message():
                return self._plain_message(value)
            case Mapping():
                for key in value:
                    if not isinstance(key, str):
                        raise ValueError(f"the key {key!r} of a map is no text")
                return {key: self.plain(item) for key, item in value.items()}
            case list() | tuple():
                return [self.plain(item) for item in value]
        raise ValueError(f"a {type(value).__name__} cannot be JSON; use string(…)")

    def plain_field(self, name: str, path: Sequence[str]) -> Plain | None:
        """How the plain JSON of a field follows from the document of a record, as `plain` would give it.

        Args:
            name: The record.
            path: Names of fields, outermost first; none for the record itself.

        Returns:
            None where that cannot be told without CEL: a field that may be absent is on the way, or there is none.
        """
        kind = FieldType(Kind.RECORD, record=name)
        for part in path:
            fields = self._records[kind.record].fields if kind.kind is Kind.RECORD else ()
            found = next((field.type for field in fields if field.name == part), None)
            if found is None or found.optional:
                return None
            kind = found
        return self._plain_document(kind)

    def _plain_document(self, kind: FieldType) -> Plain:
        """Plain JSON as `plain` would give it, from JSON that the model has checked."""
        if kind.kind is Kind.RECORD:
            fields = [(row.name, self._plain_document(row.type)) for row in self._records[kind.record].fields]
            if all(convert is _as_it_is for _, convert in fields):
                return _as_it_is
            return lambda value: value and {name: convert(value[name]) for name, convert in fields}  # type: ignore[index]
        if kind.kind is Kind.LIST and kind.item is not None:
            item = self._plain_document(kind.item)
            return _as_it_is if item is _as_it_is else lambda value: [item(row) for row in cast("list[object]", value)]
        if kind.kind is Kind.MAP and kind.item is not None:
            item = self._plain_document(kind.item)
            return lambda value: {key: item(row) for key, row in sorted(cast("dict[str, object]", value).items())}
        return _PLAIN.get(kind.kind, self.plain)

    def _model(self, record: Record) -> type[BaseModel]:
        fields: dict[str, object] = {}
        for field in record.fields:
            annotation = self._annotation(record, field)
            if field.required:
                fields[field.name] = (annotation, Field(description=field.description or None))
            else:
                fields[field.name] = (annotation, Field(field.default, description=field.description or None))
        with warnings.catch_warnings():
            # `copy`, `json` and the like are good names of fields; nothing here calls the old methods of that name.
            warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
            model = pydantic.create_model(record.name, __base__=RecordModel, **fields)  # type: ignore[call-overload]  # fields by name
        return cast("type[BaseModel]", model)

    def _annotation(self, record: Record, field: RecordField) -> object:
        kind = field.type
        if self._status is not None and (record.name, field.name) == (STATE, self._status[0]):
            return self._status[1]
        annotation: object = Literal[field.one_of] if field.one_of else self._python(kind)
        if field.constraints:
            annotation = Annotated[annotation, Field(**field.constraints)]  # type: ignore[call-overload]  # by name
        return annotation | None if kind.optional else annotation  # type: ignore[operator]  # types are joined by |

    def _python(self, kind: FieldType) -> object:
        if kind.kind is Kind.RECORD:
            return self._models[kind.record]
        if kind.item is None:
            return _PYTHON[kind.kind]
        item = self._python(kind.item)
        return tuple[item, ...] if kind.kind is Kind.LIST else FrozenDict[str, item]  # type: ignore[valid-type]  # built here

    def _is_direct(self, kind: FieldType) -> bool:
        """Whether JSON of a field is what its message takes as it is."""
        if kind.kind is Kind.RECORD:
            return not kind.optional and all(self._is_direct(field.type) for field in self._records[kind.record].fields)
        if kind.item is not None:
            return self._is_direct(kind.item)
        return kind.kind in SCALARS and not kind.optional

    def _fill(self, message: Message, fields: Sequence[RecordField], document: Mapping[str, object]) -> None:
        for field in fields:
            value = document.get(field.name)
            if value is None and field.type.kind is not Kind.JSON:
                continue
            self._set(message, field.name, field.type, value)

    def _set(self, message: Message, name: str, kind: FieldType, value: object) -> None:
        if kind.kind in SCALARS:
            text = str(value) if kind.kind is Kind.DECIMAL else value
            if kind.optional:
                getattr(message, name).value = text
            else:
                setattr(message, name, text)
        elif kind.kind is Kind.LIST:
            self._set_list(getattr(message, name), kind, cast("Sequence[object]", value))
        elif kind.kind is Kind.MAP:
            self._set_map(getattr(message, name), kind, cast("Mapping[str, object]", value))
        else:
            self._set_message(getattr(message, name), kind, value)

    def _set_list(self, container: list[object], kind: FieldType, values: Sequence[object]) -> None:
        assert kind.item is not None
        if kind.item.kind in SCALARS:
            container.extend(str(value) if kind.item.kind is Kind.DECIMAL else value for value in values)
            return
        for value in values:
            self._set_message(container.add(), kind.item, value)  # type: ignore[attr-defined]  # a repeated message

    def _set_map(self, container: dict[str, object], kind: FieldType, values: Mapping[str, object]) -> None:
        assert kind.item is not None
        for key, value in values.items():
            if kind.item.kind in SCALARS:
                container[key] = str(value) if kind.item.kind is Kind.DECIMAL else value
            else:
                self._set_message(cast("Message", container[key]), kind.item, value)

    def _set_message(self, message: Message, kind: FieldType, value: object) -> None:
        message.SetInParent()
        if kind.kind is Kind.TIMESTAMP:
            cast("timestamp_pb2.Timestamp", message).FromDatetime(datetime.fromisoformat(str(value)))
        elif kind.kind is Kind.JSON:
            # The pool has a class of its own for JSON values; the bytes are the same.
            message.ParseFromString(to_value(cast("Json", value)).SerializeToString())
        else:
            self._fill(message, self._records[kind.record].fields, cast("Mapping[str, object]", value))

    def _plain_message(self, message: Message) -> object:
        name = message.DESCRIPTOR.full_name
        if name == _TIMESTAMP:
            return self.plain(cast("timestamp_pb2.Timestamp", message).ToDatetime(tzinfo=UTC))
        if name == _VALUE:
            return from_value(struct_pb2.Value.FromString(message.SerializeToString()))
        if name.startswith("google.protobuf."):
            return cast("wrappers_pb2.StringValue", message).value
        document: dict[str, object] = {}
        for field in self._records[message.DESCRIPTOR.name].fields:
            document[field.name] = self._plain_field(message, field)
        return document

    def _plain_field(self, message: Message, field: RecordField) -> object:
        value = getattr(message, field.name)
        if field.type.kind is Kind.LIST:
            return [self.plain(item) for item in value]
        if field.type.kind is Kind.MAP:
            return {key: self.plain(value[key]) for key in sorted(value)}
        if isinstance(value, Message) and not message.HasField(field.name):
            return None
        return self.plain(value)


def natural_default(kind: FieldType) -> tuple[bool, object]:
    """Whether a field of the state has a default without saying so, and which: what is empty, zero, false or absent."""
    if kind.optional:
        return True, None
    return (True, _EMPTY[kind.kind]) if kind.kind in _EMPTY else (False, None)

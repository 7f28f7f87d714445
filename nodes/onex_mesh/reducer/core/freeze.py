"""Deep immutability: what reducers are given and return cannot be changed in place (F38)."""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import types
import typing
import uuid
from collections.abc import Iterator, Mapping
from typing import Annotated, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.functional_serializers import PlainSerializer
from pydantic.functional_validators import AfterValidator
from pydantic_core import core_schema

_JSON_SCALARS = frozenset({str, int, float, bool, types.NoneType})

K = TypeVar("K")
V = TypeVar("V")

_SCALARS = (
    str,
    bytes,
    bool,
    int,
    float,
    complex,
    types.NoneType,
    enum.Enum,
    decimal.Decimal,
    uuid.UUID,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
)


_set = object.__setattr__


class FrozenDict(Mapping[K, V], Generic[K, V]):
    """A mapping that cannot be changed, nor the plain values in it; a field type: `FrozenDict[str, int]`."""

    __slots__ = ("_hash", "_items")

    _items: Mapping[K, V]
    _hash: int

    def __init__(self, items: Mapping[K, V] | None = None) -> None:
        # Frozen values have the same use as thawed ones: a list of V is not a V that a reducer may hold.
        frozen = {key: item if type(item) in _JSON_SCALARS else freeze(item) for key, item in (items or {}).items()}
        _set(self, "_items", types.MappingProxyType(frozen))

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("a FrozenDict cannot be changed; `|` makes another one")

    def __delattr__(self, name: str) -> None:
        raise TypeError("a FrozenDict cannot be changed")

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self._items),)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"FrozenDict({dict(self._items)!r})"

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            # Asked for the first time.
            _set(self, "_hash", hash(frozenset(self._items.items())))
            return self._hash

    def __or__(self, other: Mapping[K, V]) -> FrozenDict[K, V]:
        """A new one with the items of both; those of `other` win."""
        return FrozenDict({**self._items, **other})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Checked and written as a dict is."""
        key, value = typing.get_args(source) or (object, object)
        as_dict = handler.generate_schema(types.GenericAlias(dict, (key, value)))
        return core_schema.no_info_after_validator_function(
            FrozenDict,
            core_schema.no_info_before_validator_function(_to_dict, as_dict),
            serialization=core_schema.wrap_serializer_function_ser_schema(
                _serialize, schema=as_dict, return_schema=core_schema.any_schema()
            ),
        )


def freeze(value: object) -> object:
    """Plain JSON that cannot be changed: mappings become `FrozenDict`, lists become tuples, at every depth."""
    kind = type(value)
    if kind in _JSON_SCALARS or kind is FrozenDict:
        return value
    if kind is dict or isinstance(value, Mapping):
        assert isinstance(value, Mapping)
        return FrozenDict(value)
    if isinstance(value, list | tuple):
        return tuple([item if type(item) in _JSON_SCALARS else freeze(item) for item in value])
    return value


def freeze_json(value: object) -> object:
    """As `freeze`, of what is nothing but plain data.

    Raises:
        ValueError: A part of it could be changed, or has no order: a set, a bytearray, an object of any class.
    """
    frozen = freeze(value)
    for part in _leaves(frozen):
        if not isinstance(part, _SCALARS):
            hint = ": sort it into a tuple" if isinstance(part, set | frozenset) else ""
            raise ValueError(f"a {type(part).__name__} is not JSON{hint}")
    return frozen


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
    else:
        yield value


def thaw(value: object) -> object:
    """The plain JSON of frozen JSON.

    Raises:
        ValueError: It holds an infinity or not-a-number, which pydantic would write as null.
    """
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not JSON")
    return value


FrozenJson: TypeAlias = Annotated[object, AfterValidator(freeze_json), PlainSerializer(thaw)]
"""A field of any JSON, frozen at every depth."""


def mutable_part(annotation: object) -> str | None:
    """What in a type could be changed in place, such as "items: list"; None if nothing.

    Frozen pydantic models, tuples, `FrozenDict`, `FrozenJson`, enums, and the usual scalars cannot.
    """
    return _mutable_part(annotation, "", frozenset())


def _mutable_part(annotation: object, path: str, seen: frozenset[type]) -> str | None:
    if annotation == FrozenJson:
        return None
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _mutable_part(args[0], path, seen)
    if origin is typing.Literal:
        return None
    if frozenset in (origin, annotation):
        text = "frozenset, whose order differs from process to process; use a sorted tuple"
        return f"{path}: {text}" if path else text
    if origin in (typing.Union, types.UnionType) or origin in (tuple, FrozenDict):
        return next(filter(None, (_mutable_part(arg, path, seen) for arg in args if arg is not Ellipsis)), None)
    if not isinstance(annotation, type):
        return f"{path}: {annotation}" if path else str(annotation)
    if issubclass(annotation, BaseModel):
        return None if annotation in seen else _mutable_field(annotation, path, seen | {annotation})
    if issubclass(annotation, enum.Enum):
        return _mutable_member(annotation, path)
    if issubclass(annotation, _SCALARS):
        return None
    if annotation is tuple:
        return f"{path}: tuple, whose items may be anything: tuple[str, ...]"
    return f"{path}: {annotation.__name__}" if path else annotation.__name__


def _mutable_member(kind: type[enum.Enum], path: str) -> str | None:
    """Of an enum, whose members hold what the application gave them."""
    for member in kind:
        if any(not isinstance(part, _SCALARS) for part in _leaves(member.value)):
            return f"{path}: {kind.__name__}.{member.name} is a {type(member.value).__name__}"
    return None


def _mutable_field(model: type[BaseModel], path: str, seen: frozenset[type]) -> str | None:
    where = f"{path} ({model.__name__})" if path else model.__name__
    if not model.model_config.get("frozen"):
        return f"{where} is not frozen: model_config = ConfigDict(frozen=True)"
    if model.model_config.get("extra") == "allow":
        return f"{where} allows extra fields, which are not frozen"
    if model.__private_attributes__:
        return f"{where} has private attributes, which are not frozen"
    for name, field in model.model_fields.items():
        annotation = field.rebuild_annotation() if field.metadata else field.annotation
        found = _mutable_part(annotation, f"{path}.{name}" if path else name, seen)
        if found:
            return found
    return None


def _to_dict(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _serialize(value: Mapping[K, V], handler: core_schema.SerializerFunctionWrapHandler) -> object:
    return handler(dict(value))

"""The tree of a compiled expression, as far as it is looked at: the messages of cel.expr.CheckedExpr that CEL writes.

Only the fields that are read here are declared; protobuf passes over the others. Source: cel/expr/syntax.proto of
github.com/google/cel-spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from cel_expr_python import cel
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_Proto = descriptor_pb2.FieldDescriptorProto
_TEXT, _WHOLE, _REAL, _BOOL = _Proto.TYPE_STRING, _Proto.TYPE_INT64, _Proto.TYPE_DOUBLE, _Proto.TYPE_BOOL
_FIELDS: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "Constant": (("bool_value", 2, _BOOL, False), ("int64_value", 3, _WHOLE, False), ("double_value", 5, _REAL, False),
                 ("string_value", 6, _TEXT, False)),
    "Ident": (("name", 1, _TEXT, False),),
    "Select": (("operand", 1, "Expr", False), ("field", 2, _TEXT, False), ("test_only", 3, _BOOL, False)),
    "Call": (("target", 1, "Expr", False), ("function", 2, _TEXT, False), ("args", 3, "Expr", True)),
    "List": (("elements", 1, "Expr", True),),
    "Expr": (("const_expr", 3, "Constant", False), ("ident_expr", 4, "Ident", False),
             ("select_expr", 5, "Select", False), ("call_expr", 6, "Call", False), ("list_expr", 7, "List", False)),
    "CheckedExpr": (("expr", 4, "Expr", False),),
}  # fmt: skip
"""Name, number, type, and whether there may be several, of the fields of each message."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: text, a number, or a truth value."""

    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Name:
    """A variable and fields of it, such as `state.status`."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator, such as "_&&_"; of a method, the object comes first."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list that is written out."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else: a comprehension, a map, null, …"""


Node = Literal | Name | Call | Items | Other


def tree_of(expression: cel.Expression) -> Node:
    """The tree of an expression."""
    wrapped = any_pb2.Any.FromString(expression.serialize())
    checked = _MESSAGE.FromString(wrapped.value)
    return _node(checked.expr)  # type: ignore[attr-defined]  # made above


def _node(message: Message) -> Node:
    kind = next((row.name for row, _ in message.ListFields()), "")
    value = getattr(message, kind) if kind else None
    match kind, value:
        case "const_expr", Message():
            (found,) = value.ListFields() or ((None, None),)
            return Other() if found[0] is None else Literal(found[1])
        case "ident_expr", Message():
            return Name((value.name,))  # type: ignore[attr-defined]  # made above
        case "select_expr", Message():
            return _selected(value)
        case "call_expr", Message():
            return _called(value)
        case "list_expr", Message():
            return Items(_nodes(value.elements))  # type: ignore[attr-defined]  # likewise
    return Other()


def _selected(value: Message) -> Node:
    operand = _node(value.operand)  # type: ignore[attr-defined]  # made above
    if value.test_only or not isinstance(operand, Name):  # type: ignore[attr-defined]  # likewise
        return Other()
    return Name((*operand.path, value.field))  # type: ignore[attr-defined]  # likewise


def _called(value: Message) -> Node:
    target = (_node(value.target),) if value.HasField("target") else ()  # type: ignore[attr-defined]  # made above
    return Call(value.function, (*target, *_nodes(value.args)))  # type: ignore[attr-defined]  # likewise


def _nodes(messages: Sequence[Message]) -> tuple[Node, ...]:
    return tuple(_node(message) for message in messages)


def _message() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="onex_tree.proto", package="onex_tree", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, several in fields:
            label = _Proto.LABEL_REPEATED if several else _Proto.LABEL_OPTIONAL
            row = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                row.type, row.type_name = _Proto.TYPE_MESSAGE, f".onex_tree.{kind}"
            else:
                row.type = cast("_Proto.Type.ValueType", kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onex_tree.CheckedExpr"))


_MESSAGE = _message()

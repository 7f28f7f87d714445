"""The syntax tree of an expression in CEL, read from what the compiler writes.

A compiled expression serialises to a `cel.expr.CheckedExpr` (cel-spec, proto/cel/expr/checked.proto and syntax.proto).
The messages of it that are read here are described below by name and number; nothing else of it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cel_expr_python import cel
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

Scalar: TypeAlias = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of JSON."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Selection:
    """A field of something; where `is_test`, whether it is there: has()."""

    operand: Syntax
    field: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator such as "_+_"; the target of a method is the first argument."""

    function: str
    arguments: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of expressions."""

    elements: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """What is none of these: maps, messages, comprehensions, bytes and unsigned constants."""


Syntax: TypeAlias = Constant | Variable | Selection | Call | ListOf | Unread

_CHECKED = "cel.expr.CheckedExpr"
_FIELDS: Mapping[str, Sequence[tuple[str, int, str]]] = {
    "CheckedExpr": (("expr", 4, "Expr"),),
    "Expr": (
        ("const_expr", 3, "Constant"),
        ("ident_expr", 4, "Ident"),
        ("select_expr", 5, "Select"),
        ("call_expr", 6, "Call"),
        ("list_expr", 7, "CreateList"),
    ),
    "Constant": (
        ("null_value", 1, "int64"),
        ("bool_value", 2, "bool"),
        ("int64_value", 3, "int64"),
        ("double_value", 5, "double"),
        ("string_value", 6, "string"),
    ),
    "Ident": (("name", 1, "string"),),
    "Select": (("operand", 1, "Expr"), ("field", 2, "string"), ("test_only", 3, "bool")),
    "Call": (("target", 1, "Expr"), ("function", 2, "string"), ("args", 3, "*Expr")),
    "CreateList": (("elements", 1, "*Expr"), ("optional_indices", 2, "*int32")),
}


def syntax_of(expression: cel.Expression) -> Syntax:
    """The syntax tree of a compiled expression."""
    wrapped = any_pb2.Any.FromString(expression.serialize())
    if not wrapped.type_url.endswith(f"/{_CHECKED}"):
        return Unread()
    # The compiler bounds how deeply expressions nest (32), well within what protobuf reads (100).
    return _read(_CHECKED_EXPR.FromString(wrapped.value).expr)


def fields_of(syntax: Syntax, variable: str) -> frozenset[str] | None:
    """The fields of a variable that an expression reads; None where it may read all of them."""
    match syntax:
        case Constant():
            return frozenset()
        case Selection(Variable(name), field) if name == variable:
            return frozenset({field})
        case Call("_[_]", (Variable(name), Constant(str(field)))) if name == variable:
            return frozenset({field})
        case Selection(operand):
            return fields_of(operand, variable)
        case Call(_, parts) | ListOf(parts):
            found: set[str] = set()
            for part in parts:
                fields = fields_of(part, variable)
                if fields is None:
                    return None
                found |= fields
            return frozenset(found)
        case _:
            return None


def _read(expr: Any) -> Syntax:  # a message of a type that is made below
    if expr.HasField("const_expr"):
        return _constant(expr.const_expr)
    if expr.HasField("ident_expr"):
        return Variable(expr.ident_expr.name)
    if expr.HasField("select_expr"):
        select = expr.select_expr
        return Selection(_read(select.operand), select.field, select.test_only)
    if expr.HasField("call_expr"):
        call = expr.call_expr
        target = [call.target] if call.HasField("target") else []
        return Call(call.function, tuple(_read(part) for part in (*target, *call.args)))
    if expr.HasField("list_expr") and not expr.list_expr.optional_indices:
        return ListOf(tuple(_read(element) for element in expr.list_expr.elements))
    return Unread()


def _constant(message: Message) -> Syntax:
    set_fields = message.ListFields()
    if not set_fields:
        return Unread()
    field, value = set_fields[0]
    return Constant(None if field.name == "null_value" else value)


def _message_class() -> Any:  # its type is made here
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="onex_mesh/cel_syntax.proto", package="cel.expr", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            scalar = kind.lstrip("*")
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if scalar in _FIELDS:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".cel.expr.{scalar}"
            else:
                made.type = kinds.Type.Value(f"TYPE_{scalar.upper()}")
    # A pool of its own: the application may have the real messages in the default one.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(_CHECKED))


_CHECKED_EXPR = _message_class()

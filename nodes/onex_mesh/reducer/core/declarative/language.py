"""CEL as a state machine speaks it: typed variables, and functions whose results derive from the action alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Context, Decimal, DecimalException, InvalidOperation
from typing import cast

from cel_expr_python import cel

from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.declarative.pool import PACKAGE
from onex_mesh.reducer.core.declarative.schema import CONTEXT, PAYLOAD, STATE, Plain, Schema
from onex_mesh.reducer.core.declarative.scope import Scope
from onex_mesh.reducer.core.declarative.tree import Node, tree_of
from onex_mesh.reducer.core.declarative.types import FieldType, Kind
from onex_mesh.runtime.cel_environment import typed_environment
from onex_mesh.runtime.errors import ReductionFailedError

_INT, _DOUBLE, _STRING, _BOOL = cel.Type.INT, cel.Type.DOUBLE, cel.Type.STRING, cel.Type.BOOL
_STRINGS = cel.Type.List(_STRING)
# Its own: what the application sets as the precision of its decimals must not change what a file computes.
_DECIMALS = Context(prec=28)
_BOUND_MAX = 2**53
_DRAWS = re.compile(r"\b(uuid|random_int)\s*\(")
_PATH = re.compile(r"(?:state|payload|ctx|next)(?:\.[A-Za-z_]\w*)*")

_context: ContextVar[ReducerContext] = ContextVar("reducer context of the expression that is evaluated")


class ExpressionError(ValueError):
    """An expression that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression.

    Attributes:
        source: As it was written.
        type: What it gives.
        place: "file:line" where it stands.
        path: The names that it follows, if it does nothing else and its value can be read from a document.
    """

    source: str
    type: cel.Type
    place: str
    path: tuple[str, ...]
    _expression: cel.Expression
    _schema: Schema
    _reads: frozenset[str]
    _field: Plain | None

    def evaluate(self, scope: Scope) -> object:
        """Its value, as CEL gives it.

        Raises:
            ReductionFailedError: It failed: an index out of range, a division by zero, …
        """
        token = _context.set(scope.context)
        try:
            result = self._expression.eval(data=scope.values(self._reads))
            value: object = result.plain_value()
        except RuntimeError as error:
            raise self._failed(error) from error
        finally:
            _context.reset(token)
        if result.type() == cel.Type.ERROR:
            raise self._failed(value)
        return value

    @property
    def is_constant(self) -> bool:
        """Whether it reads nothing, and so always comes to the same."""
        return not self._reads and not _DRAWS.search(self.source)

    @property
    def tree(self) -> Node:
        """What it is made of."""
        return tree_of(self._expression)

    def plain(self, scope: Scope) -> object:
        """Its value as plain JSON.

        Raises:
            ReductionFailedError: It failed, or gave what cannot be JSON.
        """
        if self._field is not None:
            value: object = scope.document(self.path[0])
            for name in self.path[1:]:
                value = cast("Mapping[str, object]", value)[name]
            return self._field(value)
        try:
            return self._schema.plain(self.evaluate(scope))
        except ValueError as error:
            raise self._failed(error) from error

    def _failed(self, why: object) -> ReductionFailedError:
        text = f"{self.place}: {self.source}: {first_line(why)}"
        return ReductionFailedError(text, error_context={"place": self.place})


class Language:
    """Compiles the expressions of one transition, guard or state.

    Args:
        schema: The records of the file.
        variables: Type by name.
    """

    def __init__(self, schema: Schema, variables: Mapping[str, cel.Type]) -> None:
        self._schema = schema
        self._variables = variables
        self._environment = typed_environment(variables, messages=schema.pool, package=PACKAGE, functions=_functions())

    def compile(self, source: str, place: str) -> Program:
        """An expression of any type.

        Raises:
            ExpressionError: It is not CEL, or its types do not fit together.
        """
        try:
            expression = self._environment.compile(source)
        except RuntimeError as error:
            raise ExpressionError(f"{source}: {first_line(error)}") from error
        path = tuple(source.strip().split(".")) if _PATH.fullmatch(source.strip()) else ()
        record = self._variables[path[0]].name().removeprefix(f"{PACKAGE}.") if path else ""
        read = self._schema.plain_field(record, path[1:]) if record in self._schema else None
        kind = expression.return_type()
        # By the text, so rather one too many: a message that nobody reads costs time only.
        reads = frozenset(name for name in self._variables if re.search(rf"\b{name}\b", source))
        return Program(source, kind, place, path, expression, self._schema, reads, read)

    def condition(self, source: str, place: str) -> Program:
        """An expression that says yes or no.

        Raises:
            ExpressionError: It is not one.
        """
        program = self.compile(source, place)
        if program.type not in (_BOOL, cel.Type.DYN):
            raise ExpressionError(f"{source}: gives {type_name(program.type)}; a condition gives bool")
        return program

    def value(self, source: str, wanted: FieldType, place: str) -> Program:
        """An expression whose value a field takes.

        Raises:
            ExpressionError: Its type is another one.
        """
        program = self.compile(source, place)
        expected = self._schema.cel_type(wanted)
        fits = (
            wanted.kind is Kind.JSON
            or expected.is_assignable_from(program.type)
            or (wanted.kind is Kind.DOUBLE and program.type == _INT)
            or (wanted.optional and program.type == cel.Type.NULL)
        )
        if not fits:
            raise ExpressionError(f"{source}: gives {type_name(program.type)}; the field is {wanted}")
        return program

    def element(self, source: str, place: str) -> cel.Type:
        """The type of the items of a list that an expression gives.

        Raises:
            ExpressionError: It gives no list.
        """
        program = self.compile(source, place)
        if not type_name(program.type).startswith("list"):
            raise ExpressionError(f"{source}: gives {type_name(program.type)}; for_each takes a list")
        return self.compile(f"({source})[0]", place).type


def first_line(error: object) -> str:
    """The first line of what CEL has to say, in the words of a file, without its codes."""
    line = str(error).splitlines()[0]
    line = re.sub(r"^[A-Z_]+: (?:ERROR: <input>:\d+:\d+: )?", "", line)
    line = line.replace(f" (in container '{PACKAGE}')", "").replace(f"{PACKAGE}.", "")
    line = re.sub(r" expecting \{.*", "", line).replace("mismatched input '<EOF>'", "something is missing at the end")
    return re.sub(r"undefined field ('\w+') not found in struct '([A-Za-z]+)\d*'", _no_field, line)


def _no_field(found: re.Match[str]) -> str:
    holder = {STATE: "the state", PAYLOAD: "the payload", CONTEXT: "ctx"}.get(found[2], found[2])
    return f"{holder} has no field {found[1]}"


def type_name(kind: cel.Type) -> str:
    """A type as the author of a file writes it."""
    name = kind.name().replace(f"{PACKAGE}.", "")
    return re.sub(r"[A-Z]{2,}", lambda found: found[0].lower(), name).replace("<", "(").replace(">", ")")


def _functions() -> Sequence[cel.FunctionDecl]:
    overload = cel.Overload
    return [
        cel.FunctionDecl(
            "uuid",
            [
                overload("uuid_named", _STRING, [_STRING], impl=lambda name: str(_context.get().uuid(name))),
                overload("uuid_next", _STRING, [], impl=lambda: str(_context.get().uuid())),
            ],
        ),
        cel.FunctionDecl("random_int", [overload("random_int", _INT, [_INT], impl=_random_int)]),
        # Overloads are told apart by list or not, not by what is in the list.
        cel.FunctionDecl("sum", [overload("sum_int", _INT, [cel.Type.List(_INT)], impl=sum)]),
        cel.FunctionDecl("sum_double", [overload("sum_double", _DOUBLE, [cel.Type.List(_DOUBLE)], impl=math.fsum)]),
        *(
            cel.FunctionDecl(
                f"decimal.{name}", [_decimal_overload(name, right, operation) for right in (_STRING, _INT)]
            )
            for name, operation in _OPERATIONS.items()
        ),
        cel.FunctionDecl("decimal.sum", [overload("decimal_sum", _STRING, [_STRINGS], impl=_decimal_sum)]),
        cel.FunctionDecl("decimal.compare", [overload("decimal_compare", _INT, [_STRING, _STRING], impl=_compare)]),
    ]


def _decimal_overload(name: str, right: cel.Type, operation: Callable[[Decimal, Decimal], Decimal]) -> cel.Overload:
    def apply(left: str, other: str | int) -> str:
        return str(_calculated(operation, _decimal(left), _decimal(other)))

    return cel.Overload(f"decimal_{name}_{type_name(right)}", _STRING, [_STRING, right], impl=apply)


_OPERATIONS: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "add": _DECIMALS.add,
    "subtract": _DECIMALS.subtract,
    "multiply": _DECIMALS.multiply,
    "divide": _DECIMALS.divide,
}


def _calculated(operation: Callable[..., Decimal], *operands: Decimal) -> Decimal:
    try:
        return operation(*operands)
    except DecimalException as error:
        raise ValueError(f"{', '.join(map(str, operands))}: {type(error).__name__}") from error


def _decimal(value: str | int) -> Decimal:
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is no decimal number") from error


def _decimal_sum(values: Sequence[str]) -> str:
    total = Decimal(0)
    for value in values:
        total = _calculated(_DECIMALS.add, total, _decimal(value))
    return str(total)


def _compare(left: str, right: str) -> int:
    one, other = _decimal(left), _decimal(right)
    return (one > other) - (one < other)


def _random_int(bound: int) -> int:
    if not 0 < bound <= _BOUND_MAX:
        raise ValueError(f"random_int takes 1 to 2^53, not {bound}")
    return _context.get().random.randrange(bound)

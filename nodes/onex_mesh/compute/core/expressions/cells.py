"""What an expression gives for each row, by type.

CEL is typed by value: a field may be whole in one row, a text in the next, and an expression may fail in a third. So
there is one Arrow array per type, valid in the rows where the value is of that type. A row in which none is valid is
one for which the expression fails. Arrow's functions give null for null, which then says: fails there too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, TypeAlias, cast

from onex_mesh.compute.core.tables import Column, arrow, arrow_compute
from onex_mesh.runtime.cel_syntax import Scalar

Kind: TypeAlias = Literal["whole", "real", "text", "truth", "null"]
"""Types of values: int, double, string, bool and null_type of CEL. The array of "null" is true in its rows."""

_PYTHON: Mapping[Kind, type] = {"whole": int, "real": float, "text": str, "truth": bool}
_ARROW: Mapping[Kind, str] = {"whole": "int64", "real": "float64", "text": "string", "truth": "bool", "null": "bool"}
_EXACT_MAX = 2**53


class NotVectorisedError(Exception):
    """Arrow would not do what CEL does, or not surely: it is to be evaluated row by row."""


class Absent:
    """Stands for a field that a row has not."""


ABSENT = Absent()


@dataclass(frozen=True, slots=True)
class Cells:
    """See the module.

    Attributes:
        kinds: Arrays of the length of the data, or Arrow scalars for constants; only of the types that there may be.
    """

    kinds: Mapping[Kind, Column]

    def of(self, kind: Kind) -> Column:
        """The array of a type; a null where there can be none."""
        return self.kinds[kind] if kind in self.kinds else nothing(kind)

    def array(self, kind: Kind, count: int) -> Column:
        """The array of a type, of so many rows also if it is a constant."""
        return spread(self.of(kind), count)

    def defined(self) -> Column:
        """Whether there is a value."""
        masks = [call("is_valid", column) for column in self.kinds.values()]
        return reduce(lambda one, two: call("or", one, two), masks, cast("Column", arrow().scalar(False)))

    def first_failure(self, count: int) -> int | None:
        """The first row without a value, of so many."""
        return _first_false(self.defined(), count)

    def first_not(self, kind: Kind, count: int) -> int | None:
        """The first row with no value of a type."""
        return _first_false(call("is_valid", self.of(kind)), count)

    def column(self, count: int) -> Column:
        """One column, of the types that there may be; where they are whole and real, of floats.

        Raises:
            NotVectorisedError: Values of several types fit into no column, or an integer would be rounded.
        """
        kinds = [kind for kind in self.kinds if kind != "null"]
        if not kinds:
            return cast("Column", arrow().nulls(count))
        if set(kinds) == {"whole", "real"}:
            whole = arrow_compute().cast(self.of("whole"), arrow().float64())  # refuses to round
            return spread(call("coalesce", self.of("real"), whole), count)
        if len(kinds) > 1:
            raise NotVectorisedError
        return self.array(kinds[0], count)

    def values(self, count: int) -> list[object]:
        """The values of all rows as Python's; None also where there is none."""
        lists = [spread(column, count).to_pylist() for kind, column in self.kinds.items() if kind != "null"]
        if not lists:
            return [None] * count
        merged, *others = lists
        for other in others:
            merged = [two if one is None else one for one, two in zip(merged, other, strict=True)]
        return merged


def cells_of_constant(value: Scalar) -> Cells:
    """A constant.

    Raises:
        NotVectorisedError: It is a text that CEL would cut off at its NUL.
    """
    if value is None:
        return Cells({"null": cast("Column", arrow().scalar(True))})
    if isinstance(value, str) and "\0" in value:
        raise NotVectorisedError
    kind = next(kind for kind, python in _PYTHON.items() if type(value) is python)
    return Cells({kind: arrow().scalar(value, _ARROW[kind])})


def cells_of_column(column: Column) -> Cells:
    """The values of a column.

    Raises:
        NotVectorisedError: It is of a type that is left to CEL, or has a text with a NUL in it.
    """
    kinds, kind = arrow().types, column.type
    if kinds.is_dictionary(kind):
        return cells_of_column(column.cast(kind.value_type))  # type: ignore[attr-defined]  # a dictionary type
    found: dict[Kind, Column] = {}
    if kinds.is_boolean(kind):
        found["truth"] = column
    elif kinds.is_integer(kind):
        found["whole"] = column.cast(arrow().int64())
    elif kinds.is_float32(kind) or kinds.is_float64(kind):
        found["real"] = column.cast(arrow().float64())
    elif kinds.is_string(kind) or kinds.is_large_string(kind):
        found["text"] = _checked_text(column.cast(arrow().string()))
    elif not kinds.is_null(kind):
        raise NotVectorisedError
    if column.null_count:
        found["null"] = call("if_else", call("is_null", column), True, nothing("null"))
    return Cells(found)


def cells_of_values(values: Sequence[object]) -> Cells:
    """The values of a field in rows; ABSENT where a row has it not.

    Raises:
        NotVectorisedError: One is neither a number of 64 bits nor a text, boolean or null.
    """
    types = set(map(type, values))
    if not types <= {*_PYTHON.values(), type(None), Absent}:
        raise NotVectorisedError
    found: dict[Kind, Column] = {}
    for kind, python in _PYTHON.items():
        if python in types:
            only = values if len(types) == 1 else [value if type(value) is python else None for value in values]
            try:
                found[kind] = arrow().array(only, _ARROW[kind])
            except (OverflowError, UnicodeEncodeError) as error:
                raise NotVectorisedError from error
    if "text" in found:
        _checked_text(found["text"])
    if type(None) in types:
        found["null"] = arrow().array([True if value is None else None for value in values], "bool")
    return Cells(found)


def nothing(kind: Kind) -> Column:
    """A null of the Arrow type of a kind."""
    return cast("Column", arrow().scalar(None, _ARROW[kind]))


def call(function: str, *arguments: object) -> Column:
    """One of Arrow's functions, by name, on arrays and constants."""
    result: Column = arrow_compute().call_function(function, [_datum(argument) for argument in arguments])
    return result


def spread(column: Column, count: int) -> Column:
    """A constant as often as there are rows; an array as it is."""
    pa = arrow()
    return pa.repeat(column, count) if isinstance(column, pa.Scalar) else column


def _datum(argument: object) -> object:
    return arrow().scalar(argument) if isinstance(argument, bool | int | float | str) else argument


def _first_false(mask: Column, count: int) -> int | None:
    index = arrow_compute().index(spread(mask, count), False).as_py()
    return None if index < 0 else int(index)


def _checked_text(column: Column) -> Column:
    pc = arrow_compute()
    if pc.any(pc.match_substring(column, "\0")).as_py():
        raise NotVectorisedError
    return column

"""NumPy arrays: told apart and made without importing NumPy where nobody uses it."""

from __future__ import annotations

import importlib
import types
import typing
from typing import TYPE_CHECKING, Protocol

from onex_mesh.compute.core.tables import Table, arrow, is_table
from onex_mesh.runtime.errors import ValidationError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_EXACT_MAX = 2**53


class DType(Protocol):
    """The type of an array's values."""

    @property
    def kind(self) -> str:
        """NumPy's letter for it."""


class Array(Protocol):
    """What is used of a numpy.ndarray."""

    @property
    def dtype(self) -> DType:
        """The type of its values."""

    def tolist(self) -> object:
        """Its values as lists of Python's numbers, nested by dimension; of no dimension, one number."""


def is_array_type(annotation: object) -> bool:
    """Whether an annotation is numpy.ndarray or numpy.typing.NDArray[…], without importing NumPy."""
    origin = typing.get_origin(annotation) or annotation
    return isinstance(origin, type) and origin.__name__ == "ndarray" and origin.__module__.partition(".")[0] == "numpy"


def is_array(value: object) -> TypeIs[Array]:
    """Whether a value is a numpy.ndarray."""
    return is_array_type(type(value))


def array_of(value: object, offset: int = 0, at: str = "input_data") -> object:
    """The array of numbers or booleans, of lists of them (all of one length), or of a table of such columns.

    Of a table with one column the array has one dimension, else a row of it for each row. Integers are int64, and
    float64 beside floats.

    Args:
        value: Plain JSON or a table.
        offset: How many items come before, for paths.
        at: Where the data stands, for paths.

    Raises:
        ValidationError: It is something else, or a number would be rounded; with its path.
    """
    if is_table(value):
        return _of_table(value, at)
    found = _Leaves()
    found.look(value, at, offset)
    if bool in found.kinds and len(found.kinds) > 1:
        raise _refused(at, "booleans and numbers are mixed")
    if found.large and (float in found.kinds or found.beyond):
        raise _refused(found.beyond or found.large, "is an integer that an array of this type would round")
    try:
        return _numpy().array(value, dtype=found.dtype())
    except ValueError as error:
        raise _refused(at, f"cannot be an array: {error}") from error


class _Leaves:
    """What stands in nested lists: the types, and where the first large integers are."""

    def __init__(self) -> None:
        self.kinds: set[type] = set()
        self.large = ""
        self.beyond = ""

    def look(self, value: object, at: str, offset: int = 0) -> None:
        """Looks at a value and all in it."""
        if isinstance(value, list):
            for index, item in enumerate(value, offset):
                self.look(item, f"{at}[{index}]")
            return
        if not isinstance(value, bool | int | float):
            raise _refused(at, f"expected a number, found {type(value).__name__}")
        self.kinds.add(type(value))
        if isinstance(value, int) and abs(value) > _EXACT_MAX:
            self.large = self.large or at
            if not -(2**63) <= value < 2**63:
                self.beyond = self.beyond or at

    def dtype(self) -> str:
        """The type of the array: float64 of nothing, as NumPy has it."""
        if self.kinds == {bool}:
            return "bool"
        return "int64" if self.kinds == {int} else "float64"


def plain_of(result: object) -> object:
    """The nested lists of an array; of several arrays, as chunks give them, of all in their order.

    Raises:
        ValueError: It is no array, or not one of numbers, booleans or texts.
    """
    if isinstance(result, list) and result and all(is_array(part) for part in result):
        result = _numpy().concatenate(result)
    if not is_array(result):
        raise ValueError(f"it is not of the declared type numpy.ndarray, but {type(result).__name__}")
    if result.dtype.kind not in "biufU":
        raise ValueError(f"an array of {result.dtype} cannot be JSON")
    return result.tolist()


def _of_table(table: Table, at: str) -> object:
    """Columns side by side; never by way of a type that would round."""
    np, kinds = _numpy(), arrow().types
    columns = []
    for name in table.column_names:
        column = table.column(name)
        if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_boolean(column.type)):
            raise _refused(f"{at}.{name}", f"expected numbers, found {column.type}")
        if column.null_count:
            raise _refused(f"{at}.{name}", "has nulls, which an array cannot hold")
        columns.append(column)
    if len({str(column.type) for column in columns}) > 1:
        floats = []
        for name, column in zip(table.column_names, columns, strict=True):
            try:
                floats.append(column.cast(arrow().float64()))
            except arrow().ArrowException as error:
                raise _refused(f"{at}.{name}", f"does not fit beside the others: {error}") from error
        columns = floats
    arrays = [column.to_numpy() for column in columns]
    return arrays[0] if len(arrays) == 1 else np.column_stack(arrays) if arrays else np.empty((0, 0))


def _numpy() -> types.ModuleType:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise ValidationError("arrays need NumPy: pip install numpy") from error


def _refused(at: str, text: str) -> ValidationError:
    return ValidationError(f"{at}: {text}", violations=((at, text),))

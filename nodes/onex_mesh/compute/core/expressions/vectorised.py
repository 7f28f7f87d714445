"""The evaluation of an expression over all rows at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onex_mesh.compute.core.expressions import operations
from onex_mesh.compute.core.expressions.cells import (
    ABSENT,
    Cells,
    NotVectorisedError,
    cells_of_column,
    cells_of_constant,
    cells_of_values,
)
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, arrow_compute, is_table
from onex_mesh.runtime.cel_syntax import Call, Constant, ListOf, Selection, Syntax, Variable

ROW = "row"

_ARITHMETIC = ("_+_", "_-_", "_*_", "_/_", "_%_")
_ORDER = ("_<_", "_<=_", "_>_", "_>=_")
_UNARY: Mapping[str, Callable[[Cells], Cells]] = {
    "-_": operations.negated,
    "!_": operations.inverted,
    "int": operations.to_whole,
    "double": operations.to_real,
    "string": operations.to_text,
    "size": operations.length,
    "dyn": lambda operand: operand,
}
_BINARY: Mapping[str, Callable[[Cells, Cells], Cells]] = {
    "_==_": operations.equal,
    "_!=_": lambda left, right: operations.inverted(operations.equal(left, right)),
    "_&&_": operations.conjunction,
    "_||_": operations.disjunction,
}
_CASES = {"lowerAscii": "ascii_lower", "upperAscii": "ascii_upper"}
_SEARCHES = {
    "contains": "match_substring",
    "startsWith": "starts_with",
    "endsWith": "ends_with",
    "matches": "match_substring_regex",
}


class Evaluation:
    """Evaluates expressions over one list of rows or table.

    Args:
        frame: The rows.
    """

    def __init__(self, frame: Table | Rows) -> None:
        self.frame = frame
        self.count = frame.num_rows if is_table(frame) else len(frame)
        self._fields: dict[str, Cells] = {}

    def of(self, syntax: Syntax) -> Cells:
        """What an expression gives for each row.

        Raises:
            NotVectorisedError: It is to be evaluated row by row.
        """
        try:
            return self._of(syntax)
        except arrow().ArrowException as error:
            # An overflow, a pattern that is none, a type that a function of Arrow does not take.
            raise NotVectorisedError from error

    def _of(self, syntax: Syntax) -> Cells:
        match syntax:
            case Constant(value):
                return cells_of_constant(value)
            case Selection(Variable("row"), field, is_test):
                return self._has(field) if is_test else self._field(field)
            case Call("_[_]", (Variable("row"), Constant(str(field)))):
                return self._field(field)
            case Call("_?_:_", (condition, then, otherwise)):
                return operations.conditional(self._of(condition), self._of(then), self._of(otherwise))
            case Call("@in", (operand, ListOf(elements))):
                constants = [element.value for element in elements if isinstance(element, Constant)]
                if len(constants) < len(elements):
                    raise NotVectorisedError
                return operations.member(self._of(operand), constants)
            case Call(function, (operand,)) if function in _UNARY:
                return _UNARY[function](self._of(operand))
            case Call(function, (left, right)) if function in _BINARY:
                return _BINARY[function](self._of(left), self._of(right))
            case Call(function, (left, right)) if function in _ARITHMETIC:
                return operations.arithmetic(function, self._of(left), self._of(right))
            case Call(function, (left, right)) if function in _ORDER:
                return operations.compared(function, self._of(left), self._of(right))
            case Call(function, (operand, Constant(str(pattern)))) if function in _SEARCHES and "\0" not in pattern:
                return operations.of_text(self._of(operand), "truth", _search(_SEARCHES[function], pattern))
            case Call(function, (operand,)) if function in _CASES:
                return operations.of_text(self._of(operand), "text", getattr(arrow_compute(), _CASES[function]))
            case _:
                raise NotVectorisedError

    def _field(self, name: str) -> Cells:
        if name not in self._fields:
            self._fields[name] = self._read(name)
        return self._fields[name]

    def _read(self, name: str) -> Cells:
        frame = self.frame
        if is_table(frame):
            return cells_of_column(frame.column(name)) if name in frame.column_names else Cells({})
        return cells_of_values([row.get(name, ABSENT) for row in frame])

    def _has(self, name: str) -> Cells:
        frame = self.frame
        if is_table(frame):
            return cells_of_constant(name in frame.column_names)
        self._field(name)  # which may be none that CEL can read
        return cells_of_values([name in row for row in frame])


def _search(function: str, pattern: str) -> Callable[[Column], Column]:
    def search(column: Column) -> Column:
        found: Column = getattr(arrow_compute(), function)(column, pattern)
        return found

    return search

"""An expression in CEL over `row`, for the rows of a list or table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cel_expr_python import cel
from google.protobuf.timestamp_pb2 import Timestamp

from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.expressions.cells import Cells, NotVectorisedError
from onex_mesh.compute.core.expressions.vectorised import ROW, Evaluation
from onex_mesh.compute.core.tables import Rows, Table, has_arrow, is_table
from onex_mesh.runtime.cel_environment import new_environment
from onex_mesh.runtime.cel_syntax import Call, Constant, Selection, Syntax, Variable, fields_of, syntax_of
from onex_mesh.runtime.errors import ValidationError

_BATCH_ROWS = 4_096


class RowFailedError(Exception):
    """An expression fails for a row.

    Args:
        row: The number of the row.
        text: What is wrong.
    """

    def __init__(self, row: int, text: str) -> None:
        super().__init__(row, text)
        self.row = row
        self.text = text


@dataclass(frozen=True, slots=True)
class RowExpression:
    """See the module; make one with `RowExpression.compiled`.

    Attributes:
        program: What evaluates it for one row.
        syntax: What it is made of.
        fields: The fields that it reads; None for any.
    """

    program: cel.Expression
    syntax: Syntax
    fields: frozenset[str] | None

    @classmethod
    def compiled(cls, source: str, at: str) -> RowExpression:
        """Checks an expression.

        Raises:
            ValidationError: It is not CEL; `at` says where it stands.
        """
        try:
            program = new_environment((ROW,)).compile(source)
        except RuntimeError as error:
            text = f"not CEL: {str(error).splitlines()[0]}"
            raise ValidationError(f"{at}: {text}", violations=((at, text),)) from error
        syntax = syntax_of(program)
        return cls(program, syntax, fields_of(syntax, ROW))

    @property
    def renamed(self) -> str:
        """The field that it only names; empty if it is more than that."""
        match self.syntax:
            case Selection(Variable("row"), field, False) | Call("_[_]", (Variable("row"), Constant(str(field)))):
                return field
        return ""

    def evaluated(self, evaluation: Evaluation, ctx: ComputeContext) -> Cells | list[object]:
        """What it gives for each row.

        Raises:
            RowFailedError: It fails for a row.
        """
        cells = self.cells(evaluation)
        if cells is not None:
            failed = cells.first_failure(evaluation.count)
            if failed is None:
                return cells
            self.at(evaluation.frame, failed)  # fails, in the words of CEL
        return list(self.each(evaluation.frame, ctx))

    def cells(self, evaluation: Evaluation) -> Cells | None:
        """What it gives for all rows at once; None where that is to be evaluated row by row, as without pyarrow."""
        if not has_arrow():
            return None
        try:
            return evaluation.of(self.syntax)
        except NotVectorisedError:
            return None

    def each(self, frame: Table | Rows, ctx: ComputeContext) -> Iterator[object]:
        """What it gives for each row, evaluated row by row.

        Raises:
            RowFailedError: It fails for a row.
        """
        for index, row in enumerate(self._rows(frame)):
            ctx.check()
            yield self._value(row, index)

    def at(self, frame: Table | Rows, index: int) -> object:
        """What it gives for one row.

        Raises:
            RowFailedError: It fails.
        """
        row = next(self._rows(frame.slice(index, 1))) if is_table(frame) else frame[index]
        return self._value(row, index)

    def _value(self, row: dict[str, object], index: int) -> object:
        try:
            result = self.program.eval(data={ROW: self._readable(row, index)})
            value = result.plain_value()
        except RuntimeError as error:
            raise RowFailedError(index, str(error).splitlines()[0]) from error
        if result.type() == cel.Type.ERROR:
            raise RowFailedError(index, str(value).splitlines()[0])
        return _in_order(value)

    def _readable(self, row: dict[str, object], index: int) -> dict[str, object]:
        """A row as the binding of CEL to Python can read it."""
        times: dict[str, object] = {}
        for name in row if self.fields is None else self.fields:
            value = row.get(name)
            if isinstance(value, str) and "\0" in value:
                # The binding would take what stands before it for the whole.
                raise RowFailedError(index, f"the field {name!r} has a NUL in it, which CEL cannot read")
            if type(value) is datetime and value.tzinfo is not None:
                # It takes a time within a map as a message only.
                message = Timestamp()
                message.FromDatetime(value)
                times[name] = message
        return {**row, **times} if times else row

    def _rows(self, frame: Table | Rows) -> Iterator[dict[str, object]]:
        """Rows; of a table, the columns that are read: what is not looked at need not be CEL's."""
        if not is_table(frame):
            yield from frame
            return
        read = [name for name in frame.column_names if self.fields is None or name in self.fields]
        if not read:
            yield from ({} for _ in range(frame.num_rows))
            return
        narrowed = frame.select(read)
        for begin in range(0, frame.num_rows, _BATCH_ROWS):
            yield from narrowed.slice(begin, min(_BATCH_ROWS, frame.num_rows - begin)).to_pylist()


def _in_order(value: object) -> object:
    """A value with the keys of its mappings sorted: CEL has them in another order in each process."""
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value, key=str)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value

"""map: new fields by expressions in CEL."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, column_of, frame_of
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.expressions import Cells, Evaluation, NotVectorisedError, RowExpression, RowFailedError
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, is_table
from onex_mesh.runtime.errors import ValidationError

_ARROW: Mapping[str, str] = {"INT": "int64", "DOUBLE": "float64", "STRING": "string", "BOOL": "bool"}
"""Arrow type by the type that CEL gives an expression, where it gives it one."""


class MapParams(Params):
    """How a row becomes another."""

    fields: dict[str, str] = Field(
        description="Expression in CEL over `row`, by the name of the new field.", min_length=1
    )
    keep: bool = Field(False, description="Whether the row's own fields stay.")


def map_rows(data: AnyData, params: MapParams, ctx: ComputeContext) -> object:
    """Computes fields of each row by expressions in CEL; one that only names another field renames it."""
    expressions = {
        name: RowExpression.compiled(source, f"algorithm_config.parameters.fields.{name}")
        for name, source in params.fields.items()
    }
    frame = frame_of(data, offset=ctx.offset)
    evaluation = Evaluation(frame)
    found: dict[str, Cells | list[object]] = {}
    failures: list[tuple[int, str, RowFailedError]] = []
    for name, expression in expressions.items():
        if is_table(frame) and expression.renamed in frame.column_names:
            continue
        try:
            found[name] = expression.evaluated(evaluation, ctx)
        except RowFailedError as error:
            failures.append((error.row, name, error))
    if failures:
        row, name, first = min(failures, key=lambda failure: failure[0])
        raise _failed(row + ctx.offset, name, first)
    if is_table(frame):
        return _table(frame, expressions, found, params.keep, ctx.offset)
    return _rows(frame, evaluation.count, found, params.keep)


def _failed(row: int, name: str, error: RowFailedError) -> ValidationError:
    at = f"input_data[{row}]"
    return ValidationError(f"{at}: the field {name!r} failed: {error.text}", violations=((at, error.text),))


def _rows(rows: Rows, count: int, found: Mapping[str, Cells | list[object]], keep: bool) -> Rows:
    values = {name: given.values(count) if isinstance(given, Cells) else given for name, given in found.items()}
    names = list(values)
    made: Rows = [dict(row) for row in rows] if keep else [{} for _ in rows]
    for row, given in zip(made, zip(*values.values(), strict=True), strict=bool(names)):
        row.update(zip(names, given, strict=True))
    return made


def _table(
    table: Table,
    expressions: Mapping[str, RowExpression],
    found: Mapping[str, Cells | list[object]],
    keep: bool,
    offset: int,
) -> Table:
    made = {name: table.column(name) for name in table.column_names} if keep else {}
    for name, expression in expressions.items():
        given = found.get(name)
        made[name] = (
            table.column(expression.renamed) if given is None else _column(table, name, expression, given, offset)
        )
    result: Table = arrow().table(made)
    return result


def _column(table: Table, name: str, expression: RowExpression, given: Cells | list[object], offset: int) -> Column:
    """The column of what an expression gives, of the type that it has whatever the values: chunks fit together."""
    if isinstance(given, Cells):
        try:
            return given.column(table.num_rows)
        except (NotVectorisedError, arrow().ArrowException):
            given = given.values(table.num_rows)
    return column_of(given, name, offset=offset, kind=_kind(table, expression))


def _kind(table: Table, expression: RowExpression) -> object:
    """The Arrow type of an expression as CEL or the types of the columns tell it; None if neither does."""
    declared = _ARROW.get(expression.program.return_type().name())
    cells = expression.cells(Evaluation(table.slice(0, 0)))
    if declared or cells is None:
        return declared
    try:
        return cells.column(0).type
    except NotVectorisedError:
        return None

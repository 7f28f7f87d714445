"""filter: the rows for which an expression in CEL is true."""

from __future__ import annotations

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, frame_of, refusal, taken
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData, json_type
from onex_mesh.compute.core.expressions import Evaluation, RowExpression, RowFailedError
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, arrow_compute

_AT = "algorithm_config.parameters.where"


class FilterParams(Params):
    """Which rows stay."""

    where: str = Field(description="Expression in CEL over `row`: true for the rows that stay.")


def filter_rows(data: AnyData, params: FilterParams, ctx: ComputeContext) -> object:
    """The rows for which the expression is true."""
    frame = frame_of(data, offset=ctx.offset)
    where = RowExpression.compiled(params.where, _AT)
    try:
        mask = _mask(frame, where, ctx)
    except RowFailedError as error:
        raise refusal(f"input_data[{error.row + ctx.offset}]", error.text) from error
    return taken(frame, arrow_compute().indices_nonzero(mask))


def _mask(frame: Table | Rows, where: RowExpression, ctx: ComputeContext) -> Column:
    evaluation = Evaluation(frame)
    cells = where.cells(evaluation)
    if cells is not None:
        other = cells.first_not("truth", evaluation.count)
        if other is None:
            return cells.array("truth", evaluation.count)
        _truth(where.at(frame, other), other)  # fails, in the words of CEL
    kept: Column = arrow().array([_truth(value, row) for row, value in enumerate(where.each(frame, ctx))], "bool")
    return kept


def _truth(value: object, row: int) -> bool:
    if not isinstance(value, bool):
        raise RowFailedError(row, f"the filter should give a boolean, not {json_type(value)}")
    return value

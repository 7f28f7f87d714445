"""Expressions in CEL over the rows of a table or list: for all rows at once where Arrow gives just what CEL would."""

from onex_mesh.compute.core.expressions.cells import Cells, NotVectorisedError
from onex_mesh.compute.core.expressions.row_expression import RowExpression, RowFailedError
from onex_mesh.compute.core.expressions.vectorised import Evaluation

__all__ = ["Cells", "Evaluation", "NotVectorisedError", "RowExpression", "RowFailedError"]

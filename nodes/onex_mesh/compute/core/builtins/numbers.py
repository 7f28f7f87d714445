"""Columns of numbers."""

from __future__ import annotations

from onex_mesh.compute.core.builtins.frame import refusal
from onex_mesh.compute.core.tables import Column, arrow, arrow_compute

EXACT_MAX = 2**53
"""Integers up to here are floats without rounding."""


def is_numeric(column: Column) -> bool:
    """Whether a column is of integers, floats or decimals."""
    kinds = arrow().types
    return bool(kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_decimal(column.type))


def numbers_in(column: Column, name: str) -> Column:
    """A column of numbers; of nothing but nulls, it counts as one.

    Raises:
        ValidationError: It holds something else.
    """
    if not is_numeric(column) and not arrow().types.is_null(column.type):
        raise refusal(f"input_data.{name}", f"expected numbers, found {column.type}")
    return column


def known_in(column: Column) -> Column:
    """The values of a column that are neither null nor NaN."""
    pc = arrow_compute()
    values: Column = pc.drop_null(column)
    if arrow().types.is_floating(values.type):
        values = pc.filter(values, pc.invert(pc.is_nan(values)))
    return values

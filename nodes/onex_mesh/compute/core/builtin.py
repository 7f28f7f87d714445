"""Algorithms that every node has: sum, statistics and identity; those over whole tables are in `builtins`."""

from __future__ import annotations

import math
import statistics as stats
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from onex_mesh.compute.core.algorithm import Merge, MergeStrategy
from onex_mesh.compute.core.builtins import TABULAR
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import json_type
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.compute.core.signature import Function
from onex_mesh.runtime.errors import ValidationError

Number = int | float


class FieldParams(BaseModel):
    """Which field of the rows to work on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field("", description="Field of the rows. Default: the items themselves are numbers.")


class StatisticsParams(FieldParams):
    """What to describe."""

    quantiles: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="Quantiles to give, each within 0 to 1.")


def with_builtins(registry: AlgorithmRegistry) -> AlgorithmRegistry:
    """The registry with the built-in algorithms added, but for names that the application took."""
    taken = set(registry.names())
    own: tuple[tuple[Function, str, Merge], ...] = (
        (identity, "identity", MergeStrategy.CONCATENATE),
        (total, "sum", exact_sum),
        (describe, "statistics", None),
    )
    for function, name, merge in own:
        if name not in taken:
            registry.add_function(function, name=name, merge=merge)
    for function, name, merge in TABULAR:
        if name not in taken:
            registry.add_function(function, name=name, merge=merge, own_merge=callable(merge))
    return registry


def identity(data: object) -> object:
    """Returns its data."""
    return data


def total(data: list[object], params: FieldParams, ctx: ComputeContext) -> Number:
    """Sum of numbers, or of a field of rows: exact for integers, correctly rounded for the rest (R45)."""
    return exact_sum(numbers(data, params.field, ctx.offset))


def exact_sum(values: Sequence[object]) -> Number:
    """Sum of numbers; of integers only, an integer of any size."""
    items = cast("Sequence[Number]", values)
    if all(isinstance(item, int) for item in items):
        return sum(items)
    return math.fsum(items)


def describe(data: list[object], params: StatisticsParams) -> dict[str, object]:
    """Count, mean, minimum, maximum, variance, standard deviation and quantiles.

    The variance is the sample's (n - 1). What cannot be told of so few values is null. Quantiles are interpolated
    linearly between the closest ranks (Hyndman and Fan's type 7).
    """
    for quantile in params.quantiles:
        if not 0 <= quantile <= 1:
            raise ValidationError(
                f"the quantile {quantile} is not within 0 to 1",
                violations=(("parameters.quantiles", f"{quantile} is not within 0 to 1"),),
            )
    values = sorted(numbers(data, params.field))
    several = len(values) > 1
    return {
        "count": len(values),
        "sum": exact_sum(values),
        "mean": stats.fmean(values) if values else None,
        "min": values[0] if values else None,
        "max": values[-1] if values else None,
        "variance": stats.variance(values) if several else None,
        "stdev": stats.stdev(values) if several else None,
        "median": stats.median(values) if values else None,
        "quantiles": {f"{quantile:g}": _quantile(values, quantile) for quantile in params.quantiles},
    }


def _quantile(ordered: Sequence[Number], share: float) -> float | None:
    if not ordered:
        return None
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def numbers(data: Sequence[object], field: str, offset: int = 0) -> list[Number]:
    """The numbers in data: the items, or a field of each row.

    Raises:
        ValidationError: An item has no such field, or it is not a finite number; with its path.
    """
    values: list[Number] = []
    for index, item in enumerate(data, offset):
        at = f"input_data[{index}]"
        value = item
        if field:
            at = f"{at}.{field}"
            if not isinstance(item, dict) or field not in item:
                raise ValidationError(f"{at} is missing", violations=((at, "is required and missing"),))
            value = item[field]
        if isinstance(value, Decimal):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            text = f"expected a number, found {json_type(value)}"
            raise ValidationError(f"{at}: {text}", violations=((at, text),))
        values.append(value)
    return values

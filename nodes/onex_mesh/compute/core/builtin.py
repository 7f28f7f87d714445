"""Algorithms that every node has: sum, statistics, map and identity; those over whole tables are in `builtins`."""

from __future__ import annotations

import math
import statistics as stats
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from cel_expr_python import cel
from pydantic import BaseModel, ConfigDict, Field

from onex_mesh.compute.core.algorithm import Function, Merge, MergeStrategy
from onex_mesh.compute.core.builtins import TABULAR
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import json_type
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.runtime.cel_environment import new_environment
from onex_mesh.runtime.errors import ValidationError

Number = int | float


class FieldParams(BaseModel):
    """Which field of the rows to work on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str = Field("", description="Field of the rows. Default: the items themselves are numbers.")


class StatisticsParams(FieldParams):
    """What to describe."""

    quantiles: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="Quantiles to give, each within 0 to 1.")


class MapParams(BaseModel):
    """How a row becomes another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: dict[str, str] = Field(description="Expression in CEL over `row`, by the name of the new field.")
    keep: bool = Field(False, description="Whether the row's own fields stay.")


def with_builtins(registry: AlgorithmRegistry) -> AlgorithmRegistry:
    """The registry with the built-in algorithms added, but for names that the application took."""
    taken = set(registry.names())
    own: tuple[tuple[Function, str, Merge], ...] = (
        (identity, "identity", MergeStrategy.CONCATENATE),
        (total, "sum", exact_sum),
        (describe, "statistics", None),
        (map_rows, "map", MergeStrategy.CONCATENATE),
        *TABULAR,
    )
    for function, name, merge in own:
        if name not in taken:
            registry.add_function(function, name=name, merge=merge)
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


def map_rows(data: list[dict[str, object]], params: MapParams, ctx: ComputeContext) -> list[dict[str, object]]:
    """Computes fields of each row by expressions in CEL; one that only names another field renames it."""
    environment = new_environment(("row",))
    programs = {}
    for name, expression in params.fields.items():
        try:
            programs[name] = environment.compile(expression)
        except RuntimeError as error:
            text = f"not CEL: {str(error).splitlines()[0]}"
            raise ValidationError(
                f"parameters.fields.{name}: {text}", violations=((f"parameters.fields.{name}", text),)
            ) from error
    rows: list[dict[str, object]] = []
    for index, row in enumerate(data, ctx.offset):
        made = dict(row) if params.keep else {}
        for name, program in programs.items():
            made[name] = _evaluate(program, row, index, name)
        rows.append(made)
    return rows


def _evaluate(program: cel.Expression, row: dict[str, object], index: int, name: str) -> object:
    result = program.eval(data={"row": row})
    value = result.plain_value()
    if result.type() == cel.Type.ERROR:
        text = str(value).splitlines()[0]
        raise ValidationError(
            f"input_data[{index}]: the field {name!r} failed: {text}", violations=((f"input_data[{index}]", text),)
        )
    return value


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

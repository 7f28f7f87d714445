"""describe: counts, moments, edges and quantiles of the columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import (
    Params,
    columns,
    frame_of,
    names_of,
    present_in,
    refusal,
    require_in_chunks,
)
from onex_mesh.compute.core.builtins.moments import Moments, merged_moments
from onex_mesh.compute.core.builtins.numbers import EXACT_MAX, is_numeric, known_in, numbers_in
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, arrow_compute, is_table

Number = int | float | Decimal


class DescribeParams(Params):
    """What to describe."""

    fields: tuple[str, ...] = Field((), description="Fields of the rows. Default: all that hold numbers.")
    quantiles: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="Quantiles to give, each within 0 to 1.")


@dataclass(frozen=True, slots=True)
class Summary:
    """A column of numbers, or of one chunk of it. Nulls and NaNs are counted and otherwise left out.

    Attributes:
        count: Numbers.
        nulls: Nulls.
        nans: NaNs.
        total: Their sum: exact, unless they are floats.
        spread: Sum of the squares of their distances from the mean.
        least: The least of them; None of none.
        most: The greatest.
        is_float: Whether they are floats.
    """

    count: int
    nulls: int
    nans: int
    total: Number
    spread: float
    least: Number | None
    most: Number | None
    is_float: bool

    @property
    def mean(self) -> float:
        """The mean; of integers and decimals, the exact one, rounded once."""
        return self.total / self.count if isinstance(self.total, float) else float(Fraction(self.total) / self.count)

    def told(self) -> dict[str, object]:
        """The result for the column, but for quantiles."""
        return {
            "count": self.count,
            "nulls": self.nulls,
            "nan": self.nans,
            "mean": self.mean if self.count else None,
            "std": math.sqrt(self.spread / (self.count - 1)) if self.count > 1 else None,
            "min": self.least,
            "max": self.most,
        }


def describe_columns(data: AnyData, params: DescribeParams, ctx: ComputeContext) -> object:
    """By column: counts, mean, std (n - 1), min, max and quantiles (linear) of what is neither null nor NaN."""
    for quantile in params.quantiles:
        if not 0 <= quantile <= 1:
            raise refusal("algorithm_config.parameters.quantiles", f"{quantile} is not within 0 to 1")
    if ctx.is_chunk and params.quantiles:
        raise refusal(
            "parallel_config", "quantiles need all rows at once: ask for none (quantiles: []), or no parallel run"
        )
    frame = frame_of(data, offset=ctx.offset)
    if ctx.is_chunk:
        return _partial(frame, params, ctx.offset)
    source = _source(frame, params.fields or _numeric_fields(frame))
    return {
        name: {**_summary(source.column(name)).told(), "quantiles": _quantiles(source.column(name), params.quantiles)}
        for name in source.column_names
    }


def _source(frame: Table | Rows, names: Sequence[str], offset: int = 0, may_lack: bool = False) -> Table:
    source = columns(frame, names, offset=offset, may_lack=may_lack)
    for name in names:
        numbers_in(source.column(name), name)
    return source


def _numeric_fields(frame: Table | Rows) -> list[str]:
    """Columns of numbers; of rows, fields whose values are numbers or null, and not all null."""
    if is_table(frame):
        return [name for name in frame.column_names if is_numeric(frame.column(name))]
    return [name for name in names_of(frame) if _kinds(frame, name) and _kinds(frame, name) <= {int, float, Decimal}]


def _kinds(rows: Rows, name: str) -> set[type]:
    return {type(row.get(name)) for row in rows} - {type(None)}


def _partial(frame: Table | Rows, params: DescribeParams, offset: int) -> Partial:
    """Summaries by name; None for a field that holds something else too."""
    names = list(params.fields) or names_of(frame)
    other: set[str] = set()
    if not params.fields and is_table(frame):
        names = _numeric_fields(frame)
    elif not params.fields:
        other = {name for name in names if not _kinds(cast("Rows", frame), name) <= {int, float, Decimal}}
    source = _source(frame, [name for name in names if name not in other], offset, may_lack=True)
    return Partial(
        {
            "summaries": {name: None if name in other else _summary(source.column(name)) for name in names},
            "rows": len(frame) if isinstance(frame, list) else frame.num_rows,
            "present": present_in(frame, names),
            "is_table": is_table(frame),
        }
    )


def merge_descriptions(partials: list[Partial], params: DescribeParams) -> dict[str, object]:
    """The description of all chunks."""
    by_chunk = [cast("Mapping[str, Summary | None]", partial.parts["summaries"]) for partial in partials]
    rows = [cast("int", partial.parts["rows"]) for partial in partials]
    require_in_chunks(partials, params.fields)
    is_typed = bool(params.fields) or any(partial.parts["is_table"] for partial in partials)
    described: dict[str, object] = {}
    for name in dict.fromkeys(name for chunk in by_chunk for name in chunk):
        found = [chunk.get(name, _absent(count)) for chunk, count in zip(by_chunk, rows, strict=True)]
        summaries = [summary for summary in found if summary is not None]
        whole = _merged(name, summaries)
        if len(summaries) == len(found) and (is_typed or whole.count or whole.nans):
            described[name] = {**whole.told(), "quantiles": {}}
    return described


def _merged(name: str, summaries: Sequence[Summary]) -> Summary:
    known = [summary for summary in summaries if summary.count]
    is_float = any(summary.is_float for summary in summaries)
    edges = [edge for summary in known for edge in (summary.least, summary.most) if edge is not None]
    if is_float and any(isinstance(edge, int) and abs(edge) > EXACT_MAX for edge in edges):
        raise refusal(f"input_data.{name}", "does not fit its column: an integer beyond 2^53 among floats")
    if is_float:
        edges = [float(edge) for edge in edges]
    totals = [summary.total for summary in known]
    moments = merged_moments([Moments(summary.count, summary.mean, summary.spread) for summary in known])
    return Summary(
        count=moments.count,
        nulls=sum(summary.nulls for summary in summaries),
        nans=sum(summary.nans for summary in summaries),
        total=cast("Number", sum(totals)),
        spread=moments.spread,
        least=min(edges, default=None),
        most=max(edges, default=None),
        is_float=is_float,
    )


def _absent(rows: int) -> Summary:
    """Of a field that no row of a chunk has."""
    return Summary(0, rows, 0, 0, 0.0, None, None, is_float=False)


def _summary(column: Column) -> Summary:
    pa, pc = arrow(), arrow_compute()
    values = known_in(column)
    count = len(values)  # type: ignore[arg-type]  # a chunked array has a length
    edges = pc.min_max(values).as_py()
    variance = pc.variance(values.cast(pa.float64(), safe=False)).as_py()
    return Summary(
        count=count,
        nulls=column.null_count,
        nans=len(column) - column.null_count - count,  # type: ignore[arg-type]  # likewise
        total=_total(values),
        spread=variance * count if count else 0.0,
        least=edges["min"],
        most=edges["max"],
        is_float=bool(pa.types.is_floating(values.type)),
    )


def _total(values: Column) -> Number:
    pa, pc = arrow(), arrow_compute()
    if pa.types.is_floating(values.type):
        return cast("float", pc.sum(values).as_py() or 0.0)
    is_decimal = pa.types.is_decimal(values.type)
    scale = values.type.scale if is_decimal else 0  # type: ignore[attr-defined]  # a decimal type
    total = pc.sum(values.cast(pa.decimal256(76, scale))).as_py() or Decimal(0)
    return cast("Decimal", total) if is_decimal else int(total)


def _quantiles(column: Column, shares: Sequence[float]) -> dict[str, object]:
    floats = known_in(column).cast(arrow().float64(), safe=False)
    return {f"{share:g}": arrow_compute().quantile(floats, share)[0].as_py() for share in shares}

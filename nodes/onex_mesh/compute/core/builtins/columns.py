"""describe and normalise: the columns of numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, columns, frame_of, names_of, refusal, refusing
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute, is_table


class DescribeParams(Params):
    """What to describe."""

    fields: tuple[str, ...] = Field((), description="Fields of the rows. Default: all that hold numbers.")
    quantiles: tuple[float, ...] = Field((0.25, 0.5, 0.75), description="Quantiles to give, each within 0 to 1.")


class NormaliseParams(Params):
    """Which columns become comparable, and how."""

    fields: tuple[str, ...] = Field(description="Fields of the rows.", min_length=1)
    method: Literal["min_max", "z_score"] = Field(
        "min_max", description="Onto 0 to 1, or by mean and sample standard deviation (n - 1)."
    )


def describe_columns(data: AnyData, params: DescribeParams) -> dict[str, object]:
    """By column: counts, mean, std (n - 1), min, max and quantiles (linear) of what is neither null nor NaN."""
    for quantile in params.quantiles:
        if not 0 <= quantile <= 1:
            raise refusal("algorithm_config.parameters.quantiles", f"{quantile} is not within 0 to 1")
    frame = frame_of(data)
    if params.fields:
        source = columns(frame, params.fields)
        for name in params.fields:
            _numbers(source.column(name), name)
        names = list(params.fields)
    else:
        source = frame if is_table(frame) else columns(frame, _numeric_fields(frame))
        names = [name for name in source.column_names if _is_numeric(source.column(name))]
    return {name: _described(source.column(name), params.quantiles) for name in names}


def _numeric_fields(rows: list[dict[str, object]]) -> list[str]:
    """Fields whose values are numbers or null, and not all null."""
    found = []
    for name in names_of(rows):
        kinds = {type(row.get(name)) for row in rows} - {type(None)}
        if kinds and kinds <= {int, float, Decimal}:
            found.append(name)
    return found


def _described(column: Column, quantiles: tuple[float, ...]) -> dict[str, object]:
    pc = arrow_compute()
    nulls = column.null_count
    values = pc.drop_null(column)
    nans = pc.sum(pc.is_nan(values)).as_py() or 0 if arrow().types.is_floating(values.type) else 0
    if nans:
        values = values.filter(pc.invert(pc.is_nan(values)))
    count = len(values)
    edges = pc.min_max(values).as_py()
    floats = values.cast(arrow().float64(), safe=False)
    return {
        "count": count,
        "nulls": nulls,
        "nan": nans,
        "mean": _mean(values) if count else None,
        "std": pc.stddev(floats, ddof=1).as_py() if count > 1 else None,
        "min": edges["min"],
        "max": edges["max"],
        "quantiles": {f"{share:g}": pc.quantile(floats, share)[0].as_py() for share in quantiles},
    }


def _mean(values: Column) -> float | None:
    """The mean; of integers and decimals, the exact one, rounded once."""
    pa, pc = arrow(), arrow_compute()
    if pa.types.is_floating(values.type):
        mean: float | None = pc.mean(values).as_py()
        return mean
    scale = values.type.scale if pa.types.is_decimal(values.type) else 0  # type: ignore[attr-defined]  # a decimal type
    total = pc.sum(values.cast(pa.decimal256(76, scale))).as_py()
    return float(Fraction(total) / len(values))  # type: ignore[arg-type]  # a chunked array has a length


def normalise_columns(data: AnyData, params: NormaliseParams) -> object:
    """Rows with the fields normalised; nulls and NaNs stay, and a column of one value becomes 0."""
    frame = frame_of(data)
    source = columns(frame, params.fields)
    made = {}
    for name in params.fields:
        column = _numbers(source.column(name), name)
        with refusing(f"input_data.{name}", "cannot be normalised without rounding"):
            made[name] = _normalised(column.cast(arrow().float64()), params.method)
    if is_table(frame):
        table: Table = arrow().table({name: made.get(name, frame.column(name)) for name in frame.column_names})
        return table
    values = {name: column.to_pylist() for name, column in made.items()}
    return [{**row, **{name: values[name][index] for name in values}} for index, row in enumerate(frame)]


def _normalised(column: Column, method: str) -> Column:
    pc = arrow_compute()
    known = pc.drop_null(column)
    known = known.filter(pc.invert(pc.is_nan(known)))
    if not len(known):
        return column
    edges = pc.min_max(known).as_py()
    if edges["min"] == edges["max"]:
        origin, scale = edges["min"], 1.0
    elif method == "min_max":
        origin, scale = edges["min"], edges["max"] - edges["min"]
    else:
        origin, scale = pc.mean(known).as_py(), pc.stddev(known, ddof=1).as_py()
    made: Column = pc.divide(pc.subtract(column, origin), scale)
    return made


def _is_numeric(column: Column) -> bool:
    kinds = arrow().types
    return bool(kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_decimal(column.type))


def _numbers(column: Column, name: str) -> Column:
    """A column of numbers; of nothing but nulls, it counts as one.

    Raises:
        ValidationError: It holds something else.
    """
    if not _is_numeric(column) and not arrow().types.is_null(column.type):
        raise refusal(f"input_data.{name}", f"expected numbers, found {column.type}")
    return column

"""normalise: columns of numbers onto one scale."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import (
    Params,
    columns,
    frame_of,
    in_one,
    present_in,
    refusing,
    require_in_chunks,
)
from onex_mesh.compute.core.builtins.numbers import known_in, numbers_in
from onex_mesh.compute.core.chunks import concatenated
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, arrow_compute, is_table


class NormaliseParams(Params):
    """Which columns become comparable, and how."""

    fields: tuple[str, ...] = Field(description="Fields of the rows.", min_length=1)
    method: Literal["min_max", "z_score"] = Field(
        "min_max", description="Onto 0 to 1, or by mean and sample standard deviation (n - 1)."
    )


def normalise_columns(data: AnyData, params: NormaliseParams, ctx: ComputeContext) -> object:
    """Rows with the fields normalised; nulls and NaNs stay, and a column of one value becomes 0."""
    frame = frame_of(data, offset=ctx.offset)
    source = columns(frame, params.fields, offset=ctx.offset, may_lack=ctx.is_chunk)
    floats = {}
    for name in params.fields:
        column = numbers_in(source.column(name), name)
        with refusing(f"input_data.{name}", "cannot be normalised without rounding"):
            floats[name] = column.cast(arrow().float64())
    table: Table = arrow().table(floats)
    if not ctx.is_chunk:
        return _whole(frame, table, params)
    return Partial({"frame": frame, "floats": table, "present": present_in(frame, params.fields)})


def merge_normalised(partials: list[Partial], params: NormaliseParams) -> object:
    """All rows, by the scale of all of them; what chunks did is to find the numbers."""
    frame = cast("Table | Rows", concatenated([partial.parts["frame"] for partial in partials]))
    require_in_chunks(partials, params.fields)
    return _whole(frame, cast("Table", concatenated([partial.parts["floats"] for partial in partials])), params)


def _whole(frame: Table | Rows, floats: Table, params: NormaliseParams) -> object:
    # In one piece, for a sum of floats depends on the pieces.
    made = {name: _normalised(in_one(floats.column(name)), params.method) for name in params.fields}
    if is_table(frame):
        table: Table = arrow().table({name: made.get(name, frame.column(name)) for name in frame.column_names})
        return table
    values = {name: column.to_pylist() for name, column in made.items()}
    return [{**row, **{name: values[name][index] for name in values}} for index, row in enumerate(frame)]


def _normalised(column: Column, method: str) -> Column:
    pc = arrow_compute()
    known = known_in(column)
    edges = pc.min_max(known).as_py()
    if edges["min"] is None:
        return column
    if edges["min"] == edges["max"]:
        origin, scale = edges["min"], 1.0
    elif method == "min_max":
        origin, scale = edges["min"], edges["max"] - edges["min"]
    else:
        origin, scale = pc.mean(known).as_py(), pc.stddev(known, ddof=1).as_py()
    made: Column = pc.divide(pc.subtract(column, origin), scale)
    return made

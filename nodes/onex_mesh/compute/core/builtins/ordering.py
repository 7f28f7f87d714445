"""project, sort and deduplicate: which columns, and which rows in which order."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import (
    Params,
    columns,
    frame_of,
    merging,
    names_of,
    numbered,
    present_in,
    refusing,
    require_in_chunks,
    taken,
)
from onex_mesh.compute.core.chunks import concatenated
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import Rows, Table, arrow, arrow_compute, is_table


class ProjectParams(Params):
    """Which fields stay."""

    fields: tuple[str, ...] = Field(description="The fields that stay, in this order.", min_length=1)


class SortKey(Params):
    """One key."""

    field: str = Field(description="Field of the rows.")
    descending: bool = Field(False, description="Largest first.")


class SortParams(Params):
    """In which order."""

    keys: tuple[SortKey, ...] = Field(description="The keys, the weightiest first.", min_length=1)
    nulls: Literal["last", "first"] = Field("last", description="Where nulls go. NaN stands after the numbers.")


class DeduplicateParams(Params):
    """What makes two rows the same."""

    keys: tuple[str, ...] = Field((), description="Fields that must be equal. Default: all.")
    keep: Literal["first", "last"] = Field("first", description="Which of several stays.")


def project_rows(data: AnyData, params: ProjectParams, ctx: ComputeContext) -> object:
    """Some fields of each row; one that a row has not is null."""
    frame = frame_of(data, offset=ctx.offset)
    if is_table(frame):
        return columns(frame, params.fields)
    return [{name: row.get(name) for name in params.fields} for row in frame]


def sort_rows(data: AnyData, params: SortParams, ctx: ComputeContext) -> object:
    """Rows in order, by several keys; rows that are equal in all keys keep their order."""
    return _sorted(frame_of(data, offset=ctx.offset), params, ctx.offset, ctx.is_chunk)


def merge_sorted(partials: list[object], params: SortParams) -> object:
    """Rows in order, of chunks in order: as the sort is stable, the same as of all rows at once."""
    with merging():
        return _sorted(frame_of(concatenated(partials)), params)


def _sorted(frame: Table | Rows, params: SortParams, offset: int = 0, is_chunk: bool = False) -> object:
    names = list(dict.fromkeys(key.field for key in params.keys))
    source = columns(frame, names, offset=offset, may_lack=is_chunk)
    keys: dict[str, object] = {}
    order = []
    for number, key in enumerate(params.keys):
        column = source.column(key.field)
        if params.nulls == "first":
            # False stands before true; Arrow's own way of placing nulls differs from version to version.
            keys[f"known{number}"] = arrow_compute().is_valid(column)
            order.append((f"known{number}", "ascending"))
        keys[f"key{number}"] = column
        order.append((f"key{number}", "descending" if key.descending else "ascending"))
    with refusing("input_data", "cannot be sorted"):
        indices = arrow_compute().sort_indices(arrow().table(keys), sort_keys=order)
    return taken(frame, indices)


def deduplicate_rows(data: AnyData, params: DeduplicateParams, ctx: ComputeContext) -> object:
    """The first or the last of the rows that are equal in the keys, in the order of the data. Nulls are equal."""
    frame = frame_of(data, offset=ctx.offset)
    if not ctx.is_chunk:
        return _distinct(frame, params)
    # What is present is told, for the row that has a key may be one that does not stay.
    present = present_in(frame, params.keys)
    return Partial({"frame": _distinct(frame, params, ctx.offset, may_lack=True), "present": present})


def merge_distinct(partials: list[Partial], params: DeduplicateParams) -> object:
    """The first of the first ones, or the last of the last ones, of chunks."""
    require_in_chunks(partials, params.keys)
    with merging():
        return _distinct(frame_of(concatenated([one.parts["frame"] for one in partials])), params, may_lack=True)


def _distinct(frame: Table | Rows, params: DeduplicateParams, offset: int = 0, may_lack: bool = False) -> Table | Rows:
    names = list(params.keys) or names_of(frame)
    if not names:
        return frame if is_table(frame) else _one(frame)
    keys = columns(frame, names, offset=offset, may_lack=may_lack)
    rows = arrow().table(
        [*(keys.column(name) for name in names), numbered(keys.num_rows)],
        names=[*(f"key{number}" for number in range(len(names))), "row"],
    )
    pick = "min" if params.keep == "first" else "max"
    with refusing("input_data", "cannot be compared"):
        grouped = rows.group_by(rows.column_names[:-1], use_threads=False)
        kept = grouped.aggregate([("row", pick)]).column(f"row_{pick}")
    return taken(frame, kept.take(arrow_compute().sort_indices(kept)))


def _one(rows: Rows) -> Rows:
    """Of rows without fields, one."""
    return rows[:1]

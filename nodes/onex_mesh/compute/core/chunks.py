"""Contiguous, balanced chunks, none of them empty (R34, F19), and the ways back to one result (R35)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onex_mesh.compute.core.algorithm import Algorithm, MergeStrategy
from onex_mesh.compute.core.data import json_type
from onex_mesh.compute.core.tables import Table, arrow, is_table
from onex_mesh.runtime.errors import ValidationError

CHUNKS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the data.

    Attributes:
        data: A list or a table.
        offset: How many items come before.
    """

    data: object
    offset: int


def cut(data: object, parts: int) -> list[Chunk]:
    """Cuts a list or a table into at most `parts` pieces, whose sizes differ by one at most; empty data is one piece.

    Raises:
        ValidationError: The data is neither a list nor a table.
    """
    if is_table(data):
        return [Chunk(data.slice(begin, end - begin), begin) for begin, end in bounds(data.num_rows, parts)]
    if isinstance(data, list):
        return [Chunk(data[begin:end], begin) for begin, end in bounds(len(data), parts)]
    text = f"parallel work needs a list or a table, found {json_type(data)}"
    raise ValidationError(f"input_data: {text}", violations=(("input_data", text),))


def bounds(count: int, parts: int) -> list[tuple[int, int]]:
    """Begin and end of each piece of `count` items; at most 1,024 pieces."""
    parts = max(1, min(parts, count, CHUNKS_MAX))
    size, larger = divmod(count, parts)
    found = []
    begin = 0
    for index in range(parts):
        end = begin + size + (index < larger)
        found.append((begin, end))
        begin = end
    return found


def strategy_of(algorithm: Algorithm, asked: MergeStrategy | None) -> MergeStrategy:
    """How to merge: as asked, or the algorithm's own way.

    Raises:
        ValidationError: The algorithm cannot work on chunks, has no merge function for CUSTOM, or takes no other.
    """
    if algorithm.merge is None:
        text = f"the algorithm {algorithm.name!r} cannot work on chunks"
        raise ValidationError(f"parallel_config: {text}", violations=(("parallel_config", text),))
    if asked is MergeStrategy.CUSTOM and algorithm.merge_function is None:
        text = f"the algorithm {algorithm.name!r} declares no merge function"
        raise ValidationError(f"merge_strategy: {text}", violations=(("parallel_config.merge_strategy", text),))
    if algorithm.own_merge and asked not in (None, MergeStrategy.CUSTOM):
        text = (
            f"what the algorithm {algorithm.name!r} makes of chunks is for its own merge function only; ask for CUSTOM"
        )
        raise ValidationError(f"merge_strategy: {text}", violations=(("parallel_config.merge_strategy", text),))
    return asked or algorithm.merge


def concatenated(partials: Sequence[object]) -> object:
    """One list, or one table, of partial results in their order; a partial that is neither is one item."""
    if partials and all(is_table(partial) for partial in partials):
        try:
            # A column may be empty in one chunk, or whole in one and not in the next.
            table: Table = arrow().concat_tables(partials, promote_options="permissive")
        except arrow().ArrowException as error:
            text = f"the results of the chunks are tables that do not fit together: {str(error).splitlines()[0]}"
            raise ValidationError(text, violations=(("parallel_config", text),)) from error
        return table
    joined: list[object] = []
    for partial in partials:
        if isinstance(partial, list | tuple):
            joined.extend(partial)
        else:
            joined.append(partial)
    return joined

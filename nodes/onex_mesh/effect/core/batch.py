"""A batch of intents: in which order they run, and what becomes of each (R84 to R86)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import TypeVar

from onex_mesh.effect.core.contracts import ReadRequest

T = TypeVar("T")

Sequences = list[list[list[int]]]
"""Priority levels, in each the targets, for each the indices of its intents in the order to run them."""


def arrange(reads: Sequence[ReadRequest]) -> Sequences:
    """The order of a batch.

    A level begins when the one above it has ended, so CRITICAL is before everything else. Within a level targets work
    side by side, so a slow one delays no other; the intents for one target run in the order of their emission.
    """
    by_priority = sorted(range(len(reads)), key=lambda index: reads[index].request.priority)
    levels: Sequences = []
    for _, level in groupby(by_priority, key=lambda index: reads[index].request.priority):
        targets: dict[tuple[str, str], list[int]] = {}
        for index in level:
            request = reads[index].request
            targets.setdefault((request.target, "" if request.target else request.effect_type), []).append(index)
        levels.append(list(targets.values()))
    return levels


async def run_batch(
    reads: Sequence[ReadRequest], execute: Callable[[int], Awaitable[T]]
) -> AsyncGenerator[tuple[int, T], None]:
    """Runs a batch; yields (index, result) as each ends. `execute` answers for failures, too: it does not raise."""
    for level in arrange(reads):
        if len(level) == 1:
            for index in level[0]:
                yield index, await execute(index)
        else:
            # Closed at once when the caller goes away, not whenever the garbage is collected.
            async with aclosing(_side_by_side(level, execute)) as running:
                async for ended in running:
                    yield ended


def execution_order(reads: Sequence[ReadRequest]) -> list[int]:
    """The indices of a batch in the order in which they are executed: by priority, ties in the order of emission."""
    return sorted(range(len(reads)), key=lambda index: reads[index].request.priority)


async def _side_by_side(
    targets: list[list[int]], execute: Callable[[int], Awaitable[T]]
) -> AsyncGenerator[tuple[int, T], None]:
    ended: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()

    async def one_target(indices: list[int]) -> None:
        try:
            for index in indices:
                ended.put_nowait((index, await execute(index)))
        finally:
            ended.put_nowait(None)

    tasks = [asyncio.create_task(one_target(indices)) for indices in targets]
    try:
        under_way = len(tasks)
        while under_way:
            result = await ended.get()
            if result is None:
                under_way -= 1
            else:
                yield result
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

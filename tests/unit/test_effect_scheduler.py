"""Who is let in next: priorities, ties, aging; and the slots of a target."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_mesh.effect.core.request import Priority
from onex_mesh.effect.core.scheduler import PriorityQueue
from onex_mesh.effect.core.slots import Slots
from onex_mesh.runtime.errors import OverloadedError


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.sampled_from(list(Priority)), max_size=30))
def test_priorities_first_ties_in_order_of_arrival(priorities: list[Priority]) -> None:
    """R84, F28: what came at the same time leaves by priority; equal ones in the order in which they came."""
    queue: PriorityQueue[int] = PriorityQueue(aging_s=5.0, clock=Clock())
    for index, priority in enumerate(priorities):
        queue.push(index, priority)
    left = [queue.pop() for _ in priorities]
    assert left == sorted(range(len(priorities)), key=lambda index: priorities[index])


def test_low_priorities_age() -> None:
    """F28: BACKGROUND is overtaken by what comes within 4·aging_s, and by nothing that comes later."""
    clock = Clock()
    queue: PriorityQueue[str] = PriorityQueue(aging_s=5.0, clock=clock)
    queue.push("old background", Priority.BACKGROUND)
    clock.now = 19.0
    queue.push("critical in time", Priority.CRITICAL)
    clock.now = 21.0
    queue.push("critical too late", Priority.CRITICAL)
    assert [queue.pop() for _ in range(3)] == ["critical in time", "old background", "critical too late"]


def _slots(size: int, waiting_max: int = 100) -> Slots:
    return Slots("t", size, waiting_max=waiting_max, clock=time.monotonic)


async def test_slots_bound_the_calls_and_go_by_priority() -> None:
    """R154, R84: never more than the bound at once; of those that wait the most urgent goes first."""
    slots = _slots(1)
    order: list[str] = []
    running = most = 0

    async def call(name: str, priority: Priority) -> None:
        nonlocal running, most
        await slots.enter(priority)
        running += 1
        most = max(most, running)
        order.append(name)
        await asyncio.sleep(0)
        running -= 1
        slots.leave()

    await asyncio.gather(
        call("first", Priority.LOW),
        call("low", Priority.LOW),
        call("critical", Priority.CRITICAL),
        call("normal", Priority.NORMAL),
    )
    assert order == ["first", "critical", "normal", "low"]
    assert most == 1
    assert slots.in_use == 0


async def test_too_many_waiting_calls_are_refused() -> None:
    """R154: the queue in front of a target is bounded; one more is OVERLOADED and may come again."""
    slots = _slots(1, waiting_max=1)
    await slots.enter(Priority.NORMAL)
    waiting = asyncio.create_task(slots.enter(Priority.NORMAL))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as refused:
        await slots.enter(Priority.CRITICAL)
    assert refused.value.retryable
    slots.leave()
    await waiting
    slots.leave()


async def test_a_cancelled_waiter_leaves_no_trace() -> None:
    """R164: whoever stops waiting neither keeps a slot nor a place in the queue."""
    slots = _slots(1, waiting_max=1)
    await slots.enter(Priority.NORMAL)
    waiting = asyncio.create_task(slots.enter(Priority.NORMAL))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert slots.waiting == 0
    slots.leave()
    assert slots.in_use == 0
    await slots.enter(Priority.NORMAL)
    assert slots.in_use == 1


async def test_a_slot_given_to_a_cancelled_waiter_goes_on() -> None:
    """R164: a waiter cancelled at the very moment of its turn passes the slot on."""
    slots = _slots(1)
    await slots.enter(Priority.NORMAL)
    first = asyncio.create_task(slots.enter(Priority.NORMAL))
    second = asyncio.create_task(slots.enter(Priority.NORMAL))
    await asyncio.sleep(0)
    slots.leave()
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert first.cancelled()
    assert slots.in_use == 1

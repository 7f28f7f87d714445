"""Executions under the same key within one node: the first works, the others wait for its result."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from onex_mesh.effect.core.request import EffectValue

FlightKey = tuple[str, str]
"""Target and idempotency key."""


@dataclass(slots=True)
class _Flight:
    fencing_token: int
    ended: asyncio.Future[EffectValue | None]


class Flights:
    """What is under way, by target and key. For one event loop."""

    def __init__(self) -> None:
        self._flights: dict[FlightKey, _Flight] = {}

    async def join(self, key: FlightKey, fencing_token: int, work: Callable[[], Awaitable[EffectValue]]) -> EffectValue:
        """Does the work, or waits for one that is under way under the same key and takes its value as replayed.

        A failure is not shared: whoever waited does the work itself. An execution with a lower fencing token than the
        one under way does not wait either; its target has to refuse it.
        """
        while (flight := self._flights.get(key)) is not None:
            if fencing_token < flight.fencing_token:
                return await work()
            value = await asyncio.shield(flight.ended)
            if value is not None:
                return dataclasses.replace(value, replayed=True)
        flight = _Flight(fencing_token, asyncio.get_running_loop().create_future())
        self._flights[key] = flight
        value = None
        try:
            value = await work()
            return value
        finally:
            del self._flights[key]
            flight.ended.set_result(value)

"""One target at work: its adapter with the breaker, the slots and the counters that go with it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onex_mesh.effect.core.breaker import Breaker
from onex_mesh.effect.core.budget import RetryBudget
from onex_mesh.effect.core.counters import Counters
from onex_mesh.effect.core.redaction import NOTHING_SECRET, Redactor
from onex_mesh.effect.core.retry import RetryRules
from onex_mesh.effect.core.slots import Slots
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import TargetAdapter
from onex_mesh.runtime.payload import Json

_SERIALS = itertools.count(1)


@dataclass(slots=True)
class Lane:
    """What the node keeps about one target. A slow or broken target fills its own lane only."""

    name: str
    kind: str
    effect_types: tuple[str, ...]
    description: str
    adapter: TargetAdapter
    breaker: Breaker
    slots: Slots
    retry: RetryRules
    budget: RetryBudget
    timeout_s: float
    redactor: Redactor = NOTHING_SECRET
    """Takes the target's credentials out of what is written about it."""
    counters: Counters = field(default_factory=Counters)
    serial: int = field(default_factory=lambda: next(_SERIALS))
    """Tells this lane from an earlier one of the same name."""
    parameters_schema: Mapping[str, Json] | None = None
    """Of an effect of the application: JSON schema of its parameters, where there is one."""
    compensated_by: str = ""
    """Of an effect of the application: the one that undoes it."""
    healthy: bool = True
    health_message: str = field(default="not checked yet")
    _under_way: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """An effect was accepted: the adapter stays open until it has ended."""
        self._under_way += 1
        self._idle.clear()

    def end(self) -> None:
        """An accepted effect has ended."""
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()

    @property
    def under_way(self) -> int:
        """Effects accepted and not ended: at work, waiting for their turn, or between two attempts."""
        return self._under_way

    async def idle(self) -> None:
        """Returns when no accepted effect is under way, or it was given up."""
        if self._under_way:
            await self._idle.wait()

    def give_up(self) -> None:
        """Ends every wait for idleness."""
        self._idle.set()


def open_lane(
    name: str,
    config: TargetConfig,
    adapter: TargetAdapter,
    *,
    counters: Counters | None = None,
    redactor: Redactor = NOTHING_SECRET,
    clock: Callable[[], float] = time.monotonic,
) -> Lane:
    """The lane of a declared target.

    Args:
        name: Name of the target.
        config: Its declaration.
        adapter: Its adapter.
        counters: What was counted under an earlier declaration of the same name; None: begin at 0.
        redactor: Knows the target's credentials.
        clock: Monotonic.
    """
    return Lane(
        name=name,
        kind=config.kind,
        effect_types=config.effect_types,
        description=config.description,
        adapter=adapter,
        breaker=Breaker(config.breaker.rules(), clock),
        slots=Slots(
            name,
            config.limits.concurrency,
            waiting_max=config.limits.waiting,
            clock=clock,
            bucket=config.limits.bucket(clock),
        ),
        retry=config.retry.rules(),
        budget=config.retry.budget(clock),
        timeout_s=config.limits.timeout_s,
        redactor=redactor,
        counters=counters or Counters(),
    )

"""One target at work: its adapter with the breaker, the slots and the counters that go with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onex_mesh.effect.core.breaker import Breaker
from onex_mesh.effect.core.retry import RetryRules
from onex_mesh.effect.core.slots import Slots
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import TargetAdapter


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
    timeout_s: float
    succeeded: int = 0
    failed: int = 0
    healthy: bool = True
    health_message: str = field(default="not checked yet")


def open_lane(
    name: str, config: TargetConfig, adapter: TargetAdapter, *, clock: Callable[[], float] = time.monotonic
) -> Lane:
    """The lane of a declared target."""
    return Lane(
        name=name,
        kind=config.kind,
        effect_types=config.effect_types,
        description=config.description,
        adapter=adapter,
        breaker=Breaker(config.breaker.rules(), clock),
        slots=Slots(name, config.limits.concurrency, waiting_max=config.limits.waiting, clock=clock),
        retry=config.retry.rules(),
        timeout_s=config.limits.timeout_s,
    )

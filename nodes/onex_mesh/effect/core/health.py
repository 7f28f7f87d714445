"""Health of the targets: checked at most every few seconds, side by side, each within its own time (R24)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.lane import Lane
from onex_mesh.runtime.errors import OnexError

log = structlog.get_logger(__name__)

_CHECK_TIMEOUT_S = 2.0
_FRESH_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    name: str
    healthy: bool
    message: str


class HealthChecks:
    """Checks the targets of a node."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        audit_check: Callable[[], Awaitable[None]],
        *,
        more: Callable[[], Finding | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lanes = lanes
        self._audit_check = audit_check
        self._more = more
        self._clock = clock
        self._checked_at: float | None = None
        self._checking = asyncio.Lock()

    async def refresh(self) -> list[Finding]:
        """The health of all targets and of the audit file, not older than two seconds."""
        async with self._checking:
            if self._checked_at is None or self._clock() - self._checked_at >= _FRESH_S:
                await asyncio.gather(*(self._check(lane) for lane in list(self._lanes.values())))
                self._checked_at = self._clock()
        findings = [Finding(lane.name, is_well(lane), lane.health_message) for lane in self._lanes.values()]
        problem = await _problem_of(self._audit_check)
        if problem:
            findings.append(Finding("audit", False, problem))
        found = self._more()
        if found is not None:
            findings.append(found)
        return findings

    async def _check(self, lane: Lane) -> None:
        problem = await _problem_of(lane.adapter.check)
        if bool(problem) == lane.healthy:
            log.info("the health of a target changed", target=lane.name, healthy=not problem, why=problem)
        lane.healthy = not problem
        lane.health_message = problem
        if not problem and lane.breaker.state is not BreakerState.CLOSED:
            lane.health_message = f"the breaker is {lane.breaker.state.value}"


def is_well(lane: Lane) -> bool:
    """Whether the last check succeeded and calls are let through."""
    return lane.healthy and lane.breaker.state is not BreakerState.OPEN


async def _problem_of(check: Callable[[], Awaitable[None]]) -> str:
    """What a check complains about; empty if all is well."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await check()
    except OnexError as error:
        return error.message
    except TimeoutError:
        return f"did not answer within {_CHECK_TIMEOUT_S:g} s"
    except Exception as error:  # noqa: BLE001  # a check that breaks is a finding about the target, not a crash
        return f"the check failed: {type(error).__name__}"
    return ""

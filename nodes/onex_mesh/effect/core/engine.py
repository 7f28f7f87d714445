"""The machinery around every effect, once for all types: check, cache, key, ledger, turn, breaker, retry, audit."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from onex_mesh.effect.core.attempts import Attempts, Run
from onex_mesh.effect.core.cache import ResponseCache, cache_key
from onex_mesh.effect.core.contracts import ReadRequest, require_target
from onex_mesh.effect.core.flights import Flights
from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.core.once import Claims
from onex_mesh.effect.core.request import APP_TARGET, EffectOutcome, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.effect.ports import AuditLog, AuditRecord, Observer
from onex_mesh.runtime.errors import (
    OnexError,
    TargetNotFoundError,
    ValidationError,
)

log = structlog.get_logger(__name__)

_MESSAGE_CHARS_MAX = 500
_FACT_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the engine is made of."""

    lanes: Mapping[str, Lane]
    """Declared targets, by name."""
    app_lanes: Mapping[str, Lane]
    """Effects of the application, by their type."""
    claims: Claims
    audit: AuditLog
    observer: Observer
    node: str
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = field(default=random.random)


class EffectEngine:
    """Executes effects."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._cache = ResponseCache(clock=parts.clock)
        self._flights = Flights()
        self._tries = Attempts(clock=parts.clock, random=parts.random)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def execute(self, read: ReadRequest) -> EffectOutcome:
        """Executes one effect.

        Raises:
            ValidationError: All that is wrong with the request; nothing was touched.
            TargetNotFoundError: The operator declared no such target.
            OnexError: The effect failed for good, after the retries that its policy allows.
        """
        request = read.request
        try:
            lane, plan = self.prepare(read)
            self._parts.audit.require_room()
        except OnexError as error:
            self._describe(error, request, request.operation, 0)
            raise
        run = Run(lane, plan, request, self._clock())
        started_at_s = time.time()
        self._under_way += 1
        self._idle.clear()
        lane.begin()
        try:
            value, cached = await self._value(run)
        except asyncio.CancelledError:
            self._ended(run, started_at_s, "cancelled", None)
            raise
        except OnexError as error:
            error.correlation_id = error.correlation_id or request.context.correlation_id
            self._describe(error, request, plan.operation, run.attempts)
            self._ended(run, started_at_s, "failed", error)
            raise
        finally:
            lane.end()
            self._under_way -= 1
            if self._under_way == 0:
                self._idle.set()
        self._ended(run, started_at_s, "cached" if cached else "replayed" if value.replayed else "completed", None)
        return EffectOutcome(
            value=value,
            operation=plan.operation,
            attempts=0 if value.replayed or cached else run.attempts,
            execution_time_s=self._clock() - run.began,
            started_at_s=started_at_s,
            executed_by=self._parts.node,
            replayed=value.replayed,
            from_cache=cached,
        )

    def prepare(self, read: ReadRequest) -> tuple[Lane, EffectPlan]:
        """Checks a request against its target and plans it (R18). Touches nothing.

        Raises:
            ValidationError: All that is wrong with it.
            TargetNotFoundError: The operator declared no such target.
        """
        request = read.request
        found = list(read.violations)
        if not any(path == "target" for path, _ in found):
            found += require_target(request, self._parts.app_lanes.__contains__)
        lane = None
        if not found or request.target not in ("", APP_TARGET):
            lane = self._lane(request)
            if request.effect_type and request.effect_type not in lane.effect_types:
                takes = ", ".join(lane.effect_types)
                found.append(("effect_type", f"{request.effect_type!r}: target {lane.name!r} takes {takes}"))
            elif request.effect_type:
                try:
                    plan = lane.adapter.plan(request)
                    if not found:
                        return lane, plan
                except ValidationError as error:
                    prefix = f"{request.parameters_path}." if request.parameters_path else ""
                    found.extend((f"{prefix}{path}", text) for path, text in error.violations)
        message = "; ".join(f"{path}: {text}" for path, text in found)
        raise ValidationError(message, violations=tuple(found), correlation_id=request.context.correlation_id)

    async def drained(self) -> None:
        """Returns when no effect is under way."""
        await self._idle.wait()

    @property
    def under_way(self) -> int:
        """Effects under way."""
        return self._under_way

    def _lane(self, request: EffectRequest) -> Lane:
        app_lane = self._parts.app_lanes.get(request.effect_type)
        if app_lane is not None and request.target in ("", APP_TARGET):
            return app_lane
        lane = self._parts.lanes.get(request.target)
        if lane is None:
            known = "" if request.target != APP_TARGET else f"; the application has no effect {request.effect_type!r}"
            raise TargetNotFoundError(
                f"no target {request.target!r} is configured{known}",
                error_context={"target": request.target},
                correlation_id=request.context.correlation_id,
            )
        return lane

    async def _value(self, run: Run) -> tuple[EffectValue, bool]:
        """The value, and whether it came from the cache."""
        plan, request = run.plan, run.request
        if plan.is_read and request.cache_ttl_s > 0:
            place = f"{run.lane.serial} {cache_key(request)}"
            cached = self._cache.get(place, request.cache_ttl_s)
            if cached is not None:
                return cached, True
            value = await self._tries.make(run)
            self._cache.put(place, value)
            return value, False
        key = request.context.idempotency_key
        if not key or plan.once is Once.NOT_NEEDED:
            return await self._tries.make(run), False
        work = self._recorded if plan.once is Once.BY_LEDGER else self._tries.make
        flight = (run.lane.name, key)
        return await self._flights.join(flight, request.context.fencing_token, lambda: work(run)), False

    async def _recorded(self, run: Run) -> EffectValue:
        """The value under the ledger's claim: a recorded result answers, a new one is recorded."""
        context = run.request.context
        async with self._parts.claims.hold(run.lane.name, context) as claim:
            if claim.recorded is not None:
                return dataclasses.replace(claim.recorded, replayed=True)
            value = await self._tries.make(run)
            await claim.record(value)
            return value

    def _describe(self, error: OnexError, request: EffectRequest, operation: str, attempts: int) -> None:
        """Has an error say what it is about: the log of the workflow keeps that as the audit record (R11)."""
        facts: dict[str, str | int] = {
            "target": request.target or APP_TARGET,
            "effect_type": request.effect_type,
            "operation": operation,
            "idempotency_key": request.context.idempotency_key,
            "fencing_token": request.context.fencing_token,
            "executed_by": self._parts.node,
            "attempts": attempts,
        }
        for name, fact in facts.items():
            if fact != "":
                error.error_context.setdefault(name, fact if isinstance(fact, int) else fact[:_FACT_CHARS_MAX])

    def _ended(self, run: Run, started_at_s: float, outcome: str, error: OnexError | None) -> None:
        request, context = run.request, run.request.context
        duration_s = self._clock() - run.began
        counters = run.lane.counters
        counters.ended[outcome] += 1
        counters.retries += max(run.attempts - 1, 0)
        reason = error.reason if error is not None else ""
        self._parts.observer.observe(f"effect:{request.effect_type}", duration_s, reason)
        self._parts.audit.add(
            AuditRecord(
                started_at_s=started_at_s,
                node=self._parts.node,
                target=run.lane.name,
                effect_type=request.effect_type,
                operation=run.plan.operation,
                correlation_id=context.correlation_id,
                workflow_id=context.workflow_id,
                step_id=context.step_id,
                idempotency_key=context.idempotency_key,
                fencing_token=context.fencing_token,
                attempts=run.attempts,
                outcome=outcome,
                reason=reason,
                message=error.message[:_MESSAGE_CHARS_MAX] if error is not None else "",
                duration_s=duration_s,
            )
        )

"""Attempts at one effect: its turn at the target, the breaker, the time it has, and whether to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import stamina
import structlog

from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.core.request import EffectPlan, EffectRequest, EffectValue
from onex_mesh.effect.core.retry import RetryRules
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    CircuitOpenError,
    InternalError,
    OnexError,
    OverloadedError,
    TargetUnavailableError,
    TemporarilyRefusedError,
    TemporaryDatabaseError,
)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Run:
    """What is counted while one request is under way."""

    lane: Lane
    plan: EffectPlan
    request: EffectRequest
    began: float
    attempts: int = 0


class Attempts:
    """Makes the attempts of the effects of one node."""

    def __init__(self, *, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random

    async def make(self, run: Run) -> EffectValue:
        """Tries until it succeeds or its policy gives up.

        Raises:
            OnexError: How the last attempt ended, if it has done no part of the effect for good.
        """
        try:
            return await self._until_given_up(run)
        except OnexError:
            done = run.plan.settle() if run.plan.settle is not None else None
            if done is None:
                raise
            return done

    async def _until_given_up(self, run: Run) -> EffectValue:
        rules = run.request.retry if run.request.retry is not None else run.lane.retry
        run.lane.budget.called()
        # Most effects need one attempt, and setting the retry library up costs more than a small effect.
        try:
            return await self._attempt(run)
        except OnexError as error:
            first = error
            if rules.max_retries == 0 or not rules.covers(error):
                raise
        async for turn in stamina.retry_context(on=self._wait_after(run, rules), attempts=None, timeout=None):
            with turn:
                if turn.num == 1:
                    raise first
                return await self._attempt(run)
        raise AssertionError("the loop returns or raises")

    def _wait_after(self, run: Run, rules: RetryRules) -> Callable[[Exception], float | bool]:
        """What says after each failure how long to wait, or False to give up."""

        def wait_after(error: Exception) -> float | bool:
            if not isinstance(error, OnexError):
                return False
            now = self._clock()
            deadline = run.request.context.deadline
            wait_s = rules.wait_s(
                error,
                attempt=run.attempts,
                elapsed_s=now - run.began,
                remaining_s=None if deadline is None else deadline - now,
                random=self._random,
            )
            if wait_s is None:
                return False
            # What was refused before it reached the target cost the target nothing.
            if not isinstance(error, CircuitOpenError | OverloadedError) and not run.lane.budget.take():
                error.error_context["retries"] = "the retry budget of the target is spent"
                return False
            return wait_s

        return wait_after

    async def _attempt(self, run: Run) -> EffectValue:
        lane = run.lane
        run.attempts += 1
        lane.breaker.require_passable(lane.name)
        await lane.slots.enter(run.request.priority, run.request.context.deadline)
        try:
            # Not before: the breaker may have opened while this one waited for its turn.
            permit = lane.breaker.enter(lane.name)
        except CircuitOpenError:
            lane.slots.leave(used=False)
            raise
        lane.counters.in_flight += 1
        try:
            return await self._judged(run, permit)
        finally:
            lane.counters.in_flight -= 1
            lane.slots.leave()

    async def _judged(self, run: Run, permit: int) -> EffectValue:
        """One call; the breaker is told what it says about the target."""
        breaker, began = run.lane.breaker, self._clock()
        tell = breaker.left
        try:
            value = await self._within_time(run)
            tell = breaker.failed if breaker.is_slow(self._clock() - began) else breaker.succeeded
            return value
        except OnexError as error:
            # Here and not at the end: retries are logged with what they follow.
            run.lane.redactor.error(error)
            is_slow = breaker.is_slow(self._clock() - began)
            if isinstance(error, ActionExpiredError):
                # The caller had less patience than the target was given: that says nothing, unless it was long enough.
                tell = breaker.failed if is_slow else breaker.left
            elif not isinstance(error, InternalError):
                tell = breaker.failed if is_slow or _is_away(error) else breaker.succeeded
            raise
        finally:
            tell(permit)

    async def _within_time(self, run: Run) -> EffectValue:
        lane, context = run.lane, run.request.context
        limit_s = lane.timeout_s if run.request.timeout_s is None else min(run.request.timeout_s, lane.timeout_s)
        expires = False
        if context.deadline is not None:
            remaining_s = context.deadline - self._clock()
            if remaining_s <= 0:
                raise ActionExpiredError("the deadline was over before the effect began")
            expires = remaining_s < limit_s
            limit_s = min(limit_s, remaining_s)
        try:
            async with asyncio.timeout(limit_s):
                return await run.plan.run(context)
        except TimeoutError as error:
            if expires:
                raise ActionExpiredError("the deadline was over before the target answered") from error
            unavailable = TargetUnavailableError(
                f"target {lane.name!r} did not answer within {limit_s:.3g} s", error_context={"target": lane.name}
            )
            unavailable.retryable = _may_repeat(run)
            raise unavailable from error
        except OnexError:
            raise
        except Exception as error:
            log.error(
                "an effect failed unexpectedly",
                target=lane.name,
                effect_type=run.request.effect_type,
                correlation_id=context.correlation_id,
                exception=lane.redactor.trace(error),
            )
            raise InternalError("the effect failed unexpectedly; the node's log has the cause") from error


def _is_away(error: OnexError) -> bool:
    """Whether the target did not answer; one that refuses for now has answered."""
    return isinstance(error, TargetUnavailableError) and not isinstance(
        error, TemporaryDatabaseError | TemporarilyRefusedError
    )


def _may_repeat(run: Run) -> bool:
    """Whether an attempt whose outcome is unknown may be made again."""
    return run.plan.is_read or run.plan.is_idempotent or bool(run.request.context.idempotency_key)

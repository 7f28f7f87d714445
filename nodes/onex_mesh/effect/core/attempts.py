"""Attempts at one effect: its turn at the target, the breaker, the time it has, and whether to try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import stamina
import structlog

from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.core.request import EffectPlan, EffectRequest, EffectValue
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    InternalError,
    OnexError,
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
        # Most effects need one attempt, and setting the retry library up costs more than a small effect.
        try:
            return await self._attempt(run)
        except OnexError as error:
            first = error
            if rules.max_retries == 0 or not rules.covers(error):
                raise

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
            return False if wait_s is None else wait_s

        async for turn in stamina.retry_context(on=wait_after, attempts=None, timeout=None):
            with turn:
                if turn.num == 1:
                    raise first
                return await self._attempt(run)
        raise AssertionError("the loop returns or raises")

    async def _attempt(self, run: Run) -> EffectValue:
        lane = run.lane
        run.attempts += 1
        permit = lane.breaker.enter(lane.name)
        try:
            await lane.slots.enter(run.request.priority)
        except BaseException:
            lane.breaker.left(permit)
            raise
        lane.counters.in_flight += 1
        try:
            value = await self._within_time(run)
        except OnexError as error:
            unavailable = isinstance(error, TargetUnavailableError) and not isinstance(
                error, TemporaryDatabaseError | TemporarilyRefusedError
            )
            if unavailable:
                lane.breaker.failed(permit)
            elif isinstance(error, ActionExpiredError | InternalError):
                lane.breaker.left(permit)
            else:
                lane.breaker.succeeded(permit)
            raise
        except BaseException:
            lane.breaker.left(permit)
            raise
        else:
            lane.breaker.succeeded(permit)
            return value
        finally:
            lane.counters.in_flight -= 1
            lane.slots.leave()

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
                exc_info=error,
            )
            raise InternalError("the effect failed unexpectedly; the node's log has the cause") from error


def _may_repeat(run: Run) -> bool:
    """Whether an attempt whose outcome is unknown may be made again."""
    return run.plan.is_read or run.plan.is_idempotent or bool(run.request.context.idempotency_key)

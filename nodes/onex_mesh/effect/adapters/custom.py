"""Effects of the application as a target of their own each."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pydantic
import structlog

from onex_mesh.effect.core.custom import CustomEffect, HandlerResult
from onex_mesh.effect.core.lane import Lane, open_lane
from onex_mesh.effect.core.request import APP_TARGET, EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.effect.core.targets import Limits, TargetConfig
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json, to_value

log = structlog.get_logger(__name__)

_DAY_S = 86_400.0


def open_app_lane(effect: CustomEffect) -> Lane:
    """An effect of the application as a target of its own, so that its breaker and its slots are its own."""
    config = TargetConfig(
        kind=APP_TARGET,
        limits=Limits(concurrency=effect.concurrency, timeout_s=effect.timeout_s or _DAY_S),
    )
    lane = open_lane(f"{APP_TARGET}:{effect.name}", config, CustomAdapter(effect))
    lane.effect_types = (effect.name,)
    lane.description = effect.description
    lane.parameters_schema = effect.schema()
    lane.compensated_by = effect.compensation.effect if effect.compensation is not None else ""
    return lane


class CustomAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, effect: CustomEffect) -> None:
        self._effect = effect
        self._once = Once.BY_LEDGER if effect.ledger else Once.BY_TARGET
        # Threads of its own, begun as they are needed: a slow handler must not hold up others, nor the node itself.
        self._threads = ThreadPoolExecutor(effect.concurrency, thread_name_prefix=f"effect-{effect.name}")

    async def start(self) -> None:
        """Nothing: the application opens what it needs."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks the parameters against the handler's model."""
        if request.has_body:
            raise ValidationError("body: an effect of the application has none", violations=(("body", "not taken"),))
        parameters = self._effect.parse(request.parameters)
        return EffectPlan(
            run=lambda context: self._call(parameters, context), operation=self._effect.name, once=self._once
        )

    async def check(self) -> None:
        """Nothing that the node could know."""

    async def stop(self) -> None:
        """Lets the threads end; a handler that is still at work cannot be stopped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, parameters: pydantic.BaseModel | Mapping[str, Json], context: EffectContext) -> EffectValue:
        handler = self._effect.handler
        try:
            if self._effect.is_async:
                result = handler(parameters, context)
            else:
                # The handler's log lines carry the correlation id, too.
                call = partial(contextvars.copy_context().run, handler, parameters, context)
                result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
            if inspect.isawaitable(result):
                result = await result
        except OnexError:
            raise
        except (ConnectionError, TimeoutError) as error:
            raise TargetUnavailableError(
                f"effect {self._effect.name!r}: {type(error).__name__}", error_context={"effect": self._effect.name}
            ) from error
        except Exception as error:
            # Its text may hold what must not leave the node; the log has it.
            log.error(
                "an effect of the application raised",
                effect=self._effect.name,
                correlation_id=context.correlation_id,
                exc_info=error,
            )
            raise EffectFailedError(
                f"effect {self._effect.name!r} raised {type(error).__name__}; the node's log has the cause",
                error_context={"effect": self._effect.name, "exception": type(error).__name__},
            ) from error
        return self._value(result)

    def _value(self, result: HandlerResult) -> EffectValue:
        if isinstance(result, bytes):
            return EffectValue(result, "application/octet-stream")
        value: Json = result.model_dump(mode="json") if isinstance(result, pydantic.BaseModel) else result
        if value is None or isinstance(value, str | bool):
            return EffectValue(value)
        try:
            to_value(value)
        except ValidationError as error:
            raise EffectFailedError(f"the result of effect {self._effect.name!r}: {error.message}") from error
        return EffectValue(value)

"""EffectService: translates calls, nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain

from onex.v1 import common_pb2, effect_pb2, effect_pb2_grpc, intent_pb2
from onex_mesh.effect.core.health import HealthChecks
from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.executor import EffectExecutor
from onex_mesh.effect.listing import listed, listed_subscription
from onex_mesh.effect.subscribing import KIND as SUBSCRIPTION
from onex_mesh.effect.subscribing import Listed
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.errors import OnexError, to_proto
from onex_mesh.runtime.payloads import Payloads


class EffectServicer(effect_pb2_grpc.EffectServiceServicer):
    """See the module."""

    def __init__(
        self,
        executor: EffectExecutor,
        lanes: Mapping[str, Lane],
        app_lanes: Mapping[str, Lane],
        health: HealthChecks,
        subscriptions: Callable[[], Sequence[Listed]],
        payloads: Payloads,
    ) -> None:
        self._executor = executor
        self._lanes = lanes
        self._app_lanes = app_lanes
        self._health = health
        self._subscriptions = subscriptions
        self._payloads = payloads

    async def ExecuteEffect(
        self, request: effect_pb2.ExecuteEffectRequest, context: CallContext
    ) -> effect_pb2.ExecuteEffectResponse:
        """Executes one effect."""
        contract = await self._payloads.fetched(request.contract)
        output = await self._executor.effect(contract, _context(contract.correlation_id, context))
        await self._payloads.fit_answer(output)
        return effect_pb2.ExecuteEffectResponse(output=output)

    async def ExecuteIntents(
        self, request: effect_pb2.ExecuteIntentsRequest, context: CallContext
    ) -> AsyncIterator[effect_pb2.ExecuteIntentsResponse]:
        """Executes intents by priority; answers with each result as it ends."""
        batch = self._executor.intents(request.intents, _context(request.correlation_id, context))
        async with aclosing(batch) as results:
            async for result in results:
                yield effect_pb2.ExecuteIntentsResponse(result=await self._fitting(result))

    async def _fitting(self, result: intent_pb2.IntentResult) -> intent_pb2.IntentResult:
        """The result as a message carries it. One that none carries says so: the others are not to be lost for it."""
        try:
            await self._payloads.fit_answer(result)
        except OnexError as error:
            result.ClearField("result")
            result.error.CopyFrom(to_proto(error, node_kind=common_pb2.NODE_KIND_EFFECT))
        return result

    async def ListTargets(
        self, request: effect_pb2.ListTargetsRequest, context: CallContext
    ) -> effect_pb2.ListTargetsResponse:
        """Lists the targets, then the subscriptions, with their health; never a secret."""
        await self._health.refresh()
        lanes = sorted(chain(self._lanes.values(), self._app_lanes.values()), key=lambda lane: lane.name)
        targets = [listed(lane) for lane in lanes if request.kind in ("", lane.kind)]
        if request.kind in ("", SUBSCRIPTION):
            targets += [listed_subscription(row) for row in self._subscriptions()]
        return effect_pb2.ListTargetsResponse(targets=targets)


def _context(correlation_id: str, context: CallContext) -> EffectContext:
    remaining_s = context.time_remaining()
    return EffectContext(
        correlation_id=correlation_id,
        deadline=None if remaining_s is None else time.monotonic() + float(remaining_s),
        traceparent=_metadata(context, "traceparent"),
    )


def _metadata(context: CallContext, name: str) -> str:
    values = (value for key, value in context.invocation_metadata() or () if key == name)
    return next((value for value in values if isinstance(value, str)), "")

"""What ListTargets shows of a target; never a secret."""

from __future__ import annotations

from collections.abc import Mapping

from onex.v1 import effect_pb2
from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.lane import Lane

_BREAKER_STATES: Mapping[BreakerState, effect_pb2.BreakerState] = {
    BreakerState.CLOSED: effect_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: effect_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: effect_pb2.BREAKER_STATE_HALF_OPEN,
}


def listed(lane: Lane) -> effect_pb2.Target:
    """A target with its health, its breaker and its counters."""
    return effect_pb2.Target(
        name=lane.name,
        kind=lane.kind,
        effect_types=lane.effect_types,
        healthy=lane.healthy,
        breaker_state=_BREAKER_STATES[lane.breaker.state],
        succeeded_count=lane.counters.succeeded,
        failed_count=lane.counters.failed,
        in_flight=lane.counters.in_flight,
        description=lane.description,
        waiting=lane.slots.waiting,
        health_message=lane.health_message,
        retried_count=lane.counters.retries,
    )

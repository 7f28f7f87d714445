"""What ListTargets shows of a target; never a secret."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from onex.v1 import effect_pb2
from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.subscribing import KIND, Listed
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import to_struct

log = structlog.get_logger(__name__)

_BREAKER_STATES: Mapping[BreakerState, effect_pb2.BreakerState] = {
    BreakerState.CLOSED: effect_pb2.BREAKER_STATE_CLOSED,
    BreakerState.OPEN: effect_pb2.BREAKER_STATE_OPEN,
    BreakerState.HALF_OPEN: effect_pb2.BREAKER_STATE_HALF_OPEN,
}


def listed(lane: Lane) -> effect_pb2.Target:
    """A target with its health, its breaker and its counters."""
    target = effect_pb2.Target(
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
        compensated_by=lane.compensated_by,
    )
    if lane.parameters_schema is not None:
        try:
            target.parameters_schema.CopyFrom(to_struct(lane.parameters_schema))
        except ValidationError as error:
            # Such as a bound beyond 2^53: the model checks it, the listing goes without.
            log.info("a schema cannot be listed", target=lane.name, why=error.message)
    return target


def listed_subscription(row: Listed) -> effect_pb2.Target:
    """A subscription with its health and what became of its messages."""
    return effect_pb2.Target(
        name=row.name,
        kind=KIND,
        healthy=not row.trouble,
        health_message=row.trouble,
        succeeded_count=row.tally.completed + row.tally.replayed + row.tally.passed_over,
        failed_count=row.tally.dead,
        retried_count=row.tally.returned,
        in_flight=row.in_flight,
        description="\n".join(line for line in (row.description, row.summary) if line),
    )

"""Metrics of each target, read from the lanes when the page is: a target that is gone leaves no series behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.counters import OUTCOMES
from onex_mesh.effect.core.lane import Lane

TARGETS_MAX = 500
"""Targets that are told apart; the others are summed up. Operators declare fewer."""
OTHER = "OTHER"

_BREAKER_VALUES: Mapping[BreakerState, int] = {
    BreakerState.CLOSED: 0,
    BreakerState.HALF_OPEN: 1,
    BreakerState.OPEN: 2,
}


class TargetMetrics(Collector):
    """See the module. Read from another thread than the lanes' own, which only ever sees a number too old.

    Args:
        lanes: The declared targets; the mapping may change.
        app_lanes: The effects of the application.
    """

    def __init__(self, lanes: Mapping[str, Lane], app_lanes: Mapping[str, Lane]) -> None:
        self._lanes = lanes
        self._app_lanes = app_lanes

    def describe(self) -> Iterable[Metric]:
        """The metrics without their values."""
        return _Page().metrics()

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        page = _Page()
        lanes = [*list(self._lanes.values()), *self._app_lanes.values()]
        for index, lane in enumerate(lanes):
            page.add(lane, lane.name if index < TARGETS_MAX else OTHER)
        return page.metrics()


class _Page:
    """The metrics of one reading."""

    def __init__(self) -> None:
        self._ended: dict[tuple[str, str], int] = {}
        self._sums: dict[str, dict[str, float]] = {name: {} for name in ("retries", "in_flight", "waiting")}
        self._states: dict[str, int] = {}
        self._health: dict[str, int] = {}

    def add(self, lane: Lane, name: str) -> None:
        """Counts a target under a name; several under one name are summed up, and the worst of their states stands."""
        for outcome in OUTCOMES:
            self._ended[name, outcome] = self._ended.get((name, outcome), 0) + lane.counters.ended[outcome]
        for metric, value in (
            ("retries", lane.counters.retries),
            ("in_flight", lane.counters.in_flight),
            ("waiting", lane.slots.waiting),
        ):
            self._sums[metric][name] = self._sums[metric].get(name, 0) + value
        self._states[name] = max(self._states.get(name, 0), _BREAKER_VALUES[lane.breaker.state])
        self._health[name] = min(self._health.get(name, 1), int(lane.healthy))

    def metrics(self) -> Iterable[Metric]:
        """What was counted, in Prometheus' form."""
        effects = CounterMetricFamily("effect_target_effects", "Effects by outcome.", labels=("target", "outcome"))
        for (target, outcome), count in self._ended.items():
            effects.add_metric((target, outcome), count)
        retries = CounterMetricFamily("effect_target_retries", "Attempts beyond the first.", labels=("target",))
        gauges = [
            _gauge("effect_target_in_flight", "Calls under way.", self._sums["in_flight"]),
            _gauge("effect_target_waiting", "Calls that wait for their turn.", self._sums["waiting"]),
            _gauge("effect_target_breaker_state", "0: closed, 1: half-open, 2: open.", self._states),
            _gauge("effect_target_healthy", "1 if the last check succeeded, else 0.", self._health),
        ]
        for target, retried in self._sums["retries"].items():
            retries.add_metric((target,), retried)
        return [effects, retries, *gauges]


def _gauge(name: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=("target",))
    for target, value in values.items():
        family.add_metric((target,), value)
    return family

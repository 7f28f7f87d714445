"""Metrics of one process, in Prometheus' format. Correlation ids are never labels: they belong in logs (F34)."""

from __future__ import annotations

import time
from collections import deque

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from onex.v1 import common_pb2

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WINDOW_S = 60.0

SERIES_MAX = 500
"""Pairs of operation and error type that are told apart. Applications have reasons of their own, hopefully few."""
OTHER = "OTHER"
CANCELLED = "CANCELLED"
"""Error type of an operation that its caller gave up."""


class Metrics:
    """What one node counts (R155)."""

    def __init__(self, node_kind: common_pb2.NodeKind) -> None:
        self.registry = CollectorRegistry()
        self._node_type = common_pb2.NodeKind.Name(node_kind).removeprefix("NODE_KIND_").lower()
        self._execution_time = Histogram(
            "node_execution_time",
            "Seconds that an operation took.",
            ("node_type", "operation", "status", "error_type"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        # Read when the page is, not set with each call.
        Gauge("node_in_flight", "Calls under way.", ("node_type",), registry=self.registry).labels(
            self._node_type
        ).set_function(lambda: self.in_flight)
        Gauge("node_actions_under_way", "Actions under way.", ("node_type",), registry=self.registry).labels(
            self._node_type
        ).set_function(lambda: self.actions_under_way)
        self._refused = Counter(
            "node_refused", "Calls refused because of a bound.", ("node_type",), registry=self.registry
        ).labels(self._node_type)
        self._children: dict[tuple[str, str], Histogram] = {}
        self._window: deque[tuple[int, int, int]] = deque()
        self.in_flight = 0
        """Calls under way, endless streams aside."""
        self.actions_under_way = 0

    def observe(self, operation: str, seconds: float, error_type: str = "") -> None:
        """Counts one operation.

        Args:
            operation: Name of the method, or "action".
            seconds: How long it took, on a monotonic clock.
            error_type: Reason of its error; empty for a success.
        """
        child = self._children.get((operation, error_type))
        if child is None:
            child = self._new_child(operation, error_type)
        child.observe(seconds)
        # Whoever asked went away or thought better of it: the node has not failed.
        if error_type != CANCELLED:
            self._count(failed=bool(error_type))

    def _new_child(self, operation: str, error_type: str) -> Histogram:
        status = "cancelled" if error_type == CANCELLED else "error" if error_type else "success"
        if len(self._children) >= SERIES_MAX:
            return self._execution_time.labels(self._node_type, operation, status, error_type and OTHER)
        child = self._execution_time.labels(self._node_type, operation, status, error_type)
        self._children[operation, error_type] = child
        return child

    def entered(self) -> None:
        """A call began."""
        self.in_flight += 1

    def left(self) -> None:
        """A call ended."""
        self.in_flight -= 1

    def refused(self) -> None:
        """A call was refused because of a bound."""
        self._refused.inc()

    def error_rate(self) -> float:
        """Failed operations divided by all, over the last minute; 0 for none."""
        oldest = int(time.monotonic() - _WINDOW_S)
        total = failed = 0
        for second, count, errors in self._window:
            if second >= oldest:
                total += count
                failed += errors
        return failed / total if total else 0.0

    def _count(self, *, failed: bool) -> None:
        second = int(time.monotonic())
        if self._window and self._window[-1][0] == second:
            _, count, errors = self._window[-1]
            self._window[-1] = (second, count + 1, errors + failed)
        else:
            self._window.append((second, 1, int(failed)))
            while self._window[0][0] < second - _WINDOW_S:
                self._window.popleft()

"""Metrics and the health that is told from them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from prometheus_client import generate_latest

from onex.v1 import common_pb2, node_pb2
from onex_mesh.runtime import health, metrics
from onex_mesh.runtime.health import HealthReport
from onex_mesh.runtime.metrics import Metrics

HEALTHY = node_pb2.HEALTH_STATUS_HEALTHY
DEGRADED = node_pb2.HEALTH_STATUS_DEGRADED
UNHEALTHY = node_pb2.HEALTH_STATUS_UNHEALTHY


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(metrics.time, "monotonic", lambda: self.now)


def page(counted: Metrics) -> str:
    """What Prometheus reads."""
    return generate_latest(counted.registry).decode()


def checks(*rows: node_pb2.DependencyHealth) -> Callable[[], Awaitable[Sequence[node_pb2.DependencyHealth]]]:
    """A check that finds these."""

    async def check() -> Sequence[node_pb2.DependencyHealth]:
        return rows

    return check


def test_every_operation_is_counted_with_its_labels() -> None:
    """R155, F34: node_execution_time has node_type, status and error_type, and never a correlation id."""
    counted = Metrics(common_pb2.NODE_KIND_COMPUTE)
    counted.observe("ExecuteCompute", 0.2)
    counted.observe("ExecuteCompute", 0.3, "VALIDATION_FAILED")
    counted.observe("action", 0.1, "CANCELLED")
    text = page(counted)
    row = 'node_execution_time_count{{error_type="{}",node_type="compute",operation="{}",status="{}"}} 1.0'
    assert row.format("", "ExecuteCompute", "success") in text
    assert row.format("VALIDATION_FAILED", "ExecuteCompute", "error") in text
    assert row.format("CANCELLED", "action", "cancelled") in text
    assert "correlation" not in text


def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """R155: an application that makes reasons up as it goes does not fill the memory of the node and of Prometheus."""
    monkeypatch.setattr(metrics, "SERIES_MAX", 3)
    counted = Metrics(common_pb2.NODE_KIND_EFFECT)
    for number in range(10):
        counted.observe("action", 0.1, f"REASON_{number}")
    text = page(counted)
    assert text.count("node_execution_time_count{") == 4
    assert 'error_type="OTHER",node_type="effect",operation="action",status="error"} 7.0' in text
    assert counted.error_rate() == 1.0


def test_what_is_under_way_is_on_the_page() -> None:
    """R115, R155: calls and actions under way and refusals are told."""
    counted = Metrics(common_pb2.NODE_KIND_EFFECT)
    counted.entered()
    counted.entered()
    counted.left()
    counted.actions_under_way = 7
    counted.refused()
    text = page(counted)
    assert 'node_in_flight{node_type="effect"} 1.0' in text
    assert 'node_actions_under_way{node_type="effect"} 7.0' in text
    assert 'node_refused_total{node_type="effect"} 1.0' in text


def test_the_error_rate_is_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """R156: failed by all over 60 s; older ones do not count, none is 0, and a cancelled one is no failure."""
    clock = Clock(monkeypatch)
    counted = Metrics(common_pb2.NODE_KIND_COMPUTE)
    assert counted.error_rate() == 0.0
    counted.observe("a", 0.1, "INTERNAL")
    clock.now += 30
    counted.observe("a", 0.1)
    counted.observe("a", 0.1, "CANCELLED")
    assert counted.error_rate() == 0.5
    clock.now += 31
    assert counted.error_rate() == 0.0
    clock.now += 60
    counted.observe("a", 0.1, "INTERNAL")
    assert counted.error_rate() == 1.0


async def test_healthy_needs_all_three() -> None:
    """R156, R158: dependencies there, usage below 0.9, error rate below 0.1; the details say so."""
    counted = Metrics(common_pb2.NODE_KIND_COMPUTE)
    row = node_pb2.DependencyHealth(name="etcd", healthy=True)
    for _ in range(91):
        counted.observe("a", 0.1)
    for _ in range(9):
        counted.observe("a", 0.1, "INTERNAL")
    counted.in_flight = 8
    told = await HealthReport(counted, 10, checks(row)).read()
    assert told.status == HEALTHY
    assert list(told.dependencies) == [row]
    assert told.error_rate == pytest.approx(0.09)
    assert 0.8 <= told.resource_usage < 0.9
    assert list(told.reasons) == []


@pytest.mark.parametrize(
    ("calls", "actions", "failures", "healthy", "reason"),
    [
        (9, 0, 0, True, "resource usage is 0.90"),
        (0, 9, 0, True, "resource usage is 0.90"),
        (0, 0, 1, True, "error rate is 0.10"),
        (0, 0, 0, False, "db: away"),
    ],
)
async def test_each_of_them_degrades(calls: int, actions: int, failures: int, healthy: bool, reason: str) -> None:
    """R157: at the bound already, the node is DEGRADED and says why."""
    counted = Metrics(common_pb2.NODE_KIND_COMPUTE)
    for index in range(10):
        counted.observe("a", 0.1, "INTERNAL" if index < failures else "")
    counted.in_flight, counted.actions_under_way = calls, actions
    row = node_pb2.DependencyHealth(name="db", healthy=healthy, message="" if healthy else "away")
    told = await HealthReport(counted, 10, checks(row)).read()
    assert told.status == DEGRADED
    assert list(told.reasons) == [reason]


async def test_a_check_that_fails_makes_unhealthy_and_tells_no_secrets() -> None:
    """R157: a failing check is UNHEALTHY; the text of its exception stays inside."""

    async def check() -> Sequence[node_pb2.DependencyHealth]:
        raise RuntimeError("password=hunter2")

    told = await HealthReport(Metrics(common_pb2.NODE_KIND_COMPUTE), 10, check).read()
    assert told.status == UNHEALTHY
    assert list(told.reasons) == ["the health check failed: RuntimeError"]


async def test_a_check_that_hangs_makes_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """R157: a check that does not end counts as one that fails, and holds nobody up for long."""
    monkeypatch.setattr(health, "_CHECK_TIMEOUT_S", 0.05)

    async def check() -> Sequence[node_pb2.DependencyHealth]:
        await asyncio.Event().wait()
        return ()

    told = await HealthReport(Metrics(common_pb2.NODE_KIND_COMPUTE), 10, check).read()
    assert told.status == UNHEALTHY
    assert list(told.reasons) == ["the health check did not end within 0.05 s"]


async def test_dependencies_are_not_checked_with_every_question() -> None:
    """R156: asking often does not load what the node depends on."""
    times = 0

    async def check() -> Sequence[node_pb2.DependencyHealth]:
        nonlocal times
        times += 1
        return ()

    report = HealthReport(Metrics(common_pb2.NODE_KIND_COMPUTE), 10, check)
    await asyncio.gather(*(report.read() for _ in range(20)))
    assert times == 1

"""Health of a node: for probes by the standard protocol, and in detail (R156–R159)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil
from grpc_health.v1 import health, health_pb2

from onex.v1 import node_pb2
from onex_mesh.runtime.metrics import Metrics

USAGE_MAX = 0.9
ERROR_RATE_MAX = 0.1
_CHECK_S = 5.0
_CHECK_TIMEOUT_S = 5.0
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Probes:
    """What probes are told: "liveness" is SERVING as long as the process answers; "", "readiness" and the node's
    services are SERVING while it can take work."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._services: list[str] = ["", "readiness"]
        self.ready = False

    async def begin(self, services: Sequence[str]) -> None:
        """Names the node's services; all are NOT_SERVING but liveness."""
        self._services.extend(services)
        await self.servicer.set("liveness", _SERVING)
        await self.set_ready(False)

    async def set_ready(self, ready: bool) -> None:
        """Says whether the node can take work."""
        self.ready = ready
        for service in self._services:
            await self.servicer.set(service, _SERVING if ready else _NOT_SERVING)


class HealthReport:
    """The node's health in detail."""

    def __init__(
        self,
        metrics: Metrics,
        calls_max: int,
        check: Callable[[], Awaitable[Sequence[node_pb2.DependencyHealth]]],
    ) -> None:
        """A report.

        Args:
            metrics: Where errors and calls under way are counted.
            calls_max: Bound on calls under way.
            check: Checks everything that the node depends on.
        """
        self._metrics = metrics
        self._calls_max = calls_max
        self._check = check
        self._process = psutil.Process()
        self._memory_limit = _memory_limit()
        self._checked_at = float("-inf")
        self._dependencies: Sequence[node_pb2.DependencyHealth] = ()
        self._failure = ""
        self._lock = asyncio.Lock()

    async def read(self) -> node_pb2.NodeHealth:
        """The health now. Dependencies are checked at most every 5 s (R156, R157)."""
        async with self._lock:
            if time.monotonic() - self._checked_at > _CHECK_S:
                await self._check_dependencies()
        usage = self._usage()
        error_rate = self._metrics.error_rate()
        reasons = [f"{row.name}: {row.message}" for row in self._dependencies if not row.healthy]
        if usage >= USAGE_MAX:
            reasons.append(f"resource usage is {usage:.2f}")
        if error_rate >= ERROR_RATE_MAX:
            reasons.append(f"error rate is {error_rate:.2f}")
        status = node_pb2.HEALTH_STATUS_DEGRADED if reasons else node_pb2.HEALTH_STATUS_HEALTHY
        if self._failure:
            status = node_pb2.HEALTH_STATUS_UNHEALTHY
            reasons.insert(0, self._failure)
        return node_pb2.NodeHealth(
            status=status,
            dependencies=self._dependencies,
            resource_usage=usage,
            error_rate=error_rate,
            reasons=reasons,
        )

    async def _check_dependencies(self) -> None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                self._dependencies = await self._check()
            self._failure = ""
        except TimeoutError:
            self._failure = f"the health check did not end within {_CHECK_TIMEOUT_S:g} s"
        except Exception as error:  # noqa: BLE001  # a check that fails is a finding, not a crash (R157)
            self._failure = f"the health check failed: {type(error).__name__}"
        self._checked_at = time.monotonic()

    def _usage(self) -> float:
        memory = self._process.memory_info().rss / self._memory_limit
        under_way = max(self._metrics.in_flight, self._metrics.actions_under_way)
        return min(max(memory, under_way / self._calls_max), 1.0)


def _memory_limit() -> int:
    """Bytes that the process may use: the container's limit, or all memory."""
    total = int(psutil.virtual_memory().total)
    try:
        text = _CGROUP_LIMIT.read_text().strip()
    except OSError:
        return total
    return min(int(text), total) if text.isdigit() else total

"""What was measured of one system with one workflow at one level, over one window or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load import LoadResult
from bench.processes import CpuSample


@dataclass(frozen=True, slots=True)
class Measurement:
    """The windows of one cell of the table, added up.

    Attributes:
        system: "mesh" or "restate".
        workflow: Name of the workflow.
        in_flight: Workflows under way at any moment.
        window_s: Length of all windows, in seconds.
        latencies_s: One for each workflow that ended in a window, in seconds, sorted.
        commits: Durable writes that those workflows waited for.
        failures: Workflows that failed.
        first_failure: What the first of them said.
        cpu_s: Processor seconds within the windows, by process.
        others_cpu_s: Processor seconds that everything else on the machine took meanwhile.
    """

    system: str
    workflow: str
    in_flight: int
    window_s: float
    latencies_s: Sequence[float]
    commits: int
    failures: int
    first_failure: str
    cpu_s: Mapping[str, float]
    others_cpu_s: float

    @property
    def workflows(self) -> int:
        """How many ended."""
        return len(self.latencies_s)

    @property
    def per_s(self) -> float:
        """Workflows per second."""
        return self.workflows / self.window_s if self.window_s else 0.0

    @property
    def commits_per_workflow(self) -> float:
        """Commits of a workflow, on average."""
        return self.commits / self.workflows if self.workflows else 0.0

    def percentile_ms(self, percent: float) -> float:
        """Time that so many percent of the workflows did not exceed, by nearest rank, in ms; NaN without any."""
        if not self.latencies_s:
            return float("nan")
        rank = max(1, -int(-percent * self.workflows // 100))
        return self.latencies_s[rank - 1] * 1e3

    def cpu_per_1000(self) -> dict[str, float]:
        """Processor seconds per 1,000 workflows, by process."""
        return {role: seconds / self.workflows * 1000 for role, seconds in self.cpu_s.items() if self.workflows}

    @property
    def others_busy(self) -> float:
        """Processors that everything else on the machine kept busy, 1.0 for one of them."""
        return self.others_cpu_s / self.window_s if self.window_s else 0.0

    def plus(self, other: Measurement) -> Measurement:
        """Both together; they must be of the same cell."""
        assert (self.system, self.workflow, self.in_flight) == (other.system, other.workflow, other.in_flight)
        return Measurement(
            system=self.system,
            workflow=self.workflow,
            in_flight=self.in_flight,
            window_s=self.window_s + other.window_s,
            latencies_s=sorted([*self.latencies_s, *other.latencies_s]),
            commits=self.commits + other.commits,
            failures=self.failures + other.failures,
            first_failure=self.first_failure or other.first_failure,
            cpu_s={role: seconds + other.cpu_s[role] for role, seconds in self.cpu_s.items()},
            others_cpu_s=self.others_cpu_s + other.others_cpu_s,
        )

    def as_json(self) -> dict[str, object]:
        """Plain data, without the single latencies."""
        return {
            "system": self.system,
            "workflow": self.workflow,
            "in_flight": self.in_flight,
            "window_s": round(self.window_s, 3),
            "workflows": self.workflows,
            "workflows_per_s": round(self.per_s, 2),
            "p50_ms": _finite(self.percentile_ms(50)),
            "p99_ms": _finite(self.percentile_ms(99)),
            "commits_per_workflow": round(self.commits_per_workflow, 3),
            "cpu_s_per_1000_workflows": {role: round(seconds, 3) for role, seconds in self.cpu_per_1000().items()},
            "others_busy": round(self.others_busy, 3),
            "failures": self.failures,
            "first_failure": self.first_failure,
        }


def _finite(value_ms: float) -> float | None:
    # JSON has no NaN.
    return None if value_ms != value_ms else round(value_ms, 3)


def measurement(
    system: str, workflow: str, in_flight: int, load: LoadResult, before: CpuSample, after: CpuSample
) -> Measurement:
    """What one window saw, with the processor time between its ends."""
    cpu_s = {role: after.roles[role] - seconds for role, seconds in before.roles.items()}
    return Measurement(
        system=system,
        workflow=workflow,
        in_flight=in_flight,
        window_s=load.window_s,
        latencies_s=sorted(load.latencies_s),
        commits=load.commits,
        failures=load.failures,
        first_failure=load.first_failure,
        cpu_s=cpu_s,
        others_cpu_s=max(0.0, after.busy - before.busy - sum(cpu_s.values())),
    )

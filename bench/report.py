"""The table, the ratios against the peer, and the JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.measurement import Measurement

# What issue 2 set for `journalled`: level, column, comparison, value.
_THROUGHPUT_TARGET = (64, 4.0)
_LATENCY_TARGET = (1, 0.6)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours against the peer's, at one level.

    Attributes:
        workflow: Our workflow; the peer always runs its one.
        in_flight: The level.
        throughput: Our workflows/s divided by the peer's; more is better.
        p50: Our p50 divided by the peer's; less is better.
    """

    workflow: str
    in_flight: int
    throughput: float
    p50: float

    @property
    def target(self) -> str:
        """What was to be reached here, and whether it was; empty where nothing was set."""
        if self.workflow != "journalled":
            return ""
        level, least = _THROUGHPUT_TARGET
        if self.in_flight == level:
            return f"throughput ≥ {least:g}x: {'reached' if self.throughput >= least else 'missed'}"
        level, most = _LATENCY_TARGET
        if self.in_flight == level:
            return f"p50 ≤ {most:g}x: {'reached' if self.p50 <= most else 'missed'}"
        return ""

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "workflow": self.workflow,
            "in_flight": self.in_flight,
            "throughput": round(self.throughput, 3),
            "p50": round(self.p50, 3),
            "target": self.target,
        }


def ratios(measurements: Sequence[Measurement]) -> Iterator[Ratio]:
    """A ratio for each of ours whose level the peer was measured at too."""
    peers = {row.in_flight: row for row in measurements if row.system == "restate" and row.workflows}
    for row in measurements:
        peer = peers.get(row.in_flight)
        if row.system == "mesh" and row.workflows and peer is not None:
            yield Ratio(
                workflow=row.workflow,
                in_flight=row.in_flight,
                throughput=row.per_s / peer.per_s,
                p50=row.percentile_ms(50) / peer.percentile_ms(50),
            )


def print_report(measurements: Sequence[Measurement], console: Console) -> None:
    """Prints the table, and the ratios where there is a peer to compare with."""
    table = Table(title="Workflows of five steps", title_justify="left")
    table.add_column("system")
    table.add_column("workflow")
    for name in ("in flight", "workflows/s", "p50 ms", "p99 ms", "commits", "others busy"):
        table.add_column(name, justify="right")
    table.add_column("CPU seconds per 1,000 workflows")
    for row in measurements:
        table.add_row(
            row.system,
            row.workflow,
            str(row.in_flight),
            f"{row.per_s:,.0f}",
            f"{row.percentile_ms(50):,.1f}",
            f"{row.percentile_ms(99):,.1f}",
            f"{row.commits_per_workflow:.1f}",
            f"{row.others_busy:.2f}",
            "  ".join(f"{role} {seconds:.2f}" for role, seconds in row.cpu_per_1000().items()),
        )
    console.print(table)
    _print_ratios(list(ratios(measurements)), console)
    for row in measurements:
        if row.failures:
            text = f"{row.system} {row.workflow} at {row.in_flight}: {row.failures} failed; {row.first_failure}"
            console.print(text, style="red", markup=False)


def _print_ratios(rows: Sequence[Ratio], console: Console) -> None:
    if not rows:
        return
    table = Table(title="Against Restate, measured in turn", title_justify="left")
    table.add_column("workflow")
    for name in ("in flight", "throughput", "p50"):
        table.add_column(name, justify="right")
    table.add_column("target")
    for row in rows:
        table.add_row(row.workflow, str(row.in_flight), f"{row.throughput:.2f}x", f"{row.p50:.2f}x", row.target)
    console.print(table)

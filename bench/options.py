"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.app import WORKFLOWS

LEVELS = (1, 16, 64, 256)
_DESCRIPTION = "Measures workflows of five steps on a mesh of processes, and on Restate in the same run when asked."


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured and how long; see `--help`."""

    workflows: Sequence[str]
    levels: Sequence[int]
    window_s: float
    warm_up_s: float
    count: int
    rounds: int
    restate: bool
    restate_home: Path | None
    restate_venv: Path | None
    restate_workers: int
    json_file: Path | None
    profile: str
    profile_file: Path


def parse(arguments: Sequence[str] | None) -> Options:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="bench.workflows", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--workflow", nargs="+", choices=WORKFLOWS, default=list(WORKFLOWS), help="default: all three")
    parser.add_argument(
        "--in-flight", nargs="+", type=int, default=list(LEVELS), metavar="N", help=f"default: {LEVELS}"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each window; default: 5")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each window; default: 2")
    parser.add_argument("--count", type=int, default=0, help="end a window early after so many workflows")
    parser.add_argument(
        "--rounds", type=int, default=0, help="windows per cell, in turns; default: 1, with --restate 2"
    )
    parser.add_argument("--restate", action="store_true", help="measure Restate too, in turn, and print the ratios")
    parser.add_argument("--restate-home", type=Path, help="folder with node_modules/@restatedev; $RESTATE_HOME")
    parser.add_argument("--restate-venv", type=Path, help="environment with restate-sdk, hypercorn; $RESTATE_VENV")
    parser.add_argument("--restate-workers", type=int, default=1, help="processes of the Restate service; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there as well")
    parser.add_argument(
        "--profile", default="", choices=["orchestrator", "compute", "effect"], help="run py-spy on that process"
    )
    parser.add_argument(
        "--profile-file",
        type=Path,
        default=Path("profile.speedscope.json"),
        metavar="FILE",
        help="its name is extended by what was measured; .svg: flame graph, .txt: stacks, else speedscope",
    )
    given = parser.parse_args(arguments)
    if min(given.in_flight) < 1 or given.seconds <= 0 or given.warm_up <= 0:
        parser.error("--in-flight, --seconds and --warm-up are more than 0")
    return Options(
        workflows=given.workflow,
        levels=given.in_flight,
        window_s=given.seconds,
        warm_up_s=given.warm_up,
        count=given.count,
        rounds=given.rounds or (2 if given.restate else 1),
        restate=given.restate,
        restate_home=given.restate_home or _path_from("RESTATE_HOME"),
        restate_venv=given.restate_venv or _path_from("RESTATE_VENV"),
        restate_workers=given.restate_workers,
        json_file=given.json,
        profile=given.profile,
        profile_file=given.profile_file,
    )


def _path_from(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None

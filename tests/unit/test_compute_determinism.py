"""The same computations in processes that hash texts differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.computations import contracts

ROOT = Path(__file__).resolve().parents[2]


def test_processes_agree_whatever_their_hash_seed() -> None:
    """R3, R48: every built-in, of rows and tables, at once and in chunks: the same bytes, and the same refusals."""
    told = []
    for seed in ("0", "1", "2"):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.computations"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        told.append([line for line in ran.stdout.splitlines() if len(line.split()) == 2])
    assert len(told[0]) == len(contracts())
    assert told[0] == told[1] == told[2]
    assert len(set(told[0])) > len(told[0]) / 4

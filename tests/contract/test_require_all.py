"""ONEX_REQUIRE_ALL=1: a machine that is said to have everything must not skip a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.descriptors import ROOT

_TESTS = """
import pytest

def test_runs():
    pass

def test_lacks_a_tool():
    pytest.skip("no such tool")

@pytest.mark.skip(reason="marked")
def test_marked():
    pass

def test_lacks_what_is_optional():
    pytest.skip("optional: no sample data")

@pytest.mark.xfail(reason="known", strict=True)
def test_known_to_fail():
    assert False
"""


_WHOLE_FILE = 'import pytest\n\npytest.importorskip("no_such_module")\n'


def _run(folder: Path, source: str, *, require_all: bool) -> tuple[int, str]:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_some.py").write_text(source)
    environment = {name: value for name, value in os.environ.items() if name != "ONEX_REQUIRE_ALL"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder, folder],
        env=environment | ({"ONEX_REQUIRE_ALL": "1"} if require_all else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


def test_skips_are_skips_by_default(tmp_path: Path) -> None:
    """On a machine that lacks a tool the other tests still count."""
    code, output = _run(tmp_path, _TESTS, require_all=False)
    assert code == pytest.ExitCode.OK, output
    assert "1 passed, 3 skipped, 1 xfailed" in output


def test_a_skipped_test_fails_where_everything_is_required(tmp_path: Path) -> None:
    """In CI a missing tool is a failure that names it; what is optional stays a skip, a known failure stays known."""
    code, output = _run(tmp_path, _TESTS, require_all=True)
    assert code == pytest.ExitCode.TESTS_FAILED, output
    assert "ONEX_REQUIRE_ALL=1 and skipped: no such tool" in output
    assert "ONEX_REQUIRE_ALL=1 and skipped: marked" in output
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error" in output  # a marker skips during setup


def test_a_skipped_file_fails_where_everything_is_required(tmp_path: Path) -> None:
    """A file that is skipped as a whole, by an import that fails, counts likewise."""
    code, output = _run(tmp_path, _WHOLE_FILE, require_all=True)
    assert code == pytest.ExitCode.INTERRUPTED, output
    assert "ONEX_REQUIRE_ALL=1 and skipped: could not import 'no_such_module'" in output

"""What holds for every test.

With ONEX_REQUIRE_ALL=1 a skipped test fails: a machine that is said to have everything must not hide that it lacks
something. Only a skip whose reason begins with "optional:" stays one; it is for what is no part of the project, such
as a data set that may lie beside the checkout.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

_OPTIONAL = "optional:"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test that was skipped while it ran, or by its marker."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fails a whole file that was skipped when it was read."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("ONEX_REQUIRE_ALL") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(_OPTIONAL):
        report.outcome = "failed"
        report.longrepr = f"ONEX_REQUIRE_ALL=1 and skipped: {reason.removeprefix('Skipped: ')}"

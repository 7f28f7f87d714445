"""What holds for every test.

With ONEX_REQUIRE_ALL=1 a skipped test fails: a machine that is said to have everything must not hide that it lacks
something. Only a skip whose reason begins with "optional:" stays one; it is for what is no part of the project, such
as a data set that may lie beside the checkout.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Generator

import pytest
from hypothesis import settings

from onex_lease import EmbeddedEtcd, EtcdClient, EtcdUnavailableError, Keyspace
from onex_lease.embedded import etcd_binary

_OPTIONAL = "optional:"

# How long an example takes says something about the machine and what else it does, not about the code.
settings.register_profile("onex", deadline=None)
settings.load_profile("onex")


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


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Generator[EmbeddedEtcd, None, None]:
    """A real etcd for all tests that leave it as it is; those that kill or pause one start their own."""
    try:
        etcd_binary()
    except EtcdUnavailableError as error:
        pytest.skip(f"no etcd: {error}")
    running = asyncio.run(EmbeddedEtcd.start(data_dir=tmp_path_factory.mktemp("etcd"), fsync=False))
    yield running
    asyncio.run(running.stop())


@pytest.fixture
def keys() -> Keyspace:
    """A namespace of the test's own."""
    return Keyspace(f"test-{uuid.uuid4().hex}")


@pytest.fixture
async def client(etcd: EmbeddedEtcd) -> AsyncGenerator[EtcdClient, None]:
    """A connection to the etcd of all tests."""
    connected = await EtcdClient.connect(etcd.endpoint)
    yield connected
    await connected.close()

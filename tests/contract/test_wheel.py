"""The wheel: what people install from a registry, tried in a clean environment."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.descriptors import PROTO_FOLDER, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Every module below the packages of the wheel; one that needs an extra says which by its ImportError.
_IMPORT_ALL = """
import importlib, pkgutil, sys
import onex.v1, onex_lease, onex_mesh
for package in (onex.v1, onex_lease, onex_mesh):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            print(module.name, error.name, sep="\\t")
"""

# What the extras bring. A module that cannot be imported without an extra must miss one of these, and nothing else.
_FROM_EXTRAS = {
    *("pyarrow", "sqlalchemy", "aiosqlite", "asyncpg", "httpx", "h2", "aiosmtplib", "jinja2", "apprise", "watchfiles"),
    *("httpcore", "fsspec", "s3fs", "aiohttp", "nats", "redis", "numpy"),
}


@dataclass(frozen=True, slots=True)
class Installed:
    """A clean environment that holds the wheel and what it depends on, no extra."""

    wheel: Path
    bin: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment away from the checkout."""
        program, *arguments = command
        return subprocess.run(
            [self.bin / program, *arguments], cwd=self.bin, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built from the checkout and installed with the locked versions."""
    folder = tmp_path_factory.mktemp("wheel")
    locked = ("--constraint", ROOT / "constraints.txt")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _call(*pip, "wheel", "--no-deps", "--build-constraint", ROOT / "constraints.txt", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    _call(sys.executable, "-m", "venv", "--without-pip", folder / "clean")
    bin_folder = folder / "clean" / "bin"
    _call(*pip, "--python", bin_folder / "python", "install", *locked, wheel)
    return Installed(wheel, bin_folder)


def _call(*command: str | Path) -> None:
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"


def test_the_wheel_holds_the_packages_and_nothing_else(installed: Installed) -> None:
    """Three import roots with their type markers, the licence, and no test, example or cache."""
    with zipfile.ZipFile(installed.wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {"onex", "onex_lease", "onex_mesh"}
    for marker in ("onex/v1/py.typed", "onex_lease/py.typed", "onex_mesh/py.typed"):
        assert marker in names
    for proto in PROTO_FOLDER.glob("*.proto"):
        assert f"onex/v1/{proto.stem}_pb2.py" in names
        assert f"onex/v1/{proto.stem}_pb2.pyi" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert [name for name in names if "__pycache__" in name or "/tests/" in name or "/test_" in name] == []
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_every_module_of_the_wheel_imports(installed: Installed) -> None:
    """Without an extra, every module imports but those of an adapter that the extra is for."""
    run = installed.run("python", "-c", _IMPORT_ALL)
    assert run.returncode == 0, run.stderr
    missing = dict(line.split("\t") for line in run.stdout.splitlines())
    unexplained = {module: name for module, name in missing.items() if name.split(".")[0] not in _FROM_EXTRAS}
    assert unexplained == {}
    assert "onex_mesh.cli.main" not in missing


_AGGREGATE = """
from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import begin
from onex_mesh.runtime.errors import ValidationError

config = reducer_pb2.ReductionConfig(group_by=["k"])
for name in ("SUM", "VARIANCE", "QUANTILES", "DISTINCT", "TOP_K"):
    config.aggregates.add(name=name, method="AGGREGATION_METHOD_" + name, field="v")
config.window.kind, config.window.time_field = "WINDOW_KIND_SESSION", "v"
config.window.gap.seconds = 60
rows = [{"k": "a", "v": number} for number in range(10)]
row, = begin(config, None, None).add(rows, 0).result()
print(row["SUM"], row["DISTINCT"], row["window_end"])
try:
    begin(config, None, None).add([{"k": "a", "v": number} for number in range(2000)], 0)
except ValidationError as error:
    print(error)
"""


def test_rows_are_aggregated_without_any_extra(installed: Installed) -> None:
    """Keys, windows and sketches of JSON need neither Arrow nor NumPy; what does need an extra names it."""
    run = installed.run("python", "-c", _AGGREGATE)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "45 10 1970-01-01T00:01:09Z",
        "many distinct values need the extra: pip install 'onex-mesh[sketches]'",
    ]


def test_the_installed_command_runs(installed: Installed) -> None:
    """`onex-mesh --version` and `--help` answer without the checkout and without any extra."""
    version = installed.run("onex-mesh", "--version")
    assert version.returncode == 0, version.stderr
    assert installed.wheel.name.split("-")[1] in version.stdout
    shown = installed.run("onex-mesh", "--help")
    assert shown.returncode == 0, shown.stderr
    for command in ("dev", "serve", "run", "watch", "get", "list", "history", "nodes", "lease"):
        assert command in shown.stdout


def test_the_installed_contract_works(installed: Installed) -> None:
    """`onex.v1` is importable from the wheel and its messages serialise."""
    code = "from onex.v1 import common_pb2 as c; print(c.Payload(data=b'x').SerializeToString().hex())"
    run = installed.run("python", "-c", code)
    assert (run.stdout.strip(), run.stderr) == ("120178", "")

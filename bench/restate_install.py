"""Finds Restate's server and SDK, or fetches them into the user's cache. Neither is a dependency of onex-mesh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SERVER_PACKAGE = "@restatedev/restate-server@1.7"
SERVICE_PACKAGES = ("restate-sdk>=1.3,<2", "hypercorn>=0.18,<1", "uvloop>=0.21")
_BINARY_PATTERN = "@restatedev/restate-server-*/bin/restate-server"


class RestateMissingError(Exception):
    """Restate is not there and could not be fetched."""


@dataclass(frozen=True, slots=True)
class RestateInstall:
    """What runs the peer.

    Attributes:
        server: The binary of the server itself, not the Node.js script that starts it.
        python: The interpreter that has restate-sdk and hypercorn.
    """

    server: Path
    python: Path

    @property
    def version(self) -> str:
        """Versions of server and SDK, for the report."""
        server = _output([str(self.server), "--version"])
        script = "from importlib.metadata import version as v; print('restate-sdk', v('restate-sdk'))"
        return f"{server}, {_output([str(self.python), '-c', script])}"

    @property
    def has_uvloop(self) -> bool:
        """Whether hypercorn can run on uvloop there."""
        return (
            subprocess.run([str(self.python), "-c", "import uvloop"], capture_output=True, check=False).returncode == 0
        )


def find_restate(home: Path | None, venv: Path | None) -> RestateInstall:
    """The server from `home` and the SDK from `venv`; what is not given is fetched into the cache, once.

    Args:
        home: Folder whose node_modules has @restatedev/restate-server. None: the cache.
        venv: Virtual environment with restate-sdk and hypercorn. None: the cache.

    Raises:
        RestateMissingError: Something is missing and cannot be fetched.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onex-mesh" / "restate"
    return RestateInstall(
        server=_server(home) if home is not None else _fetched_server(cache),
        python=_python(venv) if venv is not None else _fetched_python(cache / "venv"),
    )


def _server(home: Path) -> Path:
    found = sorted((home / "node_modules").glob(_BINARY_PATTERN))
    if not found:
        raise RestateMissingError(f"{home} has no node_modules/{_BINARY_PATTERN}")
    return found[0].resolve()


def _fetched_server(cache: Path) -> Path:
    if not any((cache / "node_modules").glob(_BINARY_PATTERN)):
        npm = shutil.which("npm")
        if npm is None:
            raise RestateMissingError("npm is not on PATH; give --restate-home a folder with node_modules")
        cache.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(cache), SERVER_PACKAGE])
    return _server(cache)


def _python(venv: Path) -> Path:
    # Not resolved: behind the link is an interpreter that does not know the environment.
    python = (venv / "bin" / "python").absolute()
    if not python.exists():
        raise RestateMissingError(f"{venv} is not a virtual environment")
    return python


def _fetched_python(venv: Path) -> Path:
    made = venv / ".made"
    if not made.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", *SERVICE_PACKAGES])
        made.touch()
    return _python(venv)


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True)
    except subprocess.CalledProcessError as error:
        raise RestateMissingError(f"{' '.join(command)} ended with {error.returncode}") from error


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

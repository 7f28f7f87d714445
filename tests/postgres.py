"""A real PostgreSQL server for tests, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest


class PostgresServer:
    """A server on a free loopback port with a data folder of its own; user `shop`, database `shop`, no password."""

    def __init__(self) -> None:
        self._programs = _programs()
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="onex-postgres-"))
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        self.port = _free_port()

    @property
    def dsn(self) -> str:
        """Where it is, as a target names it."""
        return f"postgresql://shop@127.0.0.1:{self.port}/shop"

    def start(self) -> None:
        """Makes the data folder where it is missing, and starts the server."""
        data = self._folder / "data"
        if not data.exists():
            self._run("initdb", "-D", str(data), "-U", "shop", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        options = f"-p {self.port} -h 127.0.0.1 -k {self._folder} -F -c max_connections=40"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(data), "-w", "-t", "30", "-l", log, "-o", options, "start")
        self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "shop", "-d", "postgres", "-c", _CREATE)

    def restart(self) -> None:
        """Stops and starts it; connections are lost."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Stops it as a crash would; connections are lost."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Stops it and removes its data."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode and "already exists" not in done.stderr:
            raise RuntimeError(f"{program}: {done.stderr}")


_CREATE = "CREATE DATABASE shop"


def _programs() -> Path:
    """The folder of the programs: that of pg_ctl on PATH, or where Debian has them."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "psql", "postgres")):
            return folder
    pytest.skip("PostgreSQL's initdb, pg_ctl and psql are not installed")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

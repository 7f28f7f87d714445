"""The App of the effect nodes under test: effects of its own, and gates around what a node does on this machine.

A test shuts a gate in the folder that the environment names; without that variable nothing is changed. What goes over
the network is stopped by a proxy instead, see tests/proof/proxy.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pydantic
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.util import await_only

from onex_mesh.app import App
from onex_mesh.effect.adapters.files import append, journal, writing
from onex_mesh.effect.core.request import EffectContext
from tests.proof.gates import VARIABLE, Gates

RUNS_VARIABLE = "ONEX_PROOF_RUNS"
"""The environment variable that names the file of the runs of the App's own effects: a line each."""

app = App("proof", version="1.0.0", description="Effects whose nodes are killed")


class Stamp(pydantic.BaseModel):
    """What the App's effects take."""

    label: str


def _leave_line(line: str) -> None:
    with Path(os.environ[RUNS_VARIABLE]).open("a", encoding="utf-8") as runs:
        runs.write(line)


async def _stamp(point: str, label: str, key: str) -> dict[str, str]:
    gates = Gates(Path(os.environ[VARIABLE]))
    await gates.pass_by(f"{point}-before", label)
    _leave_line(f"{label} {key}\n")
    await gates.pass_by(f"{point}-done", label)
    return {"label": label}


@app.effect("stamp", timeout_s=60)
async def stamp(parameters: Stamp, context: EffectContext) -> dict[str, str]:
    """Leaves a line."""
    return await _stamp("stamp", parameters.label, context.idempotency_key)


@app.effect("stamp_recorded", ledger=True, timeout_s=60)
async def stamp_recorded(parameters: Stamp, context: EffectContext) -> dict[str, str]:
    """Leaves a line, under the ledger."""
    return await _stamp("stamp_recorded", parameters.label, context.idempotency_key)


def _path(descriptor: int | None) -> str:
    return "" if descriptor is None else str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _gate_files(gates: Gates) -> None:
    """Files: when a folder of a name is opened, within the write of data, before and after a new name is given."""
    real_open, real_rename = os.open, os.rename
    real_write, real_exclusively = writing.write_all, writing.rename_exclusively

    def open_file(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        gates.pass_through("file-open", str(path))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def rename(old: str, new: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        place = f"{_path(dst_dir_fd)}/{new}"
        gates.pass_through("file-rename", place)
        real_rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        gates.pass_through("file-renamed", place)

    def rename_exclusively(old: str, folder: int, new: str, new_folder: int) -> None:
        place = f"{_path(new_folder)}/{new}"
        gates.pass_through("file-rename", place)
        assert real_exclusively is not None
        real_exclusively(old, folder, new, new_folder)
        gates.pass_through("file-renamed", place)

    def write_all(descriptor: int, content: bytes) -> None:
        place = _path(descriptor)
        if gates.shut_gate("file-torn", place) is not None:
            real_write(descriptor, content[: len(content) // 2])
            gates.pass_through("file-torn", place)
            content = content[len(content) // 2 :]
        real_write(descriptor, content)

    os.open = open_file
    os.rename = rename
    if real_exclusively is not None:
        writing.rename_exclusively = rename_exclusively
    for module in (append, journal, writing):
        module.write_all = write_all  # type: ignore[attr-defined]  # imported there


def _gate_sqlite(gates: Gates) -> None:
    """SQLite: before a statement with a text among its values, and before a commit."""

    def before_statement(
        connection: Connection, cursor: object, statement: str, parameters: object, context: object, many: bool
    ) -> None:
        if connection.dialect.name == "sqlite":
            await_only(gates.pass_by("sqlite-statement", str(parameters)))

    def before_commit(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            await_only(gates.pass_by("sqlite-commit", "commit"))

    sa.event.listen(Engine, "before_cursor_execute", before_statement)
    sa.event.listen(Engine, "commit", before_commit)


if folder := os.environ.get(VARIABLE):
    _gate_files(Gates(Path(folder)))
    _gate_sqlite(Gates(Path(folder)))

"""`onex-mesh reducer replay`: recorded actions through the present code, the check before a deploy."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.app import load_app
from onex_mesh.app.contract_form import fill_fields
from onex_mesh.cli import exit_codes
from onex_mesh.cli.address import MeshAddress
from onex_mesh.cli.client import MeshClient
from onex_mesh.cli.console import notes
from onex_mesh.cli.options import (
    READY_FILE_DEFAULT,
    AddressOption,
    EtcdOption,
    NamespaceOption,
    ReadyFileOption,
    StoreOption,
    TimeoutOption,
    mesh_address,
)
from onex_mesh.cli.serve_command import AppDirOption, AppOption
from onex_mesh.cli.shield import run_async, shielded
from onex_mesh.cli.workflow_commands import whole_history
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.runtime.document import read_document
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.violations import Violations
from onex_mesh.testing.replay import Replayed
from onex_mesh.testing.replay import replay as replayed_history


@shielded
def replay(
    workflow_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Workflows to ask the mesh for.")
    ] = None,
    histories: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            metavar="PATH",
            help="Output of `onex-mesh history ID --output json`: a file, a folder of such, or a pattern; repeatable.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Also write everything into a file, as JSON.")
    ] = None,
    app: AppOption = "",
    app_dir: AppDirOption = Path(),
    store: StoreOption = "",
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> int:
    """Run recorded actions through the present reducers, and show what comes out otherwise.

    The check before a deploy; nothing is executed. A line of JSON a difference goes to stdout. Ends with 0 where all is
    the same, with 1 where a state or an intent differs, or an action is refused now or no longer, and with 2 where a
    history cannot be read; the others are replayed all the same. Where inputs or states lie in the payload store, it
    has to be named.

    Examples:

        onex-mesh history order-1001 --output json > histories/order-1001.json

        onex-mesh reducer replay --history histories --app shop.orders:app --report replay.json

        onex-mesh reducer replay --history 'histories/order-*.json' --app shop.orders:app

        onex-mesh reducer replay order-1001 order-1002 --app shop.orders:app --address localhost:50054
    """
    if not app:
        raise ValidationError("give the App whose reducers are tried: --app MODULE:NAME")
    if not workflow_ids and not histories:
        raise ValidationError("give workflow ids, or --history PATH")
    reducers = load_app(app, directory=app_dir).reducers
    payloads = Payloads(FsspecPayloads(store) if store else None)
    rows = [_from_file(path, reducers, payloads) for path in _files(histories or [])]
    if workflow_ids:
        where = mesh_address(address, etcd, namespace, ready_file)
        for each, commits in run_async(_fetched(where, workflow_ids, timeout_s)):
            rows.append(_replayed(each, commits, reducers, payloads))
    for row in rows:
        for difference in row.differences:
            typer.echo(json.dumps(difference, ensure_ascii=False))
        if row.error:
            notes().print(f"error: {row.error}", highlight=False, style="red")
    if report is not None:
        _write_report(report, rows)
    notes().print(_summary(rows), highlight=False)
    if any(row.error for row in rows):
        return exit_codes.USAGE
    return exit_codes.WORKFLOW_FAILED if any(row.differences for row in rows) else exit_codes.OK


@dataclass(frozen=True, slots=True)
class _Row:
    """What one history came to."""

    source: str
    workflow_id: str = ""
    transitions: int = 0
    differences: list[dict[str, Json]] = field(default_factory=list)
    error: str = ""


def _files(given: list[str]) -> Iterator[Path]:
    """The files that are meant, each once, in the order given and then by name."""
    seen: set[Path] = set()
    for text in given:
        path = Path(text)
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not path.exists() and glob.has_magic(text):
            found = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207 - it may begin with a folder
        if not found:
            raise ValidationError(f"{text}: no history is there: {'no *.json' if path.is_dir() else 'nothing fits'}")
        for each in found:
            if each not in seen:
                seen.add(each)
                yield each


def _from_file(path: Path, reducers: ReducerRegistry, payloads: Payloads) -> _Row:
    try:
        commits = _history_file(path)
    except ValidationError as error:
        return _Row(str(path), error=error.message)
    return _replayed(str(path), commits, reducers, payloads)


def _replayed(source: str, commits: list[workflow_pb2.Commit], reducers: ReducerRegistry, payloads: Payloads) -> _Row:
    try:
        found: Replayed = run_async(replayed_history(commits, reducers, payloads))
    except ValidationError as error:
        return _Row(source, error=f"{source}: {error.message}")
    rows: list[dict[str, Json]] = []
    for difference in found.differences:
        told: dict[str, Json] = asdict(difference)
        rows.append(told)
    return _Row(source, found.workflow_id, found.transitions, rows)


def _history_file(path: Path) -> list[workflow_pb2.Commit]:
    document = read_document(path)
    violations = Violations()
    history = orchestrator_pb2.GetHistoryResponse()
    if isinstance(document.value, dict):
        fill_fields(history, document.value, "", violations)
    else:
        violations.add("", "is not what `onex-mesh history ID --output json` writes")
    if violations.found:
        raise document.refused(tuple(violations.found))
    return list(history.commits)


async def _fetched(
    where: MeshAddress, workflow_ids: list[str], timeout_s: float
) -> list[tuple[str, list[workflow_pb2.Commit]]]:
    async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
        return [(each, (await whole_history(client, each))[0]) for each in workflow_ids]


def _summary(rows: list[_Row]) -> str:
    differences = sum(len(row.differences) for row in rows)
    text = f"{len(rows)} workflows, {sum(row.transitions for row in rows)} transitions, {differences} differences"
    differing, failed = sum(bool(row.differences) for row in rows), sum(bool(row.error) for row in rows)
    if differing:
        text += f" in {differing} of them"
    return f"{text}; {failed} cannot be read" if failed else text


def _write_report(path: Path, rows: list[_Row]) -> None:
    document = {"summary": _summary(rows), "workflows": [asdict(row) for row in rows]}
    try:
        path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ValidationError(f"{path}: cannot be written: {error.strerror or error}") from error

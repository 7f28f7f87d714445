"""The commands about reducers of an App; no mesh is needed."""

from __future__ import annotations

import enum
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import typer

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.app import load_app
from onex_mesh.app.contract_form import fill_fields
from onex_mesh.cli import exit_codes
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
from onex_mesh.reducer.core.analysis import analysed
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.graph import graphviz, mermaid
from onex_mesh.runtime.document import read_document
from onex_mesh.runtime.errors import OnexError, ValidationError
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.violations import Violations
from onex_mesh.testing.machine import machine_of
from onex_mesh.testing.replay import replay as replayed_history
from onex_mesh.testing.scenario import NOW, Given, Then, given, intent_document

NameArgument = Annotated[
    str, typer.Argument(metavar="[NAME]", help="The state machine. Default: the only one that there is.")
]
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="A state machine in YAML, instead of one of an App.")
]
VersionOption = Annotated[str, typer.Option("--version", help="Its version. Default: the newest.")]


class GraphForm(enum.StrEnum):
    """Languages of diagrams."""

    MERMAID = "mermaid"
    GRAPHVIZ = "graphviz"


@shielded
def graph(
    name: NameArgument = "",
    app: AppOption = "",
    app_dir: AppDirOption = Path(),
    file: FileOption = None,
    version: VersionOption = "",
    form: Annotated[GraphForm, typer.Option("--format", help="Language of the diagram.")] = GraphForm.MERMAID,
) -> None:
    """Draw a state machine.

    The diagram goes to stdout. What is hardly meant (a state that is never reached, or never left) is told on stderr.

    Examples:

        onex-mesh reducer graph order --app shop.orders:app

        onex-mesh reducer graph --file order.yaml --format graphviz | dot -Tsvg > order.svg
    """
    machine = machine_named(name, app=app, app_dir=app_dir, file=file, version=version)
    typer.echo(mermaid(machine) if form is GraphForm.MERMAID else graphviz(machine), nl=False)
    for finding in analysed(machine):
        notes().print(f"note: {finding.text}", highlight=False)


@shielded
def simulate(
    name: NameArgument = "",
    action: Annotated[str, typer.Option("--action", metavar="ACTION", help="What happens.")] = "",
    payload: Annotated[str, typer.Option("--payload", metavar="JSON", help="Its payload.")] = "",
    actions: Annotated[
        Path | None,
        typer.Option("--actions", metavar="FILE", help="A list of {action, payload}, YAML or JSON, instead of one."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="State to begin with, JSON. Default: initial."),
    ] = None,
    now: Annotated[datetime | None, typer.Option("--now", help="What ctx.now is. Default: 2026-01-01.")] = None,
    app: AppOption = "",
    app_dir: AppDirOption = Path(),
    file: FileOption = None,
    version: VersionOption = "",
) -> int:
    """Show what actions would lead to: state and intents, nothing executed.

    One line of JSON an action goes to stdout. Ends with 1 where one is refused.

    Examples:

        onex-mesh reducer simulate order --app shop.orders:app --action SHIP_ORDER --state order.json

        onex-mesh reducer simulate --file order.yaml --actions actions.yaml
    """
    machine = machine_named(name, app=app, app_dir=app_dir, file=file, version=version)
    current: Given | Then = given(machine, state=None if state is None else _json_file(state))
    at = NOW if now is None else now.replace(tzinfo=now.tzinfo or UTC)
    for index, (each, value) in enumerate(_actions(action, payload, actions)):
        try:
            current = current.when(each, value, now=at, action_id=f"{index}-{each}")
        except OnexError as error:
            _write({"action": each, "refused": error.reason, "message": error.message})
            return exit_codes.WORKFLOW_FAILED
        intents: list[Json] = [cast("Json", intent_document(intent)) for intent in current.intents]
        document = cast("Json", dict(current.document))
        told: dict[str, Json] = {"action": each, "from": current.previous, "to": current.status}
        _write({**told, "state": document, "intents": intents})
    return exit_codes.OK


@shielded
def replay(
    workflow_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Workflows to ask the mesh for.")
    ] = None,
    histories: Annotated[
        list[Path] | None,
        typer.Option("--history", metavar="FILE", help="Output of `onex-mesh history ID --output json`; repeatable."),
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

    The check before a deploy: ends with 1 if a state or an intent differs, or an action is refused now. Nothing is
    executed. Where inputs or states lie in the payload store, it has to be named.

    Examples:

        onex-mesh history order-1001 --output json > order-1001.json

        onex-mesh reducer replay --history order-1001.json --app shop.orders:app

        onex-mesh reducer replay order-1001 order-1002 --app shop.orders:app --address localhost:50054
    """
    if not app:
        raise ValidationError("give the App whose reducers are tried: --app MODULE:NAME")
    if not workflow_ids and not histories:
        raise ValidationError("give workflow ids, or --history FILE")
    reducers = load_app(app, directory=app_dir).reducers
    recorded = [(str(path), _history_file(path)) for path in histories or ()]
    if workflow_ids:
        where = mesh_address(address, etcd, namespace, ready_file)

        async def fetch() -> list[tuple[str, list[workflow_pb2.Commit]]]:
            async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
                return [(each, (await whole_history(client, each))[0]) for each in workflow_ids]

        recorded += run_async(fetch())
    payloads = Payloads(FsspecPayloads(store) if store else None)
    differences = transitions = 0
    for source, commits in recorded:
        replayed = run_async(replayed_history(commits, reducers, payloads))
        transitions += replayed.transitions
        differences += len(replayed.differences)
        for found in replayed.differences:
            _write(
                {
                    "workflow_id": found.workflow_id or source,
                    "epoch": found.epoch,
                    "step_id": found.step_id,
                    "part": found.part,
                    "path": found.path,
                    "recorded": found.recorded,
                    "now": found.now,
                }
            )
    notes().print(f"{len(recorded)} workflows, {transitions} transitions, {differences} differences", highlight=False)
    return exit_codes.WORKFLOW_FAILED if differences else exit_codes.OK


def machine_named(name: str, *, app: str, app_dir: Path, file: Path | None, version: str = "") -> Fsm:
    """The state machine that a command is about.

    Raises:
        ValidationError: Neither an App nor a file is given, or both; or the App has no such machine.
    """
    if (file is None) == (not app):
        raise ValidationError("give --app MODULE:NAME or --file FILE")
    return machine_of(file if file is not None else load_app(app, directory=app_dir), name, version)


def _actions(action: str, payload: str, actions: Path | None) -> list[tuple[str, object]]:
    if (actions is None) == (not action):
        raise ValidationError("give --action NAME or --actions FILE")
    if actions is None:
        try:
            return [(action, json.loads(payload) if payload else None)]
        except ValueError as error:
            raise ValidationError(f"--payload is not JSON: {error}") from error
    if payload:
        raise ValidationError("--payload goes with --action; in a file it stands beside its action")
    document = read_document(actions)
    rows = document.value if isinstance(document.value, list) else []
    wrong = [
        (f"[{index}]", "is not {action: NAME, payload: …}")
        for index, row in enumerate(rows)
        if not isinstance(row, dict) or not isinstance(row.get("action"), str) or row.keys() - {"action", "payload"}
    ]
    if wrong or not rows:
        raise document.refused(tuple(wrong) or (("", "is no list of {action: NAME, payload: …}"),))
    return [(row["action"], row.get("payload")) for row in rows]


def _json_file(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValidationError(f"{path}: {error}") from error


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


def _write(row: dict[str, Json]) -> None:
    typer.echo(json.dumps(row, ensure_ascii=False))

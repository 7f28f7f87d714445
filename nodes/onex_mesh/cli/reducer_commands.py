"""The commands about reducers of an App; no mesh is needed."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from onex_mesh.app import load_app
from onex_mesh.cli.console import notes
from onex_mesh.cli.serve_command import AppDirOption, AppOption
from onex_mesh.cli.shield import shielded
from onex_mesh.reducer.core.analysis import analysed
from onex_mesh.reducer.core.declarative.build import read_machine
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.graph import graphviz, mermaid
from onex_mesh.runtime.errors import ValidationError

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


def machine_named(name: str, *, app: str, app_dir: Path, file: Path | None, version: str = "") -> Fsm:
    """The state machine that a command is about.

    Raises:
        ValidationError: Neither an App nor a file is given, or both; or the App has no such machine.
    """
    if (file is None) == (not app):
        raise ValidationError("give --app MODULE:NAME or --file FILE")
    if file is not None:
        return read_machine(file)
    reducers = load_app(app, directory=app_dir).reducers
    machines = sorted({reducer.name for reducer in reducers if isinstance(reducer, Fsm)})
    if not name:
        if len(machines) != 1:
            raise ValidationError(f"name one of the state machines of {app}: {', '.join(machines) or 'there are none'}")
        name = machines[0]
    reducer = reducers.get(name, version)
    if not isinstance(reducer, Fsm):
        raise ValidationError(f"{name!r} is an aggregator, not a state machine")
    return reducer

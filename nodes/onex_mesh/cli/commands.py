"""The commands of `onex-mesh`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from onex_mesh.cli.dev_command import dev
from onex_mesh.cli.mesh_commands import lease, nodes
from onex_mesh.cli.payload_commands import get as get_payload
from onex_mesh.cli.payload_commands import put as put_payload
from onex_mesh.cli.reducer_commands import graph, simulate
from onex_mesh.cli.replay_command import replay
from onex_mesh.cli.run_command import run, watch
from onex_mesh.cli.serve_command import serve
from onex_mesh.cli.state_commands import backups, forget, restore, state, states
from onex_mesh.cli.workflow_commands import get, history, list_workflows

_HELP = """Durable workflows over four kinds of gRPC node.

Write reducers, algorithms, effects and workflows as an App, then:

    onex-mesh dev --app shop.orders:app --targets targets.yaml
    onex-mesh run order --input order.json --watch

Exit codes: 0 done · 1 the workflow failed · 2 wrong usage, file or app · 3 the mesh is unavailable ·
4 the mesh refused · 70 a fault in onex-mesh · 130 interrupted.
"""

cli = typer.Typer(
    name="onex-mesh",
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onex-mesh {version('onex-mesh')}")
        raise typer.Exit


@cli.callback()
def _main(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Takes the options that stand before the command."""


_RUNNING = "Run a mesh"
_WORKFLOWS = "Run and look at workflows"
_MESH = "Look at the mesh"

cli.command(rich_help_panel=_RUNNING)(dev)
cli.command(rich_help_panel=_RUNNING)(serve)
cli.command(rich_help_panel=_WORKFLOWS)(run)
cli.command(rich_help_panel=_WORKFLOWS)(watch)
cli.command(rich_help_panel=_WORKFLOWS)(get)
cli.command("list", rich_help_panel=_WORKFLOWS)(list_workflows)
cli.command(rich_help_panel=_WORKFLOWS)(history)
cli.command(rich_help_panel=_MESH)(nodes)
cli.command(rich_help_panel=_MESH)(lease)

_payload = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
_payload.command("get")(get_payload)
_payload.command("put")(put_payload)


@_payload.callback()
def _payload_main() -> None:
    """Read and write what is too large to travel, in the payload store."""


cli.add_typer(_payload, name="payload", rich_help_panel=_WORKFLOWS)

_reducer = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
_reducer.command()(graph)
_reducer.command()(simulate)
_reducer.command()(replay)
_KEPT = "States that nodes keep"
for _command in (states, state, forget, backups, restore):
    _reducer.command(rich_help_panel=_KEPT)(_command)


@_reducer.callback()
def _reducer_main() -> None:
    """Look at the reducers of an App, without a mesh, and at the states that nodes keep."""


cli.add_typer(_reducer, name="reducer", rich_help_panel="Develop")

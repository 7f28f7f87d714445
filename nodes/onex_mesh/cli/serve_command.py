"""`onex-mesh serve`: one node in the foreground, until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import pydantic
import typer
import uvloop

from onex.v1 import node_pb2
from onex_mesh.app import App, load_app
from onex_mesh.app.nodes import build_node
from onex_mesh.app.plain_form import to_plain
from onex_mesh.cli.mesh_commands import KindFilter
from onex_mesh.cli.ready_file import write_json
from onex_mesh.cli.settings_options import with_settings
from onex_mesh.cli.shield import shielded
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.serving import serve as serve_node
from onex_mesh.runtime.settings import NodeSettings

AppOption = Annotated[
    str,
    typer.Option("--app", envvar="ONEX_APP", metavar="MODULE:NAME", help="The App, such as shop.orders:app."),
]
AppDirOption = Annotated[
    Path, typer.Option("--app-dir", envvar="ONEX_APP_DIR", metavar="DIR", help="Folder that the module is found in.")
]
TargetsOption = Annotated[
    Path | None,
    typer.Option("--targets", envvar="ONEX_TARGETS", metavar="FILE", help="Targets of the effect node, YAML."),
]


@shielded
@with_settings
def serve(
    node: Annotated[KindFilter, typer.Argument(metavar="NODE", help="effect, compute, reducer or orchestrator.")],
    settings: dict[str, object],
    app: AppOption = "",
    app_dir: AppDirOption = Path(),
    targets: TargetsOption = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", metavar="PATH", help="Written as JSON once the node serves.")
    ] = None,
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="Stop when standard input ends.", hidden=True)
    ] = False,
) -> int:
    """Serve one node until SIGTERM or Ctrl-C.

    Every setting is a flag here and an environment variable (ONEX_TTL_S for --ttl-s); a flag wins.

    Examples:

        onex-mesh serve orchestrator --app shop.orders:app --etcd 10.0.0.5:2379 --host 0.0.0.0 --advertise pod-7:50054

        onex-mesh serve effect --app shop.orders:app --targets /etc/onex/targets.yaml --port 50051
    """
    node_settings = _settings(settings)
    definitions = load_app(app, directory=app_dir) if app else App("onex-mesh")
    instance = build_node(node.value, definitions, node_settings, targets=targets)
    if exit_with_parent:
        _stop_when_input_ends()

    def ready(info: node_pb2.NodeInfo) -> None:
        if ready_file is not None:
            write_json(ready_file, to_plain(info))

    # Half as many actions again as on asyncio's own loop, measured over a Dispatch stream.
    return uvloop.run(serve_node(instance, node_settings, ready=ready))


def _settings(given: dict[str, object]) -> NodeSettings:
    try:
        return NodeSettings(**given)  # type: ignore[arg-type]  # pydantic checks them; that is what it is for
    except pydantic.ValidationError as error:
        violations = tuple(
            (f"--{'-'.join(str(part) for part in row['loc']).replace('_', '-')}", row["msg"]) for row in error.errors()
        )
        text = "\n".join(f"{flag}: {message}" for flag, message in violations)
        raise ValidationError(text, violations=violations) from error


def _stop_when_input_ends() -> None:
    """Has this process stop once its standard input ends, which it does when the process that holds it is gone."""

    def watch() -> None:
        # Not through sys.stdin: its lock, held by a thread, would break the interpreter's exit.
        while os.read(0, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()

"""Options that several commands share."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from onex_mesh.cli.address import MeshAddress
from onex_mesh.cli.ready_file import DEFAULT_PATH

_PANEL = "Where the mesh is"


class OutputForm(enum.StrEnum):
    """How results are written to stdout."""

    TABLE = "table"
    JSON = "json"


AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="ONEX_ADDRESS",
        metavar="HOST:PORT",
        help="Orchestrator; several separated by commas.",
        rich_help_panel=_PANEL,
    ),
]
EtcdOption = Annotated[
    str,
    typer.Option(
        "--etcd",
        envvar="ONEX_ETCD",
        metavar="HOST:PORT",
        help="etcd, whose registry knows the orchestrators.",
        rich_help_panel=_PANEL,
    ),
]
NamespaceOption = Annotated[
    str,
    typer.Option("--namespace", envvar="ONEX_NAMESPACE", help="Namespace of the keys in etcd.", rich_help_panel=_PANEL),
]
ReadyFileOption = Annotated[
    Path,
    typer.Option(
        "--ready-file",
        envvar="ONEX_READY_FILE",
        metavar="PATH",
        help="Ready file of a running `onex-mesh dev`; used when neither of the others is given.",
        rich_help_panel=_PANEL,
    ),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Longest time for a call.")]
OutputOption = Annotated[OutputForm, typer.Option("--output", "-o", help="What to write to stdout.")]
StoreOption = Annotated[
    str,
    typer.Option(
        "--payload-store",
        envvar="ONEX_PAYLOAD_STORE",
        metavar="URL",
        help="The payload store of the nodes: file:///folder, s3://bucket/prefix or memory://folder.",
    ),
]
WorkflowIdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the workflow.", show_default=False)]

READY_FILE_DEFAULT = DEFAULT_PATH


def mesh_address(address: str, etcd: str, namespace: str, ready_file: Path) -> MeshAddress:
    """Where the options say the mesh is."""
    return MeshAddress(address=address, etcd=etcd, namespace=namespace, ready_file=ready_file)

"""`onex-mesh payload`: what lies in the payload store, to look at and to hand over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from onex.v1 import common_pb2
from onex_mesh.app.plain_form import payload_plain
from onex_mesh.cli.options import StoreOption
from onex_mesh.cli.shield import run_async, shielded
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import BYTES_TYPE
from onex_mesh.runtime.payload_store import FsspecPayloads


@shielded
def get(
    uri: Annotated[str, typer.Argument(metavar="URI", help="Where it is, as `location.uri` of the payload tells.")],
    store: StoreOption,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where it goes. Default: stdout.")
    ] = None,
) -> None:
    """Read a payload, and check its SHA-256, with which the URI ends.

    Examples:

        onex-mesh payload get payloads/3f/3f… --payload-store file:///var/lib/onex/payloads -o result.json
    """
    location = common_pb2.PayloadLocation(uri=uri, digest=uri.rpartition("/")[2])
    content = run_async(FsspecPayloads(store).get(location))
    if file is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ValidationError(f"{file}: {error.strerror}") from error


@shielded
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to keep.")],
    store: StoreOption,
    content_type: Annotated[
        str, typer.Option("--content-type", metavar="TYPE", help="What it is, such as application/json.")
    ] = BYTES_TYPE,
) -> None:
    """Keep a file, and write the payload that stands for it: JSON, for a contract.

    Examples:

        onex-mesh payload put rows.json --content-type application/json --payload-store s3://bucket/mesh
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ValidationError(f"{file}: {error.strerror}") from error
    location = run_async(FsspecPayloads(store).put(content))
    payload = common_pb2.Payload(location=location, content_type=content_type)
    typer.echo(json.dumps(payload_plain(payload)))

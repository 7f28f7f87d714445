"""The ready file: the addresses of a running `onex-mesh dev`, as JSON, for scripts and for the other commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

DEFAULT_PATH = Path(".onex/dev.json")


@dataclass(frozen=True, slots=True)
class ReadyNode:
    """One node process."""

    kind: str
    """"effect", "compute", "reducer" or "orchestrator"."""
    address: str
    pid: int
    instance_id: str
    health_address: str
    metrics_address: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A mesh that is up."""

    pid: int
    """The process of `onex-mesh dev`."""
    etcd: str
    namespace: str
    data_dir: str
    nodes: tuple[ReadyNode, ...]

    def addresses(self, kind: str) -> tuple[str, ...]:
        """The addresses of the nodes of a kind."""
        return tuple(node.address for node in self.nodes if node.kind == kind)


def write_ready(path: Path, ready: Ready) -> None:
    """Writes the ready file of a mesh."""
    write_json(path, asdict(ready))


def write_json(path: Path, value: Json) -> None:
    """Writes a JSON file so that a reader sees all of it or nothing.

    Raises:
        ValidationError: It cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ValidationError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_ready(path: Path) -> Ready | None:
    """The mesh that a ready file tells of; None if there is no file or its process is gone.

    Raises:
        ValidationError: The file is there and is not a ready file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        ready = _ready(values)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValidationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValidationError(f"{path}: not a ready file of onex-mesh dev") from error
    return ready if _is_alive(ready.pid) else None


def _ready(values: Mapping[str, object]) -> Ready:
    nodes = values["nodes"]
    if not isinstance(nodes, Sequence):
        raise TypeError("nodes is not a list")
    return Ready(
        pid=int(str(values["pid"])),
        etcd=str(values["etcd"]),
        namespace=str(values["namespace"]),
        data_dir=str(values["data_dir"]),
        nodes=tuple(ReadyNode(**node) for node in nodes),
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Our side: an embedded etcd that syncs its writes, and one process of each node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from onex_mesh.cli.dev.mesh import MeshOptions, ProcessMesh

_ROOT = Path(__file__).resolve().parents[1]


class MeshContender:
    """A running mesh that serves bench.app; an async context manager.

    Args:
        data_dir: Where etcd's data and the logs go.
    """

    def __init__(self, data_dir: Path) -> None:
        self._mesh = ProcessMesh(
            MeshOptions(
                data_dir=data_dir,
                app="bench.app:app",
                app_dir=_ROOT,
                etcd_fsync=True,
                settings={"ONEX_LOG_LEVEL": "warning"},
            )
        )

    @property
    def system(self) -> str:
        """Its name."""
        return "mesh"

    @property
    def description(self) -> str:
        """Version of etcd and what makes it durable."""
        assert self._mesh.etcd is not None
        return f"onex-mesh: one process per node, etcd {self._mesh.etcd.version}, writes are synced"

    @property
    def address(self) -> str:
        """The orchestrator."""
        return self._mesh.of_kind("orchestrator")[0].address

    @property
    def pids(self) -> Mapping[str, int]:
        """etcd and all four nodes: one that has no step to execute follows the owners all the same."""
        assert self._mesh.etcd is not None
        assert self._mesh.etcd.pid is not None
        kinds = ("orchestrator", "compute", "effect", "reducer")
        return {"etcd": self._mesh.etcd.pid} | {kind: self._mesh.of_kind(kind)[0].child.pid for kind in kinds}

    async def __aenter__(self) -> MeshContender:
        await self._mesh.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._mesh.__aexit__(kind, error, traceback)

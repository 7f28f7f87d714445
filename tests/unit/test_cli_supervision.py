"""Keeping node processes running, without a mesh: processes that end at once, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from onex_mesh.cli.dev.child import Child, ChildFailedError
from onex_mesh.cli.dev.mesh import MeshNode, MeshOptions, ProcessMesh
from onex_mesh.cli.dev.ports import NodePorts
from onex_mesh.cli.dev.supervisor import Supervisor


def mesh_of(tmp_path: Path, *arguments: str) -> ProcessMesh:
    """A mesh of one node whose process is any `onex-mesh` command; without etcd."""
    mesh = ProcessMesh(MeshOptions(data_dir=tmp_path, counts=dict.fromkeys(("effect", "reducer", "orchestrator"), 0)))
    child = Child("compute-1", arguments, log_path=tmp_path / "one.log", ready_path=tmp_path / "one.json")
    mesh.nodes = [MeshNode("compute", 1, NodePorts(1, 2, 3), child)]
    return mesh


async def test_a_node_that_keeps_ending_is_given_up(tmp_path: Path) -> None:
    """docs/cli.md: more than five failures in a row end the command; each is reported with the last log lines."""
    mesh = mesh_of(tmp_path, "serve", "nonsense")
    said: list[tuple[str, list[str]]] = []
    await mesh.nodes[0].child.start()
    supervisor = Supervisor(mesh, lambda text, lines: said.append((text, lines)), pause_first_s=0.01)
    with pytest.raises(ExceptionGroup) as caught:
        await supervisor.run()
    error = caught.value.exceptions[0]
    assert isinstance(error, ChildFailedError)
    assert error.message == "compute-1 ended 6 times in a row; giving up"
    assert len(said) == 5
    assert said[0][0] == "compute-1 ended (exit code 2); starting it again in 0.01 s"
    assert said[1][0] == "compute-1 ended (exit code 2); starting it again in 0.02 s"
    assert any("nonsense" in line for line in said[0][1])


async def test_a_restart_that_fails_is_told_and_waits(tmp_path: Path) -> None:
    """--reload: code that does not load is reported with what the node said; nothing is given up."""
    mesh = mesh_of(tmp_path)
    said: list[tuple[str, list[str]]] = []

    async def start_nodes() -> None:
        child = mesh.nodes[0].child
        child.arguments = ("serve", "nonsense")
        await child.start()
        await child.wait_ready(30)

    cast("dict[str, object]", vars(mesh))["start_nodes"] = start_nodes
    assert await Supervisor(mesh, lambda text, lines: said.append((text, lines)), forgiving=True).restart_all() is False
    assert said[0][0] == "compute-1 ended with 2 before it served; waiting for the next change"
    assert any("nonsense" in line for line in said[0][1])

"""The file of targets while the node runs: taken over without dropping work, refused without changing anything."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import grpc
import pytest

from onex.v1 import common_pb2, effect_pb2, effect_pb2_grpc, node_pb2, node_pb2_grpc
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.effect.core import EffectRegistry
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.serving import NodeServer
from tests.doors import Doors
from tests.effect_engine import effect_contract, plain
from tests.inprocess import InProcessMesh, until
from tests.mesh import MeshProcesses

TWO = """\
targets:
  kept: {kind: door, label: kept}
  moved: {kind: door, label: before}
"""


class World:
    """A node whose file of targets the test rewrites."""

    def __init__(self, folder: Path, text: str = TWO) -> None:
        self.doors = Doors()
        self.path = folder / "targets.yaml"
        self.path.write_text(text, encoding="utf-8")
        self.node = EffectNode(EffectRegistry(), self.path, "1.0.0", kinds=self.doors.kinds)

    async def join(self, mesh: InProcessMesh) -> None:
        """Starts the node."""
        self.server: NodeServer = await mesh.add(self.node)
        channel = mesh.channel(self.server)
        self.effects = effect_pb2_grpc.EffectServiceStub(channel)
        self.nodes = node_pb2_grpc.NodeServiceStub(channel)

    async def call(self, target: str, **parameters: object) -> object:
        """One effect; what the target answered."""
        contract = effect_contract("api_call", target, "", parameters)
        return plain((await self.effects.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract))).output)

    async def refusal(self, target: str) -> str:
        """The reason for which an effect is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(target)
        return from_rpc_error(refused.value).reason

    async def listed(self) -> dict[str, effect_pb2.Target]:
        """The targets by name, as ListTargets shows them."""
        response = await self.effects.ListTargets(effect_pb2.ListTargetsRequest())
        return {target.name: target for target in response.targets}

    async def health(self) -> node_pb2.NodeHealth:
        """The node's health."""
        return (await self.nodes.GetHealth(node_pb2.GetHealthRequest())).health

    def problem(self) -> str:
        """Why the file is not in force."""
        running = self.node._running
        assert running is not None
        assert running.reloading is not None
        return running.reloading.problem


async def test_a_change_drops_nothing(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R17, R25: what did not change keeps adapter and counts; what did is opened before the old one is let go, which is
    closed after its last effect; what is new is there; a target that is gone ends what it has and takes nothing new."""
    world = World(tmp_path, f"{TWO}  gone: {{kind: door, label: gone}}\n")
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        assert await world.call("kept") == "kept"
        waiting = [asyncio.create_task(world.call(name, wait=True)) for name in ("moved", "gone")]
        kept, moved, gone = (world.doors.of(name)[0] for name in ("kept", "moved", "gone"))
        await until(lambda: moved.entered == gone.entered == 1)
        world.path.write_text(
            "targets:\n  kept: {kind: door, label: kept}\n  moved: {kind: door, label: after}\n"
            "  added: {kind: door, label: new}\n",
            encoding="utf-8",
        )
        await until(lambda: len(world.doors.of("added")) == 1 and "gone" not in world.node._file.targets)
        assert await world.call("moved") == "after"
        assert await world.call("added") == "new"
        assert await world.refusal("gone") == "TARGET_NOT_FOUND"
        targets = await world.listed()
        assert list(targets) == ["added", "kept", "moved"]
        assert (targets["moved"].in_flight, targets["moved"].succeeded_count) == (1, 1)
        assert not moved.is_closed
        assert not gone.is_closed
        moved.released.set()
        gone.released.set()
        assert await asyncio.gather(*waiting) == ["before", "gone"]
        await until(lambda: moved.is_closed and gone.is_closed)
        assert world.doors.of("kept") == [kept]
        assert not kept.is_closed
        targets = await world.listed()
        assert (targets["kept"].succeeded_count, targets["moved"].succeeded_count) == (1, 2)
        assert targets["moved"].in_flight == 0
    assert all(door.is_closed for door in world.doors.all)


async def test_the_registry_follows(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R94: the capabilities in the registry are those of the new file, so that work goes where its target is."""
    world = World(tmp_path)
    async with InProcessMesh(etcd, keys) as mesh:
        other = await mesh.add_orchestrator()
        await world.join(mesh)
        registry = node_pb2_grpc.NodeServiceStub(mesh.channel(other))

        async def become(*expected: str) -> None:
            """Waits until the orchestrator sees the node with these."""
            request = node_pb2.ListNodesRequest(kind=common_pb2.NODE_KIND_EFFECT)
            async with asyncio.timeout(10):
                while True:
                    seen = [row for node in (await registry.ListNodes(request)).nodes for row in node.capabilities]
                    if {row for row in seen if row.startswith(("target:", "effect:", "dispatch"))} == set(expected):
                        return
                    await asyncio.sleep(0.02)

        await become("target:kept", "target:moved", "effect:api_call", "dispatch")
        world.path.write_text("targets: {other: {kind: door}}\n", encoding="utf-8")
        await become("target:other", "effect:api_call", "dispatch")


async def test_a_wrong_file_changes_nothing(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18, R24, R157: a file that is wrong is refused with file and line, the targets stay, the node is DEGRADED until
    the file is right again."""
    monkeypatch.setattr("onex_mesh.runtime.health._CHECK_S", -1.0)
    world = World(tmp_path)
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        assert (await world.health()).status == node_pb2.HEALTH_STATUS_HEALTHY
        world.path.write_text("targets:\n  moved: {kind: door, label: after}\n  bad: {kind: windw}\n", encoding="utf-8")
        await until(lambda: world.problem() != "")
        assert world.problem() == f"{world.path}:3: targets.bad.kind: 'windw' is not one of door"
        assert await world.call("moved") == "before"
        assert await world.call("kept") == "kept"
        health = await world.health()
        assert health.status == node_pb2.HEALTH_STATUS_DEGRADED
        assert f"targets file: {world.problem()}" in list(health.reasons)
        world.path.write_text(TWO.replace("before", "after"), encoding="utf-8")
        await until(lambda: world.problem() == "")
        assert await world.call("moved") == "after"
        assert (await world.health()).status == node_pb2.HEALTH_STATUS_HEALTHY


async def test_a_change_while_the_node_starts(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R25: what changes between the reading of the file and the moment from which it is watched is not missed."""
    world = World(tmp_path)
    world.path.write_text(TWO.replace("before", "after"), encoding="utf-8")
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        await until(lambda: len(world.doors.of("moved")) == 2)
        assert await world.call("moved") == "after"
        assert len(world.doors.of("kept")) == 1


@pytest.mark.parametrize("text", ["targets: [", "", "targets:\n  a: {kind: door", "\udcff"], ids=repr)
async def test_half_a_file(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, text: str) -> None:
    """R25: a file that is being written, or that cannot be read, takes no target away that the whole one has."""
    world = World(tmp_path)
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        world.path.write_bytes(text.encode("utf-8", "surrogateescape"))
        world.path.write_text(TWO.replace("before", "after"), encoding="utf-8")
        await until(lambda: len(world.doors.of("moved")) == 2)
        assert await world.call("moved") == "after"
        assert len(world.doors.of("kept")) == 1


async def test_a_target_that_cannot_be_opened_stops_the_change(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace
) -> None:
    """R18, R25: where one target of a new file cannot be opened none of it counts, and what was opened is closed; the
    message has file and line. It is tried again when the file that it lacks is there."""
    world = World(tmp_path)
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        text = "targets:\n  moved: {kind: door, label: after}\n  locked: {kind: door, token_file: token.txt}\n"
        world.path.write_text(text, encoding="utf-8")
        await until(lambda: world.problem() != "")
        assert world.problem().startswith(f"{world.path}:3: targets.locked: target 'locked': ")
        assert await world.call("moved") == "before"
        assert [door.is_closed for door in world.doors.of("moved")] == [False, True]
        (tmp_path / "token.txt").write_text("t0k3n", encoding="utf-8")
        await until(lambda: world.problem() == "")
        assert (await world.call("locked"), await world.call("moved")) == (" t0k3n", "after")


async def test_a_credential_is_replaced(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R17: a target is opened anew when a file that it refers to changes, although its declaration stays the same; what
    an effect read through the former one does not answer any more."""
    (tmp_path / "token.txt").write_text("old", encoding="utf-8")
    world = World(tmp_path, "targets: {locked: {kind: door, token_file: token.txt}, kept: {kind: door}}\n")
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        contract = effect_contract("api_call", "locked", "", {"read": True})
        contract.cache.ttl.FromSeconds(600)
        request = effect_pb2.ExecuteEffectRequest(contract=contract)
        assert plain((await world.effects.ExecuteEffect(request)).output) == " old"
        # As orchestrators of containers do it: the name leads to another file at once.
        (tmp_path / "next").write_text("new", encoding="utf-8")
        (tmp_path / "next").replace(tmp_path / "token.txt")
        await until(lambda: len(world.doors.of("locked")) == 2)
        again = (await world.effects.ExecuteEffect(request)).output
        assert (plain(again), again.metadata.from_cache) == (" new", False)
        assert len(world.doors.of("kept")) == 1


async def test_the_audit_file_moves(tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R11: a new path of the audit file counts from the next record on; one that cannot be opened is refused."""
    world = World(tmp_path, f"audit: {{path: a.jsonl, log: false}}\n{TWO}")
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        await world.call("kept")
        world.path.write_text(f"audit: {{path: targets.yaml/b.jsonl}}\n{TWO}", encoding="utf-8")
        await until(lambda: "the audit file cannot be opened" in world.problem())
        world.path.write_text(f"audit: {{path: b.jsonl, log: false}}\n{TWO}", encoding="utf-8")
        await until(lambda: world.node._file.audit.path == tmp_path / "b.jsonl")
        await world.call("moved")
    written = [json.loads((tmp_path / name).read_text(encoding="utf-8"))["target"] for name in ("a.jsonl", "b.jsonl")]
    assert written == ["kept", "moved"]
    assert len(world.doors.all) == 2


async def test_changes_are_found_without_watchfiles(
    tmp_path: Path, etcd: EmbeddedEtcd, keys: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R17: where the kernel does not tell of changes the clock does; an unchanged date does not hide a change."""
    monkeypatch.setattr("onex_mesh.effect.adapters.file_watch.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("onex_mesh.effect.adapters.file_watch.POLL_S", 0.05)
    world = World(tmp_path)
    async with InProcessMesh(etcd, keys) as mesh:
        await world.join(mesh)
        before = world.path.stat()
        world.path.write_text(TWO.replace("before", "behind"), encoding="utf-8")
        os.utime(world.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        await until(lambda: len(world.doors.of("moved")) == 2)
        assert await world.call("moved") == "behind"


async def test_the_operator_asks_by_signal(tmp_path: Path) -> None:
    """R17: SIGHUP has the file read at once; the process stays, and what it does goes on."""
    path = tmp_path / "targets.yaml"
    path.write_text("targets: {a: {kind: file, root: a}}\n", encoding="utf-8")
    async with MeshProcesses(tmp_path, targets=path, orchestrators=0, computes=0, reducers=0) as mesh:
        stub = effect_pb2_grpc.EffectServiceStub(mesh.channel("effect"))

        async def targets() -> list[str]:
            return [target.name for target in (await stub.ListTargets(effect_pb2.ListTargetsRequest())).targets]

        assert await targets() == ["a"]
        (effect,) = mesh.effects
        pid = effect.pid
        path.write_text("targets: {a: {kind: file, root: a}, b: {kind: file, root: b}}\n", encoding="utf-8")
        os.kill(pid, signal.SIGHUP)
        async with asyncio.timeout(10):
            while await targets() != ["a", "b"]:  # noqa: ASYNC110  # no event to wait for
                await asyncio.sleep(0.02)
        os.kill(pid, signal.SIGHUP)
        assert await targets() == ["a", "b"]
        assert (effect.pid, effect.is_running) == (pid, True)
        assert '"added": ["b"]' in effect.log()

"""A real mesh for tests: an embedded etcd and nodes on free ports.

`MeshProcesses` runs each node as a process of `onex-mesh serve`, which tests may kill, pause and restart:

    async with MeshProcesses(tmp_path, app="examples.orders.app:app", orchestrators=2) as mesh:
        stub = OrchestratorServiceStub(mesh.channel("orchestrator"))
        mesh.orchestrators[0].kill()

Leaving the context stops everything and checks that nothing is left: no process, no listening port and no key of a
session. Where the test failed, the last log lines of each process are printed.

For nodes in the process of the test, where their parts can be looked at, there is tests/inprocess.py.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grpc
import psutil

from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace
from onex_mesh.cli.dev.mesh import KINDS, MeshNode, MeshOptions, ProcessMesh
from onex_mesh.cli.dev.ports import is_free

ROOT = Path(__file__).resolve().parents[1]

_READY_TIMEOUT_S = 60.0
_GONE_MARGIN_S = 5.0
_MESSAGE_SIZE_MAX = 64 * 1024 * 1024


class NodeProcess:
    """One node process of a mesh."""

    def __init__(self, node: MeshNode) -> None:
        self._node = node
        self.pids: list[int] = []
        """Every process id it has had."""
        self.was_killed = False
        self._paused = False

    @property
    def name(self) -> str:
        """Such as "effect-1"."""
        return self._node.name

    @property
    def address(self) -> str:
        """host:port of its services; the same after a restart."""
        return self._node.address

    @property
    def health_address(self) -> str:
        """host:port of its plaintext health service."""
        return f"127.0.0.1:{self._node.ports.health}"

    @property
    def metrics_address(self) -> str:
        """host:port of its metrics page."""
        return f"127.0.0.1:{self._node.ports.metrics}"

    @property
    def ports(self) -> tuple[int, int, int]:
        """Its three ports."""
        return (self._node.ports.service, self._node.ports.health, self._node.ports.metrics)

    @property
    def instance_id(self) -> str:
        """Id of the present process in the registry; new with each start."""
        return self._node.child.instance_id

    @property
    def pid(self) -> int:
        """Id of the present process."""
        return self._node.child.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._node.child.is_running

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._node.child.exit_code

    def kill(self) -> None:
        """kill -9."""
        self.was_killed = True
        self._node.child.kill()

    def terminate(self) -> None:
        """SIGTERM, without waiting."""
        self._node.child.send_signal(signal.SIGTERM)

    async def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM, and waits; returns the exit code."""
        self.resume()
        await self._node.child.stop(timeout_s)
        return await self._node.child.wait()

    def pause(self) -> None:
        """SIGSTOP: the process is there and does nothing."""
        self._paused = True
        self._node.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._paused:
            self._paused = False
            self._node.child.send_signal(signal.SIGCONT)

    async def wait(self, timeout_s: float = 30.0) -> int:
        """Waits until the process has ended; returns its exit code, negative for a signal."""
        return await asyncio.wait_for(self._node.child.wait(), timeout_s)

    async def start(self) -> None:
        """Starts a process that has ended again, at the same address; returns once it serves."""
        await self._node.child.start()
        self.note_pid()
        await self._node.child.wait_ready(_READY_TIMEOUT_S)

    async def restart(self) -> None:
        """Stops it in order and starts it again."""
        await self.stop()
        await self.start()

    def log(self) -> str:
        """Everything that its processes logged so far."""
        path = self._node.child.log_path
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def note_pid(self) -> None:
        """Remembers the present process, to check later that it is gone."""
        self.pids.append(self._node.child.pid)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel for tests: its own connection, large messages, quick to find a node that came back."""
    return grpc.aio.insecure_channel(
        address,
        options=(
            ("grpc.max_receive_message_length", _MESSAGE_SIZE_MAX),
            # A node that was killed and came back is to be found at once.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 500),
            # Tests run many meshes; channels must not share connections with those of an earlier one.
            ("grpc.use_local_subchannel_pool", 1),
        ),
    )


class MeshProcesses:
    """An embedded etcd and processes of `onex-mesh serve`; an async context manager.

    Args:
        tmp_path: Where etcd's data and the logs go.
        app: module:attribute of the App; empty for none.
        app_dir: Where the App's module is found. Default: the repository.
        targets: Targets file of the effect nodes.
        effects, computes, reducers, orchestrators: How many processes of each kind.
        ttl_s: Time to live of the sessions, in seconds; short, so that takeovers are quick.
        drain_s: Longest wait for work under way when a node is stopped, in seconds.
        settings: More settings of all nodes, by name, such as {"log_level": "debug"}.
        check_left: Check on leaving that nothing is left.
    """

    def __init__(
        self,
        tmp_path: Path,
        *,
        app: str = "",
        app_dir: Path = ROOT,
        targets: Path | None = None,
        effects: int = 1,
        computes: int = 1,
        reducers: int = 1,
        orchestrators: int = 1,
        ttl_s: float = 2.0,
        drain_s: float = 10.0,
        settings: Mapping[str, str] | None = None,
        check_left: bool = True,
    ) -> None:
        counts = {"effect": effects, "compute": computes, "reducer": reducers, "orchestrator": orchestrators}
        variables = {"ONEX_TTL_S": str(ttl_s)}
        variables.update({f"ONEX_{name.upper()}": value for name, value in (settings or {}).items()})
        self._mesh = ProcessMesh(
            MeshOptions(
                data_dir=tmp_path / "mesh",
                app=app,
                app_dir=app_dir,
                targets=targets,
                counts=counts,
                drain_s=drain_s,
                etcd_fsync=False,
                settings=variables,
            )
        )
        self._ttl_s = ttl_s
        self._check_left = check_left
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._nodes = {kind: [NodeProcess(node) for node in self._mesh.of_kind(kind)] for kind in KINDS}
        self.keys = Keyspace(self._mesh.options.namespace)

    @property
    def effects(self) -> list[NodeProcess]:
        """The effect nodes."""
        return self._nodes["effect"]

    @property
    def computes(self) -> list[NodeProcess]:
        """The compute nodes."""
        return self._nodes["compute"]

    @property
    def reducers(self) -> list[NodeProcess]:
        """The reducer nodes."""
        return self._nodes["reducer"]

    @property
    def orchestrators(self) -> list[NodeProcess]:
        """The orchestrators."""
        return self._nodes["orchestrator"]

    @property
    def nodes(self) -> list[NodeProcess]:
        """All nodes."""
        return [node for nodes in self._nodes.values() for node in nodes]

    @property
    def etcd(self) -> EmbeddedEtcd:
        """etcd, which tests may stop, kill and pause too."""
        assert self._mesh.etcd is not None
        return self._mesh.etcd

    def address(self, kind: str, index: int = 0) -> str:
        """host:port of a node."""
        return self._nodes[kind][index].address

    def channel(self, kind: str, index: int = 0) -> grpc.aio.Channel:
        """A channel to a node; the same one each time, closed with the mesh."""
        address = self.address(kind, index)
        if address not in self._channels:
            self._channels[address] = open_channel(address)
        return self._channels[address]

    async def etcd_client(self) -> EtcdClient:
        """A client of etcd; the caller closes it."""
        return await EtcdClient.connect(self.etcd.endpoint)

    async def live_keys(self) -> list[str]:
        """The keys that hang on sessions: owners and nodes."""
        client = await self.etcd_client()
        try:
            found, _ = await client.prefix(self.keys.live_prefix, keys_only=True)
            return [bytes(row.key).decode() for row in found]
        finally:
            await client.close()

    async def __aenter__(self) -> MeshProcesses:
        try:
            await self._mesh.start()
        except BaseException:
            self.print_logs()
            await self._mesh.stop()
            raise
        for node in self.nodes:
            node.note_pid()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close()
        for node in self.nodes:
            node.resume()
        left: list[str] = []
        try:
            await self._mesh.stop_nodes()
            if self._check_left and error is None:
                left = await self._keys_left()
        finally:
            await self._mesh.stop()
        if error is not None:
            self.print_logs()
        elif self._check_left:
            left += self._processes_left()
            if left:
                self.print_logs()
            assert not left, f"left behind: {', '.join(left)}"

    def print_logs(self) -> None:
        """Prints the last log lines of each process, for pytest to show."""
        for node in self.nodes:
            lines = node.log().splitlines()[-30:]
            sys.stdout.write(f"--- {node.name} (exit code {node.exit_code})\n" + "".join(f"{line}\n" for line in lines))

    async def _keys_left(self) -> list[str]:
        """Keys of sessions that are still there; those of killed processes are given their time to live."""
        deadline = time.monotonic() + (self._ttl_s if any(node.was_killed for node in self.nodes) else 0)
        deadline += _GONE_MARGIN_S
        while keys := await self.live_keys():
            if time.monotonic() > deadline:
                return keys
            await asyncio.sleep(0.1)
        return []

    def _processes_left(self) -> list[str]:
        left = [f"process {pid} of {node.name}" for node in self.nodes for pid in node.pids if psutil.pid_exists(pid)]
        left += [
            f"port {port} of {node.name}"
            for node in self.nodes
            for port in node.ports
            if not is_free("127.0.0.1", port)
        ]
        return left

"""The life of a node process: from NOT_SERVING over readiness to a stop that hands everything over.

Start: probes, etcd, session, the node's own start, services, registration, and only then SERVING. Stop: not ready,
announced as draining, work under way ended or timed out, services closed, the node closed, and the session revoked
last: its node key and all its owner keys go in one revision, by which the other orchestrators know to take over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onex.v1 import action_pb2_grpc, common_pb2, node_pb2, node_pb2_grpc
from onex_lease import EtcdClient, Journal, Keyspace, Ledger, LiveView, Session
from onex_mesh.runtime.action_service import MESSAGE_OVERHEAD_BYTES, ActionServicer
from onex_mesh.runtime.action_validation import ActionValidator, kind_label
from onex_mesh.runtime.errors import OnexError
from onex_mesh.runtime.execution import ActionParts
from onex_mesh.runtime.health import HealthReport, Probes
from onex_mesh.runtime.interceptors import CallInterceptor
from onex_mesh.runtime.listening import credentials_of, listen, new_probe_server, new_server, release
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.metrics import Metrics
from onex_mesh.runtime.node import Node, Reloadable
from onex_mesh.runtime.node_service import NodeServicer
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.registration import Registration, patiently
from onex_mesh.runtime.settings import NodeSettings, new_instance_id, reachable_host
from onex_mesh.runtime.telemetry import MetricsPage, configure_logs
from onex_mesh.runtime.version import MESH_VERSION

log = structlog.get_logger(__name__)

_CLOSE_S = 0.5
"""What remains after the drain is answers on their way and streams that never end, such as the watches of probes."""


class NodeServer:
    """One node, served. Several may live in one process; `serve` runs one as a process of its own."""

    def __init__(self, node: Node, settings: NodeSettings) -> None:
        self._node = node
        self._settings = settings
        self._metrics = Metrics(node.kind)
        self._probes = Probes()
        self._interceptor = CallInterceptor(
            self._metrics,
            node=kind_label(node.kind).lower(),
            deadline_s=settings.deadline_s,
            calls_max=settings.calls_max,
        )
        self._actions: ActionServicer | None = None
        self._mesh: Mesh | None = None
        self._closers = contextlib.AsyncExitStack()
        self._registration: Registration | None = None
        self.info = node_pb2.NodeInfo()

    async def start(self) -> node_pb2.NodeInfo:
        """Starts serving; returns what the node announces.

        An etcd that is away is waited for; cancel the call to give up.

        Raises:
            OnexError: The settings cannot work, or the node refuses to start.
            OSError: A port is taken.
        """
        try:
            return await self._start()
        except BaseException:
            await self._closers.aclose()
            raise

    async def _start(self) -> node_pb2.NodeInfo:
        settings, node, closers = self._settings, self._node, self._closers
        await self._probes.begin(())
        server = new_server(settings, self._interceptor)
        closers.push_async_callback(release, server)
        port = listen(server, settings.host, settings.service_port(node.kind), credentials_of(settings))
        await self._serve_probes(settings.probe_port(port))
        page = MetricsPage(self._metrics, settings.host, settings.page_port(port))
        # Its server looks only twice a second whether it is to stop; the loop must not wait for that.
        closers.push_async_callback(asyncio.to_thread, page.close)
        self.info = self._describe(port)
        keys = Keyspace(settings.namespace)
        client = await patiently(settings.etcd, lambda: EtcdClient.connect(settings.etcd))
        closers.push_async_callback(client.close)
        view = await patiently(settings.etcd, lambda: LiveView.open(client, keys))
        closers.push_async_callback(view.close)
        instance_id = self.info.instance_id
        session = await patiently(
            settings.etcd, lambda: Session.open(client, instance_id=instance_id, ttl_s=settings.ttl_s)
        )
        journal = Journal(client, keys)
        payloads = self._payloads()
        closers.push_async_callback(payloads.close)
        self._mesh = mesh = Mesh(
            client=client,
            keys=keys,
            session=session,
            view=view,
            journal=journal,
            ledger=Ledger(client, keys),
            node=self.info,
            settings=settings,
            metrics=self._metrics,
            payloads=payloads,
        )
        closers.push_async_callback(self._close_session)
        closers.push_async_callback(node.stop)
        await node.start(mesh)
        self.info.capabilities.extend(["dispatch", "chain"] if node.executor() is not None else [])
        self.info.capabilities.extend(node.capabilities())
        services = self._add_services(server, mesh)
        await server.start()
        closers.push_async_callback(server.stop, _CLOSE_S)
        if self._actions is not None:
            closers.push_async_callback(self._actions.stop)
        registration = Registration(mesh, node, self._probes)
        await registration.register()
        self._registration = registration
        keeper = asyncio.create_task(registration.keep(), name="session-keeper")
        closers.push_async_callback(_end_task, keeper)
        await self._probes.begin(services)
        await self._probes.set_ready(True)
        log.info("serving", address=self.info.address, instance=self.info.instance_id)
        return self.info

    async def stop(self) -> None:
        """Stops: finishes or hands over what is under way, and leaves nothing behind."""
        if self._registration is not None:
            self._registration.end()
        await self._probes.set_ready(False)
        try:
            if self._registration is not None:
                await self._registration.announce_draining()
            async with asyncio.timeout(self._settings.drain_s):
                await self._drain()
        except TimeoutError:
            log.warning("work was still under way after the drain time", drain_s=self._settings.drain_s)
        finally:
            await self._closers.aclose()
        log.info("stopped", instance=self.info.instance_id)

    async def _drain(self) -> None:
        await self._node.drain()
        if self._actions is not None:
            await self._actions.drain()
        await self._interceptor.wait_idle()

    def _payloads(self) -> Payloads:
        settings = self._settings
        store = FsspecPayloads(settings.payload_store) if settings.payload_store else None
        answer_bytes_max = settings.message_bytes_max - MESSAGE_OVERHEAD_BYTES
        return Payloads(store, answer_bytes_max=answer_bytes_max, observe=self._metrics.observe)

    def _describe(self, port: int) -> node_pb2.NodeInfo:
        settings, node = self._settings, self._node
        now = Timestamp()
        now.GetCurrentTime()
        return node_pb2.NodeInfo(
            instance_id=settings.instance_id or new_instance_id(node.kind),
            kind=node.kind,
            address=settings.advertise or f"{reachable_host(settings.host, settings.etcd)}:{port}",
            version=node.version,
            service_name=node.service_name,
            started_at=now,
            mesh_version=MESH_VERSION,
        )

    async def _serve_probes(self, port: int) -> None:
        server = new_probe_server(self._probes)
        self._closers.push_async_callback(release, server)
        self._closers.push_async_callback(server.stop, _CLOSE_S)
        listen(server, self._settings.host, port)
        await server.start()

    def _add_services(self, server: grpc.aio.Server, mesh: Mesh) -> Sequence[str]:
        names = [*self._node.add_services(server), "onex.v1.NodeService"]
        executor = self._node.executor()
        if executor is not None:
            self._actions = ActionServicer(
                ActionParts(
                    kind=self._node.kind,
                    executor=executor,
                    validator=ActionValidator(self._node.kind, mesh.journal, mesh.view),
                    metrics=self._metrics,
                    payloads=mesh.payloads,
                    instance_id=self.info.instance_id,
                    actions_max=self._settings.calls_max,
                ),
                message_bytes_max=self._settings.message_bytes_max,
            )
            action_pb2_grpc.add_ActionServiceServicer_to_server(self._actions, server)
            names.append("onex.v1.ActionService")
        report = HealthReport(self._metrics, self._settings.calls_max, self._check)
        all_names = [*names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        node_pb2_grpc.add_NodeServiceServicer_to_server(NodeServicer(self.info, names, report, mesh.view), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._probes.servicer, server)
        reflection.enable_server_reflection(all_names, server)
        return names

    async def _check(self) -> Sequence[node_pb2.DependencyHealth]:
        mesh = self._mesh
        assert mesh is not None
        rows = list(await self._node.check())
        try:
            await mesh.client.ping()
            etcd = node_pb2.DependencyHealth(name="etcd", healthy=mesh.session.is_valid(), message="")
            if not etcd.healthy:
                etcd.message = "the session is lost"
        except OnexError as error:
            etcd = node_pb2.DependencyHealth(name="etcd", healthy=False, message=error.message)
        return [etcd, *rows]

    async def _close_session(self) -> None:
        if self._mesh is not None:
            await self._mesh.session.close()


async def serve(node: Node, settings: NodeSettings, *, ready: Callable[[node_pb2.NodeInfo], None] | None = None) -> int:
    """Serves a node until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        node: The node.
        settings: Its settings.
        ready: Called once it serves, with what it announces.

    Returns:
        The exit code: 0 after a clean stop, 3 if it could not start.
    """
    configure_logs(settings, node=common_pb2.NodeKind.Name(node.kind).removeprefix("NODE_KIND_").lower())
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping, number)
    if isinstance(node, Reloadable):
        loop.add_signal_handler(signal.SIGHUP, node.reload)
    server = NodeServer(node, settings)
    starting = asyncio.create_task(server.start())
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return 0
        try:
            info = starting.result()
        except (OnexError, OSError) as error:
            log.error("the node cannot start", why=str(error))
            return 3
        try:
            if ready is not None:
                ready(info)
            await asked
        finally:
            await server.stop()
        return 0
    finally:
        asked.cancel()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _on_signal(stopping: asyncio.Event, number: int) -> None:
    if stopping.is_set():
        log.warning("a second signal: stopping at once")
        os._exit(128 + number)
    stopping.set()

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
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from onex.v1 import action_pb2_grpc, common_pb2, node_pb2, node_pb2_grpc
from onex_lease import (
    EtcdClient,
    EtcdRejectedError,
    Journal,
    Keyspace,
    Ledger,
    LiveView,
    Session,
    register_node,
    update_node,
)
from onex_mesh.runtime.action_service import ActionServicer
from onex_mesh.runtime.action_validation import ActionValidator, kind_label
from onex_mesh.runtime.errors import EtcdUnavailableError, LeaseConflictError, LeaseExpiredError, OnexError
from onex_mesh.runtime.execution import ActionParts
from onex_mesh.runtime.health import HealthReport, Probes
from onex_mesh.runtime.interceptors import CallInterceptor
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.metrics import Metrics
from onex_mesh.runtime.node import DRAINING, Node
from onex_mesh.runtime.node_service import NodeServicer
from onex_mesh.runtime.settings import NodeSettings, new_instance_id, reachable_host
from onex_mesh.runtime.telemetry import MetricsPage, configure_logs
from onex_mesh.runtime.version import MESH_VERSION

log = structlog.get_logger(__name__)

_Opened = TypeVar("_Opened")
_ETCD_RETRY_S = 1.0
_ANNOUNCE_S = 2.0
_FORMER_SESSION_MARGIN_S = 3.0
"""etcd ends a lease up to a second or two after its time to live."""
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
        self._is_stopping = False
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
        server = self._new_server()
        closers.push_async_callback(_release, server)
        port = self._bind(server, settings.service_port(node.kind))
        await self._serve_probes(settings.probe_port(port))
        page = MetricsPage(self._metrics, settings.host, settings.page_port(port))
        # Its server looks only twice a second whether it is to stop; the loop must not wait for that.
        closers.push_async_callback(asyncio.to_thread, page.close)
        self.info = self._describe(port)
        keys = Keyspace(settings.namespace)
        client = await self._patiently(lambda: EtcdClient.connect(settings.etcd))
        closers.push_async_callback(client.close)
        view = await self._patiently(lambda: LiveView.open(client, keys))
        closers.push_async_callback(view.close)
        instance_id = self.info.instance_id
        session = await self._patiently(lambda: Session.open(client, instance_id=instance_id, ttl_s=settings.ttl_s))
        closers.push_async_callback(self._close_session)
        journal = Journal(client, keys)
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
        )
        closers.push_async_callback(node.stop)
        await node.start(mesh)
        self.info.capabilities.extend(["dispatch", "chain"] if node.executor() is not None else [])
        self.info.capabilities.extend(node.capabilities())
        services = self._add_services(server, mesh)
        await server.start()
        closers.push_async_callback(server.stop, _CLOSE_S)
        if self._actions is not None:
            closers.push_async_callback(self._actions.stop)
        await self._register(mesh)
        keeper = asyncio.create_task(self._keep_session(), name="session-keeper")
        closers.push_async_callback(_end_task, keeper)
        await self._probes.begin(services)
        await self._probes.set_ready(True)
        log.info("serving", address=self.info.address, instance=self.info.instance_id)
        return self.info

    async def stop(self) -> None:
        """Stops: finishes or hands over what is under way, and leaves nothing behind."""
        self._is_stopping = True
        await self._probes.set_ready(False)
        try:
            await self._announce_draining()
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

    async def _announce_draining(self) -> None:
        mesh = self._mesh
        if mesh is None:
            return
        self.info.capabilities.append(DRAINING)
        try:
            async with asyncio.timeout(_ANNOUNCE_S):
                await update_node(mesh.client, mesh.keys, mesh.session, self.info)
        except TimeoutError:
            log.warning("could not announce the stop", why=f"etcd did not answer within {_ANNOUNCE_S:g} s")
        except OnexError as error:
            log.warning("could not announce the stop", reason=error.reason, why=error.message)

    # Parts

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

    def _new_server(self) -> grpc.aio.Server:
        settings = self._settings
        options = [
            ("grpc.max_receive_message_length", settings.message_bytes_max),
            ("grpc.max_send_message_length", settings.message_bytes_max),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ]
        return grpc.aio.server(interceptors=[self._interceptor], options=options)

    def _bind(self, server: grpc.aio.Server, port: int) -> int:
        address = f"{self._settings.host}:{port}"
        credentials = self._credentials()
        try:
            bound = (
                server.add_insecure_port(address)
                if credentials is None
                else server.add_secure_port(address, credentials)
            )
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        return int(bound)

    def _credentials(self) -> grpc.ServerCredentials | None:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        pair = (settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())
        authority = settings.tls_ca.read_bytes() if settings.tls_ca is not None else None
        return grpc.ssl_server_credentials(
            [pair], root_certificates=authority, require_client_auth=authority is not None
        )

    async def _serve_probes(self, port: int) -> None:
        """The plaintext port that only answers health checks: probes cannot do mTLS."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._closers.push_async_callback(_release, server)
        self._closers.push_async_callback(server.stop, _CLOSE_S)
        health_pb2_grpc.add_HealthServicer_to_server(self._probes.servicer, server)
        reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        address = f"{self._settings.host}:{port}"
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        await server.start()

    async def _patiently(self, attempt: Callable[[], Awaitable[_Opened]]) -> _Opened:
        """Opens what needs etcd, once etcd is there; what etcd refuses is not tried again."""
        while True:
            try:
                return await attempt()
            except EtcdRejectedError:
                raise
            except EtcdUnavailableError as error:
                log.warning("etcd is not there, trying again", etcd=self._settings.etcd, why=error.message)
                await asyncio.sleep(_ETCD_RETRY_S)

    async def _register(self, mesh: Mesh) -> None:
        """Announces the node. A process that was killed and came back under its name waits for its former session."""
        give_up_at = asyncio.get_running_loop().time() + self._settings.ttl_s + _FORMER_SESSION_MARGIN_S
        while True:
            try:
                await register_node(mesh.client, mesh.keys, mesh.session, self.info)
            except LeaseExpiredError:
                # A slow start, such as the import of a driver on a busy machine, can outlast a short session.
                mesh.session = await self._reopen(mesh)
                return
            except LeaseConflictError as error:
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise
                log.warning("waiting for the end of a former session of the same name", why=error.message)
                await asyncio.sleep(_ETCD_RETRY_S)
            else:
                return

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

    # Session

    async def _keep_session(self) -> None:
        """Opens a new session whenever one is lost. What ran under the lost one is stopped first."""
        mesh = self._mesh
        assert mesh is not None
        while True:
            await mesh.session.wait_lost()
            log.warning("the session is lost; work under it stops")
            await self._probes.set_ready(False)
            try:
                await self._node.session_lost()
            except Exception as error:  # the node must get a new session all the same
                log.error("the node could not stop its work under the lost session", exc_info=error)
            # Where only this process saw it end, its keys would keep everybody from the work until the TTL.
            await mesh.session.close()
            if self._is_stopping:
                return
            mesh.session = await self._reopen(mesh)
            if self._is_stopping:
                return
            await self._probes.set_ready(True)
            log.info("serving again under a new session")

    async def _reopen(self, mesh: Mesh) -> Session:
        while True:
            session = None
            try:
                session = await Session.open(mesh.client, instance_id=self.info.instance_id, ttl_s=self._settings.ttl_s)
                await register_node(mesh.client, mesh.keys, session, self.info)
            except BaseException as error:
                if session is not None:
                    await session.close()
                if not isinstance(error, OnexError):
                    raise
                log.warning("could not open a session, trying again", reason=error.reason, why=error.message)
                await asyncio.sleep(_ETCD_RETRY_S)
            else:
                return session

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
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _release(server: grpc.aio.Server) -> None:
    """Closes the port of a server that was never started: gRPC does so only for one that was."""
    with contextlib.suppress(grpc.aio.UsageError):
        # It is started already, or stopped.
        await server.start()
    await server.stop(None)


def _on_signal(stopping: asyncio.Event, number: int) -> None:
    if stopping.is_set():
        log.warning("a second signal: stopping at once")
        os._exit(128 + number)
    stopping.set()

"""A node's place in the registry: announced under a session, kept when the session is lost, given up at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from onex_lease import EtcdRejectedError, Session, register_node, update_node
from onex_mesh.runtime.errors import EtcdUnavailableError, LeaseConflictError, LeaseExpiredError, OnexError
from onex_mesh.runtime.health import Probes
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.node import DRAINING, Node

log = structlog.get_logger(__name__)

_Opened = TypeVar("_Opened")
_ETCD_RETRY_S = 1.0
_ANNOUNCE_S = 2.0
_FORMER_SESSION_MARGIN_S = 3.0
"""etcd ends a lease up to a second or two after its time to live."""


async def patiently(etcd: str, attempt: Callable[[], Awaitable[_Opened]]) -> _Opened:
    """Opens what needs etcd, once etcd is there; what etcd refuses is not tried again.

    Raises:
        EtcdRejectedError: etcd is there and will not have it.
    """
    while True:
        try:
            return await attempt()
        except EtcdRejectedError:
            raise
        except EtcdUnavailableError as error:
            log.warning("etcd is not there, trying again", etcd=etcd, why=error.message)
            await asyncio.sleep(_ETCD_RETRY_S)


class Registration:
    """Keeps one node registered under a session that holds.

    Args:
        mesh: The node's mesh; its session is replaced here when it is lost.
        node: Told when a session is lost.
        probes: Not ready while there is no session.
    """

    def __init__(self, mesh: Mesh, node: Node, probes: Probes) -> None:
        self._mesh = mesh
        self._node = node
        self._probes = probes
        self._is_ending = False

    def end(self) -> None:
        """From now on a lost session is not replaced."""
        self._is_ending = True

    async def register(self) -> None:
        """Announces the node. A process that was killed and came back under its name waits for its former session.

        Raises:
            LeaseConflictError: Another process of that name is alive.
        """
        mesh = self._mesh
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + mesh.settings.ttl_s + _FORMER_SESSION_MARGIN_S
        while True:
            try:
                await register_node(mesh.client, mesh.keys, mesh.session, mesh.node)
            except LeaseExpiredError:
                # A slow start, such as the import of a driver on a busy machine, can outlast a short session.
                mesh.session = await self._reopen()
                return
            except LeaseConflictError as error:
                if clock() >= give_up_at:
                    raise
                log.warning("waiting for the end of a former session of the same name", why=error.message)
                await asyncio.sleep(_ETCD_RETRY_S)
            else:
                return

    async def keep(self) -> None:
        """Opens a new session whenever one is lost. What ran under the lost one is stopped first."""
        mesh = self._mesh
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
            if self._is_ending:
                return
            mesh.session = await self._reopen()
            if self._is_ending:
                return
            await self._probes.set_ready(True)
            log.info("serving again under a new session")

    async def announce_draining(self) -> None:
        """Says that the node wants no new work."""
        mesh = self._mesh
        mesh.node.capabilities.append(DRAINING)
        try:
            async with asyncio.timeout(_ANNOUNCE_S):
                await update_node(mesh.client, mesh.keys, mesh.session, mesh.node)
        except TimeoutError:
            log.warning("could not announce the stop", why=f"etcd did not answer within {_ANNOUNCE_S:g} s")
        except OnexError as error:
            log.warning("could not announce the stop", reason=error.reason, why=error.message)

    async def _reopen(self) -> Session:
        mesh = self._mesh
        while True:
            session = None
            try:
                session = await Session.open(mesh.client, instance_id=mesh.node.instance_id, ttl_s=mesh.settings.ttl_s)
                await register_node(mesh.client, mesh.keys, session, mesh.node)
            except BaseException as error:
                if session is not None:
                    await session.close()
                if not isinstance(error, OnexError):
                    raise
                log.warning("could not open a session, trying again", reason=error.reason, why=error.message)
                await asyncio.sleep(_ETCD_RETRY_S)
            else:
                return session

"""How a target's host becomes a connection: resolved here, every address checked, connected to as checked (R7).

A name is resolved once for each connection, and the connection goes to an address of that very answer. So a resolver
that answers differently the next time (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Protocol

import httpcore

from onex_mesh.effect.core.kinds.http_addresses import Address, AddressRules, literal
from onex_mesh.runtime.errors import EffectFailedError


class Resolver(Protocol):
    """Finds the addresses of a name."""

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses, in the order in which to try them.

        Raises:
            OSError: There are none, or the name servers do not answer.
        """


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """The resolver of the operating system."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """The network of one target."""

    def __init__(self, target: str, rules: AddressRules, resolver: Resolver = system_resolver) -> None:
        self._target = target
        self._rules = rules
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of a host that answers.

        Raises:
            EffectFailedError: One of its addresses may not be reached; none was connected to.
            httpcore.ConnectError: It has none, or none takes connections.
            httpcore.ConnectTimeout: None did within the time.
        """
        addresses = await self._addresses(host, port)
        began = asyncio.get_running_loop().time()
        for number, address in enumerate(addresses):
            share_s = None
            if timeout is not None:
                spent_s = asyncio.get_running_loop().time() - began
                # One address that swallows packets must not use up the time of the others.
                share_s = max(timeout - spent_s, 0.0) / (len(addresses) - number)
            try:
                return await self._network.connect_tcp(str(address), port, share_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Sleeps."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            written = literal(host)
        except ValueError as error:
            raise self._refused(host, f"{host} {error}") from error
        if written is not None:
            addresses = [written]
        else:
            try:
                addresses = [ip_address(text) for text in await self._resolver(host, port)]
            except OSError as error:
                raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        for address in addresses:
            # One bad address condemns them all: an honest name has no mix of them.
            if problem := self._rules.problem(address):
                raise self._refused(host, f"{host} has the address {address}, which is {problem}")
        return addresses

    def _refused(self, host: str, text: str) -> EffectFailedError:
        return EffectFailedError(
            f"{self._target!r} is not connected to: {text}; allow_private says what may be reached",
            error_context={"target": self._target, "host": host},
        )

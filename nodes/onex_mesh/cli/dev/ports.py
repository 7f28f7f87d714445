"""Ports for the node processes: chosen once, so that a restarted node keeps its address."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass

from onex_mesh.runtime.errors import DependencyResolutionError
from onex_mesh.runtime.settings import HEALTH_PORT_OFFSET, METRICS_PORT_OFFSET

# Below the range that systems take the ports of outgoing connections from, so that none of those is hit.
_FREE_RANGE = range(20_000, 32_000)
_TRIES = 500


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The three ports of one node process."""

    service: int
    health: int
    metrics: int


class PortChooser:
    """Hands out ports that were free a moment ago, none of them twice."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self._taken: set[int] = set()
        self._random = random.Random()  # noqa: S311 - spreads processes over ports; guards nothing

    def preferred(self, port: int) -> NodePorts | None:
        """The port with its two neighbours, if all three are free."""
        ports = (port, port + HEALTH_PORT_OFFSET, port + METRICS_PORT_OFFSET)
        if any(one in self._taken or not is_free(self._host, one) for one in ports):
            return None
        self._taken.update(ports)
        return NodePorts(*ports)

    def free(self) -> NodePorts:
        """Three free ports.

        Raises:
            DependencyResolutionError: There seem to be none.
        """
        return NodePorts(self.one(), self.one(), self.one())

    def one(self) -> int:
        """One free port; see `free`."""
        for _ in range(_TRIES):
            port = self._random.choice(_FREE_RANGE)
            if port not in self._taken and is_free(self._host, port):
                self._taken.add(port)
                return port
        raise DependencyResolutionError(f"no free port found at {self._host}")


def is_free(host: str, port: int) -> bool:
    """Whether nothing listens at the port."""
    with contextlib.closing(socket.socket()) as probe:
        # As servers do: a connection of an earlier process that lingers is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True

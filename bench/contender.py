"""What can be measured: a system of running processes that a driver can send workflows to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Contender(Protocol):
    """A running system under test."""

    @property
    def system(self) -> str:
        """What the driver knows it as: "mesh" or "restate"."""
        ...

    @property
    def description(self) -> str:
        """One line for the report: versions and what makes it durable."""
        ...

    @property
    def address(self) -> str:
        """host:port that takes workflows."""
        ...

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes whose time counts, by role."""
        ...

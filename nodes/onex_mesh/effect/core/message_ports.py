"""What consuming needs from outside: a source of messages, and orchestrators that commit what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from onex_mesh.effect.core.event_mapping import Order


@dataclass(frozen=True, slots=True)
class Burial:
    """Why a message becomes a dead letter."""

    subscription: str
    reason: str
    """Reason of the error, such as VALIDATION_FAILED."""
    message: str
    """What is wrong with it, bounded."""
    deliveries: int


class Delivery(Protocol):
    """One delivery of one message. It is this node's until it is settled, or until its time is over."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, or its fields but the body."""

    @property
    def body(self) -> bytes:
        """What it holds."""

    @property
    def place(self) -> str:
        """Where it stands, such as "ORDERS:17"."""

    @property
    def deliveries(self) -> int:
        """How often it was delivered, this time included."""

    async def acknowledge(self) -> None:
        """It is done with: it never comes again."""

    async def return_later(self, delay_s: float) -> None:
        """Has it delivered again after a while, to whichever node is free."""

    async def keep(self) -> None:
        """Says that this node is still at work on it."""

    async def bury(self, burial: Burial) -> None:
        """Puts it where dead letters go, and then acknowledges it."""


class MessageSource(Protocol):
    """The messages of one subscription. All calls raise OnexError where the broker does not answer."""

    async def fetch(self, count: int) -> Sequence[Delivery]:
        """Up to so many messages; waits for the first, but not for long. Connects where that is needed."""

    async def close(self) -> None:
        """Gives back what was fetched and not handed out, and closes the connection."""


class Orchestrators(Protocol):
    """The orchestrators of the mesh."""

    async def commit(self, order: Order, *, correlation_id: str, timeout_s: float) -> bool:
        """Has an order committed by one that is ready; False if it had been committed before.

        Raises:
            OnexError: None committed it, or it is not known whether one did; asking again is safe.
        """

"""What becomes of one message: committed and acknowledged, given back, or buried."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import structlog

from onex_mesh.effect.core.event_mapping import EventMapping, Order
from onex_mesh.effect.core.events import CloudEvent, read_event
from onex_mesh.effect.core.message_ports import Burial, Delivery, MessageSource, Orchestrators
from onex_mesh.effect.core.subscription_models import SubscriptionConfig
from onex_mesh.effect.ports import AuditLog, AuditRecord, Observer
from onex_mesh.runtime.errors import InternalError, OnexError, PayloadTooLargeError, ValidationError

log = structlog.get_logger(__name__)

EFFECT_TYPE = "message_consume"
"""Type of the audit records."""

_TEXT_CHARS_MAX = 500
_KEEPS_PER_WAIT = 3
# Beside what is marked as retryable: an answer that did not come, and a method that this version has not built.
_TEMPORARY = frozenset({"ACTION_EXPIRED", "CANCELLED", "UNIMPLEMENTED"})


@dataclass(slots=True)
class Tally:
    """What became of the messages since the node started."""

    completed: int = 0
    replayed: int = 0
    """Committed before: a delivery of a message whose acknowledgement was lost."""
    passed_over: int = 0
    returned: int = 0
    """Deliveries that were given back."""
    dead: int = 0


@dataclass(frozen=True, slots=True)
class SubscriptionParts:
    """What a subscription is made of."""

    name: str
    config: SubscriptionConfig
    mapping: EventMapping
    source: MessageSource
    orchestrators: Orchestrators
    audit: AuditLog
    observer: Observer
    node: str
    size_bytes_max: int = 1_048_576
    """Largest message."""
    tally: Tally = field(default_factory=Tally)
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Facts:
    """What is known of a delivery, for its record."""

    delivery: Delivery
    event: CloudEvent | None = None
    order: Order | None = None
    error: OnexError | None = None
    outcome: str = "failed"


class Settler:
    """Settles the messages of one subscription."""

    def __init__(self, parts: SubscriptionParts) -> None:
        self._parts = parts
        self._config = parts.config
        self.tally = parts.tally
        self.mesh_trouble = ""
        """Why the mesh does not commit now; empty once it did."""
        self.broker_trouble = ""
        """Why the last message could not be acknowledged, given back or buried; empty once one could."""

    async def settle(self, delivery: Delivery) -> None:
        """Settles one delivery. What fails is given back, and comes again where even that fails."""
        began, started_at_s = self._parts.clock(), time.time()
        facts = _Facts(delivery)
        try:
            await self._settle(facts)
        except asyncio.CancelledError:
            facts.outcome = "cancelled"
            raise
        finally:
            self._record(facts, started_at_s, self._parts.clock() - began)

    async def _settle(self, facts: _Facts) -> None:
        try:
            async with self._kept(facts.delivery):
                await self._hand_over(facts)
        except OnexError as error:
            facts.error = error
        except Exception as error:
            # A fault of the node: the message is given back, and buried in the end.
            log.error("a message failed unexpectedly", subscription=self._parts.name, exc_info=error)
            facts.error = InternalError(f"{type(error).__name__}; the node's log has the cause")
        try:
            if facts.error is not None:
                await self._give_up(facts, facts.error)
            else:
                self._count(facts.outcome)
                await facts.delivery.acknowledge()
        except OnexError as error:
            # It comes again once its time is over, and is recognized where it was committed.
            self.broker_trouble = error.message[:_TEXT_CHARS_MAX]
            log.warning("a message could not be settled", subscription=self._parts.name, why=self.broker_trouble)
        else:
            self.broker_trouble = ""

    async def _hand_over(self, facts: _Facts) -> None:
        self._parts.audit.require_room()
        size_bytes = len(facts.delivery.body)
        if size_bytes > self._parts.size_bytes_max:
            raise PayloadTooLargeError(
                f"{size_bytes} bytes are more than the {self._parts.size_bytes_max} of the target"
            )
        facts.event = event = read_event(facts.delivery.headers, facts.delivery.body)
        if not self._config.wants(event.type):
            facts.outcome = "passed_over"
            return
        facts.order = order = self._parts.mapping.order(event)
        try:
            is_new = await self._parts.orchestrators.commit(
                order, correlation_id=event.correlation_id or order.workflow_id, timeout_s=self._config.timeout_s
            )
        except OnexError as error:
            self.mesh_trouble = error.message[:_TEXT_CHARS_MAX] if is_temporary(error) else ""
            raise
        self.mesh_trouble = ""
        facts.outcome = "completed" if is_new else "replayed"

    async def _give_up(self, facts: _Facts, error: OnexError) -> None:
        """Gives a message back, or buries it if nobody will ever be able to do anything with it."""
        redelivery, deliveries = self._config.redelivery, facts.delivery.deliveries
        is_unreadable = facts.event is None and isinstance(error, ValidationError | PayloadTooLargeError)
        is_spent = not is_temporary(error) and deliveries >= redelivery.max_deliveries
        if not is_unreadable and not is_spent:
            self.tally.returned += 1
            await facts.delivery.return_later(redelivery.delay_s(deliveries))
            return
        burial = Burial(self._parts.name, error.reason, error.message[:_TEXT_CHARS_MAX], deliveries)
        await facts.delivery.bury(burial)
        facts.outcome = "dead_lettered"
        self.tally.dead += 1
        log.warning(
            "a message became a dead letter",
            subscription=self._parts.name,
            place=facts.delivery.place,
            reason=error.reason,
            why=burial.message,
        )

    @contextlib.asynccontextmanager
    async def _kept(self, delivery: Delivery) -> AsyncIterator[None]:
        """Says again and again that the message is at work, so that no other node is given it meanwhile."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(self._config.ack_wait_s / _KEEPS_PER_WAIT)
                try:
                    await delivery.keep()
                except OnexError as error:
                    # Another node may be given it, which does no harm: the order is the same.
                    log.info("a message could not be kept", subscription=self._parts.name, why=error.message)

        keeper = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    def _count(self, outcome: str) -> None:
        setattr(self.tally, outcome, getattr(self.tally, outcome) + 1)

    def _record(self, facts: _Facts, started_at_s: float, duration_s: float) -> None:
        parts, event, error = self._parts, facts.event, facts.error
        reason = error.reason if error is not None else ""
        parts.observer.observe(f"subscription:{parts.name}", duration_s, reason)
        parts.audit.add(
            AuditRecord(
                started_at_s=started_at_s,
                node=parts.node,
                target=self._config.target,
                effect_type=EFFECT_TYPE,
                operation=f"{parts.name}: {parts.mapping.label}",
                correlation_id=event.correlation_id if event is not None else "",
                workflow_id=facts.order.workflow_id if facts.order is not None else "",
                step_id="",
                idempotency_key=f"{event.source} {event.id}" if event is not None else facts.delivery.place,
                fencing_token=0,
                attempts=facts.delivery.deliveries,
                outcome=facts.outcome,
                reason=reason,
                message=error.message[:_TEXT_CHARS_MAX] if error is not None else "",
                duration_s=duration_s,
            )
        )


def is_temporary(error: OnexError) -> bool:
    """Whether the same message may be taken later as it is; if not, somebody has to look at it."""
    return error.retryable or error.reason in _TEMPORARY

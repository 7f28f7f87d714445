"""Messages of a JetStream stream, through a durable pull consumer that all nodes of the subscription share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from onex_mesh.effect.adapters.dead_letter_file import DeadLetterFile
from onex_mesh.effect.adapters.nats.connection import NatsConnection, NatsLink
from onex_mesh.effect.adapters.nats.failures import translated
from onex_mesh.effect.core.kinds.nats import NatsTarget
from onex_mesh.effect.core.message_ports import Burial, Delivery
from onex_mesh.effect.core.subscription_models import SubscriptionConfig, subject_of
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

log = structlog.get_logger(__name__)

_WAIT_S = 1.0
"""How long the server holds a request for a message; a stop waits for it, so that no message is lost from sight."""
_ANSWER_S = 5.0
_ASKED_MAX = 32
_SERVER_HEADERS = ("nats-", "status", "description")
_CONSUMER_NOT_FOUND = 10_014
_NO_BREAKS = str.maketrans("\r\n", "  ")


class NatsMessages:
    """See `onex_mesh.effect.core.message_ports.MessageSource`."""

    def __init__(self, config: SubscriptionConfig, target: NatsTarget, environment: Mapping[str, str]) -> None:
        self._config = config
        self._target = target
        self._connection = NatsConnection(config.target, target, environment, domain=target.domain, timeout_s=_ANSWER_S)
        letters = config.dead_letters
        self._file = DeadLetterFile(letters.file) if letters.file is not None else None
        self._asked: set[asyncio.Task[Msg | None]] = set()
        self._ready: NatsLink | None = None

    @property
    def target_name(self) -> str:
        """Name of the target."""
        return self._config.target

    async def fetch(self, count: int) -> Sequence[Delivery]:
        """Up to so many messages; waits up to a second for the first."""
        link = await self._connection.link()
        if link is not self._ready:
            await self._ensure_consumer(link)
            self._ready = link
        # A request for each message that can be worked on: a batch would be held back until it is full.
        while len(self._asked) < min(count, _ASKED_MAX):
            self._asked.add(asyncio.create_task(self._ask(link)))
        done, _ = await asyncio.wait(self._asked, return_when=asyncio.FIRST_COMPLETED)
        self._asked -= done
        troubles = [error for task in done if (error := task.exception()) is not None]
        brought = [task.result() for task in done if task.exception() is None]
        messages = [_NatsDelivery(self, link, message) for message in brought if message is not None]
        if troubles and not messages:
            self._ready = None
            raise troubles[0]
        return messages

    async def close(self) -> None:
        """Waits for requests under way, gives back what they bring, and closes the connection."""
        if self._asked:
            done, pending = await asyncio.wait(self._asked, timeout=_WAIT_S * 2)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in done:
                message = task.result() if task.exception() is None else None
                if message is not None:
                    await message.nak()
        await self._connection.close()

    async def _ask(self, link: NatsLink) -> Msg | None:
        """One message; None if there is none now.

        Raises:
            TargetUnavailableError: The server does not answer, or the consumer is gone.
        """
        domain = f".{self._target.domain}" if self._target.domain else ""
        api = f"$JS{domain}.API.CONSUMER.MSG.NEXT.{self._target.stream}.{self._config.durable}"
        request = json.dumps({"batch": 1, "expires": int(_WAIT_S * 1e9)}).encode()
        try:
            with translated(self._config.target, may_repeat=True):
                # In the other style the library tells answers apart by their subject, and messages keep their own.
                asking = link.client.request(api, request, timeout=_WAIT_S * 3, old_style=True)
                message = await link.answered(asking, subject=api)
        except OnexError as error:
            if isinstance(error.__cause__, nats.errors.NoRespondersError):
                raise self._gone() from error
            raise
        status = (message.headers or {}).get("Status", "")
        if not status:
            return message
        description = (message.headers or {}).get("Description", "")
        if status == "409" and "deleted" in description.lower():
            raise self._gone()
        if status not in ("404", "408", "409"):
            raise TargetUnavailableError(f"{self._config.target!r} answered {status} {description}")
        return None

    def _gone(self) -> TargetUnavailableError:
        return TargetUnavailableError(f"{self._config.target!r}: the consumer {self._config.durable!r} is not there")

    async def _ensure_consumer(self, link: NatsLink) -> None:
        """Makes the durable consumer where it is missing, and has it as it is declared.

        Raises:
            OnexError: The stream is not there, or the consumer cannot be what is needed.
        """
        config, stream = self._config, self._target.stream
        wanted = ConsumerConfig(
            name=config.durable,
            durable_name=config.durable,
            deliver_policy=DeliverPolicy.ALL if config.start == "first" else DeliverPolicy.NEW,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=config.ack_wait_s,
            # The server would drop what was delivered too often; here it becomes a dead letter first.
            max_deliver=-1,
            max_ack_pending=config.pending_max,
            filter_subject=subject_of(config, self._target),
        )
        with translated(config.target, may_repeat=True):
            try:
                found = await link.answered(link.jetstream.consumer_info(stream, config.durable))
            except nats.js.errors.NotFoundError as error:
                if error.err_code != _CONSUMER_NOT_FOUND:
                    raise
                await link.answered(link.jetstream.add_consumer(stream, wanted))
                log.info("made a durable consumer", target=config.target, stream=stream, durable=config.durable)
                return
            present = found.config
            if present.deliver_subject or present.ack_policy != AckPolicy.EXPLICIT:
                raise EffectFailedError(
                    f"{config.target!r}: the consumer {config.durable!r} does not pull with explicit acknowledgements"
                )
            changed = {
                name: getattr(wanted, name)
                for name in ("ack_wait", "max_ack_pending", "max_deliver", "filter_subject")
                if getattr(wanted, name) != getattr(present, name)
            }
            if changed:
                await link.answered(link.jetstream.add_consumer(stream, present.evolve(**changed)))
                log.info("changed a durable consumer", target=config.target, durable=config.durable, what=list(changed))

    async def bury(self, delivery: _NatsDelivery, burial: Burial) -> None:
        """Puts a message where dead letters go."""
        if self._file is not None:
            headers, body = delivery.headers, delivery.body
            await self._file.append(burial, place=delivery.place, headers=headers, body=body)
            return
        subject = self._config.dead_letters.subject
        assert subject is not None
        headers = {
            name: value for name, value in delivery.headers.items() if not name.lower().startswith(_SERVER_HEADERS)
        }
        headers.update(
            {
                "Nats-Msg-Id": f"{self._config.durable} {delivery.place}",
                "Onex-Subscription": burial.subscription,
                "Onex-Reason": burial.reason,
                "Onex-Message": burial.message.translate(_NO_BREAKS),
                "Onex-Place": delivery.place,
                "Onex-Deliveries": str(burial.deliveries),
            }
        )
        with translated(self._config.target, may_repeat=True):
            link = await self._connection.link()
            publishing = link.jetstream.publish(subject, delivery.body, headers=headers)
            await link.answered(publishing, subject=subject)


@dataclass(frozen=True, slots=True)
class _NatsDelivery:
    """See `onex_mesh.effect.core.message_ports.Delivery`."""

    source: NatsMessages
    link: NatsLink
    message: Msg

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self.message.headers or {})

    @property
    def body(self) -> bytes:
        return self.message.data

    @property
    def place(self) -> str:
        facts = self.message.metadata
        return f"{facts.stream}:{facts.sequence.stream}"

    @property
    def deliveries(self) -> int:
        return self.message.metadata.num_delivered

    async def acknowledge(self) -> None:
        with translated(self.source.target_name, may_repeat=True):
            # Answered by the server: an acknowledgement that is lost on its way has the message come again.
            await self.link.answered(self.message.ack_sync(timeout=_ANSWER_S))

    async def return_later(self, delay_s: float) -> None:
        with translated(self.source.target_name, may_repeat=True):
            await self.message.nak(delay=delay_s)

    async def keep(self) -> None:
        with translated(self.source.target_name, may_repeat=True):
            await self.message.in_progress()

    async def bury(self, burial: Burial) -> None:
        await self.source.bury(self, burial)
        await self.acknowledge()

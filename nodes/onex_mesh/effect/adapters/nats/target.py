"""JetStream streams as targets: each message once by its id, published when the stream has acknowledged it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog
from nats.js.api import PubAck
from nats.js.errors import NoStreamResponseError

from onex_mesh.effect.adapters.messages import Message, check_message
from onex_mesh.effect.adapters.nats.connection import NatsConnection, NatsLink
from onex_mesh.effect.adapters.nats.failures import translated
from onex_mesh.effect.adapters.nats.streams import find_stream
from onex_mesh.effect.adapters.nats.subjects import subject_of
from onex_mesh.effect.core.kinds.nats import NatsTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json

log = structlog.get_logger(__name__)

MESSAGE_ID = "Nats-Msg-Id"


class NatsAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: NatsTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._connection = NatsConnection(
            name, target, environment, domain=target.domain, timeout_s=target.limits.timeout_s
        )
        self._preparing = asyncio.Lock()
        self._is_ready = False

    async def start(self) -> None:
        """Looks for the stream, or makes it. Servers that are down are tried again at the first effect.

        Raises:
            ValidationError: The servers refuse the credentials, or the stream is missing or takes other subjects.
        """
        try:
            async with asyncio.timeout(self._target.limits.timeout_s):
                await self._ready_link()
        except (TargetUnavailableError, TimeoutError) as error:
            log.warning("a NATS target is not available yet", target=self._name, why=str(error))
        except EffectFailedError as error:
            await self._connection.close()
            raise ValidationError(f"target {self._name!r}: {error.message}") from error

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks the message and where it goes."""
        message = check_message(request, self._target, size_bytes_max=self._target.limits.size_bytes, has_topics=True)
        subject = subject_of(message, self._target)
        has_ledger = self._target.ledger and bool(request.context.idempotency_key)

        async def publish(context: EffectContext) -> EffectValue:
            # The outcome of an attempt may be unknown: the id is the same for all attempts at one request.
            acknowledged = await self._publish(message, subject)
            result: dict[str, Json] = {
                "event_id": message.event.id,
                "event_type": message.event.type,
                "subject": subject,
                "stream": acknowledged.stream,
                "sequence": acknowledged.seq,
            }
            # Without a key the id is this request's own, and so is the message that the stream had already.
            return EffectValue(result, replayed=bool(acknowledged.duplicate and context.idempotency_key))

        return EffectPlan(
            run=publish,
            operation=f"publish {message.event.type}",
            once=Once.BY_LEDGER if has_ledger else Once.BY_TARGET,
            is_idempotent=True,
        )

    async def check(self) -> None:
        """Asks for the stream."""
        link = await self._ready_link()
        with translated(self._name, may_repeat=True):
            await link.answered(find_stream(link.jetstream, self._target))

    async def stop(self) -> None:
        """Closes the connection."""
        await self._connection.close()

    async def _publish(self, message: Message, subject: str) -> PubAck:
        link = await self._ready_link()
        headers = {**message.encoded.headers, MESSAGE_ID: message.event.id}
        publishing = link.jetstream.publish(subject, message.encoded.body, stream=self._target.stream, headers=headers)
        try:
            with translated(self._name, may_repeat=True):
                return await link.answered(publishing, subject=subject)
        except TargetUnavailableError as error:
            if isinstance(error.__cause__, NoStreamResponseError) and self._target.create is not None:
                # A stream in memory goes with its server; the next attempt makes it anew.
                self._is_ready = False
            raise

    async def _ready_link(self) -> NatsLink:
        """The connection to servers that were found to have the stream."""
        link = await self._connection.link()
        if self._is_ready:
            return link
        async with self._preparing:
            if not self._is_ready:
                with translated(self._name, may_repeat=True):
                    await link.answered(find_stream(link.jetstream, self._target, make=True))
                self._is_ready = True
        return link

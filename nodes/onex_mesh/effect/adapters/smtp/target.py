"""Mail servers as targets: connections that are kept for a while, and what their answers mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.utils import parseaddr

import aiosmtplib

from onex_mesh.effect.adapters.smtp.message import (
    Notification,
    check_notification,
    compose,
    require_sender,
)
from onex_mesh.effect.adapters.smtp.templates import MailTemplates, RenderedMail
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json

_IDLE_MAX_S = 30.0
_ANSWER_CHARS_MAX = 300


class SmtpAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: SmtpTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        self._password = read_secret(name, target.password_env, target.password_file, environment)
        try:
            require_sender(target)
            self._templates = MailTemplates(target.templates, size_bytes_max=target.limits.size_bytes)
        except ValidationError as error:
            raise ValidationError(f"target {name!r}: {error.message}", violations=error.violations) from error
        self._idle: list[tuple[aiosmtplib.SMTP, float]] = []

    async def start(self) -> None:
        """Nothing: connections are made as they are needed."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks recipients and data, and renders the mail."""
        given = check_notification(request, self._target)
        mail = self._templates.render(given.template, given.data)
        return EffectPlan(
            run=lambda context: self._notify(given, mail, context),
            operation=f"mail {given.template}",
            once=Once.BY_LEDGER,
        )

    async def check(self) -> None:
        """Greets the server."""
        async with self._errors(), self._connection() as client:
            await client.noop()

    async def stop(self) -> None:
        """Says goodbye on all connections."""
        while self._idle:
            client, _ = self._idle.pop()
            await self._goodbye(client)

    async def _notify(self, given: Notification, mail: RenderedMail, context: EffectContext) -> EffectValue:
        message = compose(given, mail, self._target, context)
        # A connection that breaks while a mail is sent leaves open whether the mail was taken. With a key the repeat
        # has the same Message-ID.
        async with self._errors(may_repeat=bool(context.idempotency_key)), self._connection() as client:
            refused = await self._send(client, message, given.recipients)
        result: dict[str, Json] = {"message_id": str(message["Message-ID"]), "accepted": len(given.recipients)}
        if refused:
            result["accepted"] = len(given.recipients) - len(refused)
            result["refused"] = {**refused}
        return EffectValue(result)

    async def _send(self, client: aiosmtplib.SMTP, message: EmailMessage, recipients: list[str]) -> dict[str, str]:
        """Sends; returns the recipients that the server refused while it took others, with its words."""
        answers, _ = await client.send_message(message, sender=parseaddr(self._target.sender)[1], recipients=recipients)
        return {address: f"{answer.code} {answer.message}"[:_ANSWER_CHARS_MAX] for address, answer in answers.items()}

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection of the pool; it goes back only if nothing went wrong on it."""
        client = await self._idle_one() or await self._connect()
        try:
            yield client
        except BaseException:
            client.close()
            raise
        self._idle.append((client, time.monotonic()))

    async def _idle_one(self) -> aiosmtplib.SMTP | None:
        while self._idle:
            client, since = self._idle.pop()
            if time.monotonic() - since < _IDLE_MAX_S and client.is_connected:
                try:
                    await client.rset()
                except aiosmtplib.SMTPException:
                    client.close()
                    continue
                return client
            client.close()
        return None

    async def _connect(self) -> aiosmtplib.SMTP:
        target = self._target
        client = aiosmtplib.SMTP(
            hostname=target.host,
            port=target.port,
            timeout=target.limits.timeout_s,
            use_tls=target.tls == "implicit",
            start_tls={"starttls": True, "opportunistic": None}.get(target.tls, False),
            username=target.username,
            password=self._password.value if self._password is not None else None,
        )
        try:
            async with self._errors():
                await client.connect()
        except BaseException:
            client.close()
            raise
        return client

    async def _goodbye(self, client: aiosmtplib.SMTP) -> None:
        try:
            async with asyncio.timeout(1.0):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            # The server may be gone already; its side of the connection ends in any case.
            client.close()

    @asynccontextmanager
    async def _errors(self, *, may_repeat: bool = True) -> AsyncIterator[None]:
        """Errors of the mail server as those of the mesh: 4xx and broken connections pass (RFC 5321, section 4.2.1)."""
        try:
            yield
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refusal.code for refusal in error.recipients]
            words = "; ".join(f"{refusal.code} {refusal.message}" for refusal in error.recipients)
            raise self._answered(min(codes, default=550), words) from error
        except aiosmtplib.SMTPAuthenticationError as error:
            raise EffectFailedError(
                f"{self._name!r} refused the credentials: {error.code}", error_context={"target": self._name}
            ) from error
        except aiosmtplib.SMTPResponseException as error:
            raise self._answered(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            unavailable = TargetUnavailableError(
                f"mail server {self._name!r} cannot be reached or broke off: {type(error).__name__}",
                error_context={"target": self._name},
            )
            unavailable.retryable = may_repeat
            raise unavailable from error

    def _answered(self, code: int, words: str) -> OnexError:
        context: dict[str, object] = {"target": self._name, "smtp_code": code}
        text = f"{self._name!r} answered {code} {words}"[:_ANSWER_CHARS_MAX]
        kind = TargetUnavailableError if 400 <= code < 500 else EffectFailedError
        return kind(text, error_context=context)

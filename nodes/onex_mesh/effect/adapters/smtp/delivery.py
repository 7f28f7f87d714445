"""One mail on its way to its recipients, over several attempts: who has it, who will not get it, who is left."""

from __future__ import annotations

from email.message import EmailMessage

import aiosmtplib

from onex_mesh.effect.adapters.smtp.addresses import Mailbox
from onex_mesh.effect.adapters.smtp.answers import SERVICE_CLOSING, Answer, smtp_errors
from onex_mesh.effect.core.request import EffectValue
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TemporarilyRefusedError
from onex_mesh.runtime.payload import Json


class Delivery:
    """See the module.

    Args:
        target: Name of the target.
        message: The mail.
        content: The same as bytes.
        sender: Whom the server is to tell of what it cannot deliver.
        recipients: Who gets it.
        has_key: Whether the mail may go out again where it is unknown if the server took it.
    """

    def __init__(
        self,
        target: str,
        message: EmailMessage,
        content: bytes,
        sender: Mailbox,
        recipients: list[Mailbox],
        *,
        has_key: bool,
    ) -> None:
        self._target = target
        self._message_id = str(message["Message-ID"])
        self._content = content
        self._sender = sender
        self._left = recipients
        self._has_key = has_key
        self._accepted = 0
        self._refused: dict[str, Answer] = {}
        self._unknown: set[str] = set()
        """Who may have it: the connection broke after the mail was written."""

    async def attempt(self, client: aiosmtplib.SMTP) -> EffectValue:
        """Offers the mail to those that are left.

        Raises:
            TemporarilyRefusedError: Some of them are refused for now.
            TargetUnavailableError: The server does not take the mail now, or broke off.
            EffectFailedError: It will take it for none of them.
        """
        needs_utf8 = any(row.needs_utf8 for row in (*self._left, self._sender))
        encoding = "utf-8" if needs_utf8 else "ascii"
        if needs_utf8 and not client.supports_extension("smtputf8"):
            raise EffectFailedError(
                f"mail server {self._target!r} takes no international addresses (SMTPUTF8)",
                error_context={"target": self._target},
            )
        with smtp_errors(self._target):
            await client.mail(self._sender.address, options=self._options(client, needs_utf8), encoding=encoding)
            answers = {row: await self._offer(client, row, encoding) for row in self._left}
        taken = [row for row, answer in answers.items() if answer is None]
        for row, answer in answers.items():
            if answer is None:
                self._refused.pop(row.address, None)
            else:
                self._refused[row.address] = answer
        self._left = [row for row in self._left if row in taken or self._refused[row.address].is_temporary]
        if taken:
            await self._transmit(client, taken)
        else:
            with smtp_errors(self._target):
                await client.rset()
        if self._left:
            raise TemporarilyRefusedError(
                f"{self._target!r} refuses {len(self._left)} of the recipients for now: {self._first(temporary=True)}",
                error_context=self._facts(),
            )
        if not self._accepted:
            raise EffectFailedError(
                f"{self._target!r} refuses all recipients: {self._first(temporary=False)}", error_context=self._facts()
            )
        return self._value()

    async def _transmit(self, client: aiosmtplib.SMTP, taken: list[Mailbox]) -> None:
        """The mail itself, to those whom the server has taken."""
        addresses = [row.address for row in taken]
        # From here on the server may have taken the mail even if it does not say so any more.
        self._unknown.update(addresses)
        try:
            with smtp_errors(self._target, may_repeat=self._has_key):
                await client.data(self._content)
        except OnexError as error:
            code = error.error_context.get("smtp_code")
            if isinstance(code, int):
                self._unknown.difference_update(addresses)
                answer = Answer(code, error.message)
                self._refused.update(dict.fromkeys(addresses, answer))
            raise
        self._unknown.difference_update(addresses)
        self._accepted += len(taken)
        self._left = [row for row in self._left if row not in taken]

    def settle(self) -> EffectValue | None:
        """What there is to say once no attempt is made any more: None if nobody has got the mail."""
        return self._value() if self._accepted else None

    def _value(self) -> EffectValue:
        result: dict[str, Json] = {"message_id": self._message_id, "accepted": self._accepted}
        if self._refused:
            result["refused"] = {**self._words()}
        if self._unknown:
            result["unknown"] = [*sorted(self._unknown)]
        return EffectValue(result)

    def _words(self) -> dict[str, str]:
        return {address: str(answer) for address, answer in self._refused.items()}

    def _first(self, *, temporary: bool) -> Answer:
        return next(answer for answer in self._refused.values() if answer.is_temporary == temporary)

    def _facts(self) -> dict[str, object]:
        code = self._first(temporary=bool(self._left)).code
        return {"target": self._target, "smtp_code": code, "refused": self._words()}

    def _options(self, client: aiosmtplib.SMTP, needs_utf8: bool) -> list[str]:
        options = [f"SIZE={len(self._content)}"] if client.supports_extension("size") else []
        return [*options, "SMTPUTF8"] if needs_utf8 else options

    async def _offer(self, client: aiosmtplib.SMTP, row: Mailbox, encoding: str) -> Answer | None:
        try:
            await client.rcpt(row.address, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            if error.code == SERVICE_CLOSING:
                # Not about this recipient: the connection is over.
                raise
            return Answer.of(error.code, error.message)
        return None

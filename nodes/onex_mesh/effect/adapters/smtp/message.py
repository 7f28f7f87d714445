"""Notifications as mails: headers from checked parts only, the Message-ID derived from the key (R90)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from onex_mesh.effect.adapters.http.parameters import header_text
from onex_mesh.effect.adapters.smtp.addresses import Mailbox, unique
from onex_mesh.effect.adapters.smtp.parameters import MailRules, Notification
from onex_mesh.effect.adapters.smtp.templates import RenderedMail
from onex_mesh.effect.adapters.templating.folder import refused
from onex_mesh.effect.core.request import EffectContext


def compose(given: Notification, mail: RenderedMail, rules: MailRules, context: EffectContext) -> EmailMessage:
    """The message. The same key gives the same Message-ID, so that mailboxes recognise a repeat.

    Raises:
        ValidationError: The mail cannot be encoded.
    """
    everyone = [*given.recipients, *given.reply_to, rules.sender]
    # 7bit: servers without 8BITMIME need no second form. Only international addresses need raw UTF-8, in headers.
    policy = SMTPUTF8 if any(row.needs_utf8 for row in everyone) else SMTP
    message = EmailMessage(policy=policy.clone(cte_type="7bit"))
    try:
        message["From"] = rules.sender.header()
        message["To"] = _headers(given.to)
        if given.cc:
            message["Cc"] = _headers(given.cc)
        reply_to = given.reply_to or ([rules.reply_to] if rules.reply_to is not None else [])
        if reply_to:
            message["Reply-To"] = _headers(reply_to)
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = message_id(context.idempotency_key, rules.sender)
        message["Auto-Submitted"] = "auto-generated"
        if context.correlation_id:
            message["X-Correlation-ID"] = header_text(context.correlation_id)
        message.set_content(mail.text.lstrip("\n"))
        if mail.html is not None:
            message.add_alternative(mail.html, subtype="html")
        for file in given.attachments:
            maintype, _, subtype = file.content_type.partition("/")
            message.add_attachment(file.content, maintype=maintype, subtype=subtype, filename=file.name)
    except (MessageError, ValueError, UnicodeError) as error:
        raise refused("data", f"cannot be made a mail: {error}") from error
    return message


def to_bytes(message: EmailMessage) -> bytes:
    """The mail as it is sent.

    Raises:
        ValidationError: It cannot be encoded.
    """
    try:
        return message.as_bytes()
    except (MessageError, ValueError, UnicodeError) as error:
        raise refused("data", f"cannot be made a mail: {type(error).__name__}") from error


def message_id(key: str, sender: Mailbox) -> str:
    """The Message-ID of a key; a random one without a key."""
    unique = hashlib.sha256(key.encode()).hexdigest()[:40] if key else uuid.uuid4().hex
    return f"<{unique}@{sender.domain}>"


def _headers(mailboxes: Sequence[Mailbox]) -> list[Address]:
    return [row.header() for row in unique(mailboxes)]

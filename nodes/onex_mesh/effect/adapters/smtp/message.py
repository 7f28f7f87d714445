"""Notifications as mails: parameters checked, headers safe, the Message-ID derived from the key (R90)."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

import pydantic

from onex_mesh.effect.adapters.http.parameters import header_text
from onex_mesh.effect.adapters.smtp.templates import RenderedMail
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.effect.core.request import EffectContext, EffectRequest
from onex_mesh.runtime.errors import ValidationError

# RFC 5321: a dot-string local part, a domain of labels. Quoted local parts and address literals are refused.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_ADDRESS_CHARS_MAX = 254


class Notification(pydantic.BaseModel):
    """Parameters of a notification."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    template: str
    to: str | list[str]
    cc: list[str] = []
    data: dict[str, pydantic.JsonValue] = {}

    @property
    def recipients(self) -> list[str]:
        """All addresses, each once."""
        to = [self.to] if isinstance(self.to, str) else self.to
        return list(dict.fromkeys([*to, *self.cc]))


def check_notification(request: EffectRequest, target: SmtpTarget) -> Notification:
    """The notification that a request asks for; its template is not looked at yet.

    Raises:
        ValidationError: All that is wrong with it.
    """
    try:
        given = Notification.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    found: list[tuple[str, str]] = []
    if not given.recipients:
        found.append(("to", "is empty"))
    if len(given.recipients) > target.recipients_max:
        found.append(("to", f"{len(given.recipients)} recipients are more than {target.recipients_max}"))
    domains = {domain.lower() for domain in target.recipient_domains}
    for address in given.recipients:
        if len(address) > _ADDRESS_CHARS_MAX or not _ADDRESS.fullmatch(address):
            found.append(("to", f"{address[:100]!r} is not a plain mail address"))
        elif domains and address.rpartition("@")[2].lower() not in domains:
            found.append(("to", f"{address!r} is outside of the domains that this target allows"))
    if request.has_body:
        found.append(("body", "a notification has none"))
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    return given


def compose(given: Notification, mail: RenderedMail, target: SmtpTarget, context: EffectContext) -> EmailMessage:
    """The message. The same key gives the same Message-ID, so that mailboxes recognise a repeat.

    Raises:
        ValidationError: The mail cannot be encoded.
    """
    message = EmailMessage(policy=SMTP)
    name, sender = parseaddr(target.sender)
    try:
        message["From"] = Address(name, addr_spec=sender)
        message["To"] = ", ".join([given.to] if isinstance(given.to, str) else given.to)
        if given.cc:
            message["Cc"] = ", ".join(given.cc)
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = message_id(context.idempotency_key, sender)
        message["Auto-Submitted"] = "auto-generated"
        if context.correlation_id:
            message["X-Correlation-ID"] = header_text(context.correlation_id)
        message.set_content(mail.text.lstrip("\n"))
        if mail.html is not None:
            message.add_alternative(mail.html, subtype="html")
    except (MessageError, ValueError, UnicodeError) as error:
        text = f"cannot be made a mail: {error}"
        raise ValidationError(f"data: {text}", violations=(("data", text),)) from error
    return message


def message_id(key: str, sender: str) -> str:
    """The Message-ID of a key; a random one without a key."""
    unique = hashlib.sha256(key.encode()).hexdigest()[:40] if key else uuid.uuid4().hex
    return f"<{unique}@{sender.rpartition('@')[2]}>"


def require_sender(target: SmtpTarget) -> None:
    """Refuses a sender that is no address.

    Raises:
        ValidationError: It is not.
    """
    if not _ADDRESS.fullmatch(parseaddr(target.sender)[1]):
        text = "is not an address"
        raise ValidationError(f"sender: {target.sender!r} {text}", violations=(("sender", text),))

"""Parameters of a notification by mail: who may get it, what it may carry (R18, R90)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic

from onex_mesh.effect.adapters.smtp.addresses import Mailbox, ascii_domain, read_mailbox, read_sender, unique
from onex_mesh.effect.adapters.templating.data import Data
from onex_mesh.effect.adapters.templating.folder import has_controls, refused
from onex_mesh.effect.core.custom import refused as refused_by_model
from onex_mesh.effect.core.kinds.smtp import EVERYONE, SmtpTarget
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError

_FILE_NAME_CHARS_MAX = 100
_Violation = tuple[str, str]


class _Given(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class GivenAddress(_Given):
    """An address as a contract gives it."""

    address: str
    name: str = ""


class GivenFile(_Given):
    """An attachment as a contract gives it."""

    name: str
    content_type: str
    content: str
    """Base64."""


def _as_list(value: object) -> object:
    """One address, or a list of them, plain or with a name."""
    items = value if isinstance(value, list) else [value]
    return [{"address": item} if isinstance(item, str) else item for item in items]


_Addresses = Annotated[list[GivenAddress], pydantic.BeforeValidator(_as_list)]


class GivenNotification(_Given):
    """The parameters as they came."""

    template: str
    to: _Addresses
    cc: _Addresses = []
    bcc: _Addresses = []
    reply_to: _Addresses = []
    attachments: list[GivenFile] = []
    data: Data = {}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that its target takes."""

    given: GivenNotification
    to: Sequence[Mailbox]
    cc: Sequence[Mailbox]
    bcc: Sequence[Mailbox]
    reply_to: Sequence[Mailbox]
    attachments: Sequence[Attachment]

    @property
    def recipients(self) -> list[Mailbox]:
        """All that get it, each once."""
        return unique((*self.to, *self.cc, *self.bcc))

    @property
    def size_bytes(self) -> int:
        """Of the attachments."""
        return sum(len(file.content) for file in self.attachments)


@dataclass(frozen=True, slots=True)
class MailRules:
    """What a target allows, with its domains in their comparable form.

    Raises:
        ValueError: The declaration has an address or a domain that is none; the text names it.
    """

    target: SmtpTarget
    sender: Mailbox
    reply_to: Mailbox | None
    recipient_domains: frozenset[str] | None
    """None: everyone."""
    reply_to_domains: frozenset[str]

    @classmethod
    def of(cls, target: SmtpTarget) -> MailRules:
        """The rules of a declaration."""
        sender = _declared("sender", target.sender)
        return cls(
            target,
            sender,
            None if target.reply_to is None else _declared("reply_to", target.reply_to),
            None if EVERYONE in target.recipient_domains else _domains("recipient_domains", target.recipient_domains),
            _domains("reply_to_domains", target.reply_to_domains) or frozenset({sender.domain}),
        )

    def check(self, request: EffectRequest) -> Notification:
        """The notification that a request asks for; its template is not looked at yet.

        Raises:
            ValidationError: All that is wrong with it.
            PayloadTooLargeError: Its attachments are larger than the target takes.
        """
        try:
            given = GivenNotification.model_validate(request.parameters)
        except pydantic.ValidationError as error:
            raise refused_by_model(error, "") from error
        found: list[_Violation] = []
        to = list(self._mailboxes("to", given.to, self.recipient_domains, found))
        cc = list(self._mailboxes("cc", given.cc, self.recipient_domains, found))
        bcc = list(self._mailboxes("bcc", given.bcc, self.recipient_domains, found))
        reply_to = list(self._mailboxes("reply_to", given.reply_to, self.reply_to_domains, found))
        notification = Notification(given, to, cc, bcc, reply_to, list(self._files(given, found)))
        count = len(given.to) + len(given.cc) + len(given.bcc)
        if not given.to:
            found.append(("to", "is empty"))
        if count > self.target.recipients_max:
            found.append(("to", f"{count} recipients are more than {self.target.recipients_max}"))
        found.extend(self._not_allowed(given))
        if request.has_body:
            found.append(("body", "a notification has none"))
        if found:
            raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
        return notification

    def _not_allowed(self, given: GivenNotification) -> Iterator[_Violation]:
        fields: dict[Literal["cc", "bcc", "reply_to"], object] = {
            "cc": given.cc,
            "bcc": given.bcc,
            "reply_to": given.reply_to,
        }
        for field, value in fields.items():
            if value and field not in self.target.allow:
                yield field, "this target does not allow it"
        if given.attachments and self.target.attachments is None:
            yield "attachments", "this target takes none"

    def _mailboxes(
        self, field: str, given: Iterable[GivenAddress], domains: frozenset[str] | None, found: list[_Violation]
    ) -> Iterator[Mailbox]:
        for row in given:
            try:
                mailbox = read_mailbox(row.address, row.name)
            except ValueError as error:
                found.append((field, str(error)))
                continue
            if domains is not None and mailbox.domain not in domains:
                found.append((field, f"{row.address!r} is outside of the domains that this target allows"))
            yield mailbox

    def _files(self, given: GivenNotification, found: list[_Violation]) -> Iterator[Attachment]:
        allowed = self.target.attachments
        if allowed is None:
            return
        if len(given.attachments) > allowed.count_max:
            found.append(("attachments", f"{len(given.attachments)} are more than {allowed.count_max}"))
        size_max = self.target.limits.size_bytes
        if sum(len(file.content) for file in given.attachments) * 3 // 4 > size_max:
            raise PayloadTooLargeError(
                f"attachments of more than {size_max} bytes", error_context={"size_bytes_max": size_max}
            )
        for index, file in enumerate(given.attachments):
            if not _is_file_name(file.name):
                found.append((f"attachments.{index}.name", "is not the plain name of a file"))
            if file.content_type not in allowed.types:
                listed = ", ".join(allowed.types)
                found.append((f"attachments.{index}.content_type", f"{file.content_type[:100]!r} is not {listed}"))
            try:
                yield Attachment(file.name, file.content_type, base64.b64decode(file.content, validate=True))
            except (binascii.Error, ValueError):
                found.append((f"attachments.{index}.content", "is not base64"))


def _is_file_name(name: str) -> bool:
    return (
        0 < len(name) <= _FILE_NAME_CHARS_MAX
        and not has_controls(name)
        and name.isprintable()
        and not set(name) & set('/\\:"')
        and name.strip(". ") == name
    )


def _declared(field: str, text: str) -> Mailbox:
    try:
        return read_sender(text)
    except ValueError as error:
        raise refused(field, str(error)) from error


def _domains(field: str, names: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for name in names:
        try:
            found.add(ascii_domain(name))
        except ValueError as error:
            raise refused(field, f"{name!r}: {error}") from error
    return frozenset(found)

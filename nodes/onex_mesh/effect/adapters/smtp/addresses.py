"""Mail addresses: plain ones only, domains in the form in which DNS knows them, so that they compare truly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address
from email.utils import parseaddr

from onex_mesh.effect.adapters.templating.folder import has_controls

# RFC 5321: a dot-string local part; a domain of labels. Quoted local parts, comments, address literals and lists are
# refused, and so are '!' and '%', by which old mail servers route on to other hosts.
_ATOM = r"[A-Za-z0-9#$&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_DOMAIN = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*(?![0-9]+$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_ADDRESS_BYTES_MAX = 254
_LOCAL_BYTES_MAX = 64
_NAME_CHARS_MAX = 100


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address, and the name that is shown with it."""

    local: str
    domain: str
    """In lower case and ASCII: xn--… where it is an international one."""
    name: str = ""

    @property
    def address(self) -> str:
        """local@domain."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether only servers with SMTPUTF8 (RFC 6531) take it."""
        return not self.local.isascii()

    def header(self) -> Address:
        """As a header field shows it."""
        return Address(self.name, self.local, self.domain)


def unique(mailboxes: Iterable[Mailbox]) -> list[Mailbox]:
    """Each address once, as it comes first."""
    found: dict[str, Mailbox] = {}
    for row in mailboxes:
        found.setdefault(row.address, row)
    return list(found.values())


def read_mailbox(address: str, name: str = "") -> Mailbox:
    """The mailbox of an address.

    Raises:
        ValueError: It is not a plain address, or the name cannot stand in a header; the text says which.
    """
    shown = repr(address[:100])
    local, at, domain = address.rpartition("@")
    if not at or len(address.encode(errors="replace")) > _ADDRESS_BYTES_MAX:
        raise ValueError(f"{shown} is not a plain mail address")
    if len(local.encode(errors="replace")) > _LOCAL_BYTES_MAX or not _is_local(local):
        raise ValueError(f"{shown} is not a plain mail address: what stands before the '@'")
    if len(name) > _NAME_CHARS_MAX or any(_is_invisible(letter) for letter in name):
        raise ValueError(f"the name shown with {shown} is too long or has control characters")
    if has_controls(name):
        raise ValueError(f"the name shown with {shown} has line breaks")
    try:
        return Mailbox(local, ascii_domain(domain), name.strip())
    except ValueError as error:
        raise ValueError(f"{shown} is not a plain mail address: {error}") from error


def read_sender(text: str) -> Mailbox:
    """The mailbox of an operator's "Name <user@domain>".

    Raises:
        ValueError: It is not one.
    """
    name, address = parseaddr(text)
    if not address:
        raise ValueError(f"{text!r} is not an address")
    return read_mailbox(address, name)


def ascii_domain(domain: str) -> str:
    """A domain as DNS knows it: lower case, international labels as xn--….

    A name that the conversion would change into another one is refused: full-width letters, other full stops, 'ß' and
    whatever else two standards or two readers could take for different hosts.

    Raises:
        ValueError: It is not a domain.
    """
    if len(domain) > 253:
        raise ValueError("the domain is too long")
    lowered = domain.lower()
    if not lowered.isascii():
        try:
            converted = lowered.encode("idna").decode("ascii")
            if converted.encode("ascii").decode("idna") != lowered:
                raise ValueError("the domain is not in its plain form")
        except UnicodeError as error:
            raise ValueError("the domain is not an international one that can be looked up") from error
        lowered = converted
    if not _DOMAIN.fullmatch(lowered):
        raise ValueError("the domain is not one")
    return lowered


def _is_invisible(letter: str) -> bool:
    # Joiners are part of names in several scripts.
    return unicodedata.category(letter)[0] == "C" and letter not in "\u200c\u200d"


def _is_local(local: str) -> bool:
    if local.isascii():
        return _LOCAL.fullmatch(local) is not None
    # RFC 6531 lets in all of Unicode. Blanks, invisible and unassigned characters are no one's name.
    if unicodedata.normalize("NFC", local) != local:
        return False
    if any(unicodedata.category(letter)[0] in "CZ" for letter in local):
        return False
    return _LOCAL.fullmatch("".join(letter if letter.isascii() else "x" for letter in local)) is not None

"""A real mail server on loopback that keeps what it is sent, and misbehaves as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.effect_engine import MemoryLedger, World, effect_world

CERTIFICATES = Path(__file__).parent / "integration" / "certificates"
CA_FILE = CERTIFICATES / "ca.pem"


@dataclass(slots=True)
class Mailbox:
    """What a server was sent, and how it is to answer."""

    mails: list[EmailMessage] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    """Of each mail: who was to get it."""
    answers: list[str] = field(default_factory=list)
    """To the next mails; 250 when none is left."""
    mail_from_answers: list[str] = field(default_factory=list)
    """To the next MAIL FROM, likewise."""
    recipient_answers: dict[str, list[str]] = field(default_factory=dict)
    """To the next RCPT TO of an address, likewise."""
    refused: set[str] = field(default_factory=set)
    """Recipients that it never takes."""
    breaks: int = 0
    """How many of the next mails end with a broken connection after they were taken."""
    login_answers: list[AuthResult] = field(default_factory=list)
    """To the next logins, whatever the password."""
    users: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)
    """Of each mail: whether it came through TLS."""
    sessions: list[int] = field(default_factory=list)
    """Of each mail: the connection it came through."""
    hold: asyncio.Event | None = None
    """Mails are answered only once this is set."""
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a mail waits for that."""
    keep_before_hold: bool = True
    """Whether a mail that waits counts as taken."""
    port: int = 0
    commands: list[str] = field(default_factory=list)
    connections: list[SMTP] = field(default_factory=list)

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, argument: str) -> str:
        """Counts."""
        self.commands.append("NOOP")
        return "250 OK"

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes or refuses a sender."""
        if self.mail_from_answers:
            return self.mail_from_answers.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes or refuses a recipient."""
        self.commands.append(f"RCPT {address}")
        if answers := self.recipient_answers.get(address):
            answer = answers.pop(0)
            if not answer.startswith("250"):
                return answer
        if address in self.refused:
            return "550 5.1.1 nobody here of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keeps a mail."""
        if self.answers:
            return self.answers.pop(0)
        if self.hold is not None and not self.keep_before_hold:
            self.holding.set()
            await self.hold.wait()
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.senders.append(str(envelope.mail_from))
        self.recipients.append([str(address) for address in envelope.rcpt_tos])
        self.was_encrypted.append(session.ssl is not None)
        self.sessions.append(id(session))
        if self.hold is not None and self.keep_before_hold:
            self.holding.set()
            await self.hold.wait()
        if self.breaks:
            self.breaks -= 1
            assert server.transport is not None
            server.transport.abort()
        return "250 2.0.0 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        """Compares with `users`."""
        if self.login_answers:
            return self.login_answers.pop(0)
        assert isinstance(data, LoginPassword)
        user, password = data.login.decode(), data.password.decode()
        if self.users.get(user) != password:
            return AuthResult(success=False, handled=False)
        self.logins.append(user)
        return AuthResult(success=True)

    def hang_up(self) -> None:
        """Ends every connection."""
        for one in self.connections:
            if one.transport is not None:
                one.transport.abort()


def server_tls() -> ssl.SSLContext:
    """TLS as 127.0.0.1 and localhost; the authority is CA_FILE."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server-key.pem")
    return context


@asynccontextmanager
async def mail_server(
    box: Mailbox | None = None,
    *,
    tls: str = "none",
    needs_login: bool = False,
    utf8: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
    kind: Callable[..., SMTP] = SMTP,
) -> AsyncGenerator[Mailbox, None]:
    """A mail server on a free loopback port.

    Args:
        box: Where mails go.
        tls: none, starttls or implicit.
        needs_login: Whether it takes mails only after a login.
        utf8: Whether it takes international addresses.
        host: The loopback address.
        port: To begin again where another one was.
        kind: The protocol; a derived one misbehaves more.
    """
    box = box or Mailbox()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            # aiosmtpd sees only TLS that was begun by STARTTLS, and warns of logins without.
            warnings.simplefilter("ignore", UserWarning)
            one = kind(
                box,
                hostname="test",
                loop=loop,
                tls_context=server_tls() if tls == "starttls" else None,
                authenticator=box.authenticate,
                auth_required=needs_login,
                auth_require_tls=tls != "implicit",
                enable_SMTPUTF8=utf8,
            )
        box.connections.append(one)
        return one

    server = await loop.create_server(protocol, host, port, ssl=server_tls() if tls == "implicit" else None)
    box.port = int(server.sockets[0].getsockname()[1])
    try:
        yield box
    finally:
        server.close()
        box.hang_up()
        await server.wait_closed()
        await asyncio.sleep(0)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(talk: Talk) -> AsyncGenerator[int, None]:
    """A server that says what a test writes into its connections; yields its port."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[object]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


def mail_templates(folder: Path) -> Path:
    """Two templates: of an order, with HTML, and one that is filled by `subject` and `text`."""
    templates = folder / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "order_placed.txt.j2").write_text(
        "Subject: Order {{ order_id }} for {{ name }}\n\nHello {{ name }},\n"
        "{% for item in items %}\n- {{ item.what }}: {{ item.pence / 100 }}\n{% endfor %}\n",
        encoding="utf-8",
    )
    (templates / "order_placed.html.j2").write_text("<p>Hello {{ name }}</p>\n", encoding="utf-8")
    (templates / "plain.txt.j2").write_text("Subject: Hi {{ subject|default('') }}\n{{ text }}\n", encoding="utf-8")
    return templates


def mail_world(
    folder: Path, port: int, *, ledger: MemoryLedger | None = None, **settings: str
) -> AbstractAsyncContextManager[World]:
    """An engine with the target `mail`; `settings` are lines of its declaration."""
    mail_templates(folder)
    given = {
        "host": "127.0.0.1",
        "tls": "none",
        "sender": "The Shop <shop@shop.example>",
        "recipient_domains": "['*']",
        "limits": "{timeout_s: 5, size_bytes: 3000}",
        "retry": "{max_retries: 3, initial_backoff_s: 0.01}",
        **settings,
    }
    lines = "".join(f"    {name}: {value}\n" for name, value in given.items())
    text = f"  mail:\n    kind: smtp\n    port: {port}\n    templates: templates\n{lines}"
    return effect_world(folder, text, ledger=ledger)


def plain_mail(**parameters: object) -> tuple[str, str, str, dict[str, object]]:
    """What `World.effect` takes: a mail of the template that is filled by `text`."""
    given = {"template": "plain", "to": "anna@customers.example", "data": {"text": "hello"}, **parameters}
    return "notification", "mail", "", given

"""A mail server for the example: takes every mail over SMTP and keeps it as a file in a folder.

The runner has one of its own. Beside `make dev`, which has none:

    python -m examples.orders.mailbox .run/orders/mailbox
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

from aiosmtpd.smtp import SMTP, Envelope, Session

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class _Keeper:
    """What aiosmtpd hands each mail to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keeps one mail; a second one with the same Message-ID becomes a second file, so that it can be noticed."""
        content = envelope.content
        assert isinstance(content, bytes)
        message_id = str(email.message_from_bytes(content, policy=email.policy.default).get("Message-ID", "mail"))
        name = _UNSAFE.sub("-", message_id.strip("<> ")) or "mail"
        path = self._folder / f"{name}.eml"
        count = 1
        while path.exists():
            count += 1
            path = self._folder / f"{name}-{count}.eml"
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
        return "250 kept"


class Mailbox:
    """The server while it runs; an async context manager.

    Args:
        folder: Where mails are kept; made where it is not there.
        port: Port on the loopback interface; 0 for a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = folder
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    async def __aenter__(self) -> Mailbox:
        self._folder.mkdir(parents=True, exist_ok=True)
        keeper = _Keeper(self._folder)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(keeper, loop=loop, enable_SMTPUTF8=True), host="127.0.0.1", port=self._port
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was kept."""

    path: Path
    to: str
    subject: str
    body: str


def read_mails(folder: Path) -> Iterator[Mail]:
    """The mails in a folder, by name."""
    for path in sorted(folder.glob("*.eml")):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        part = message.get_body(("plain",))
        yield Mail(
            path=path,
            to=str(message.get("To", "")),
            subject=str(message.get("Subject", "")),
            body=str(part.get_content()) if part is not None else "",
        )


async def _serve(folder: Path, port: int) -> None:
    async with Mailbox(folder, port) as mailbox:
        print(f"mails to 127.0.0.1:{mailbox.port} are kept in {folder}; Ctrl-C stops it", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.orders.mailbox", description="Keeps every mail as a file.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=2525, help="default 2525, as in targets.yaml")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(given.folder, given.port))

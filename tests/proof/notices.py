"""Mails and notices: those that arrived are counted; repeats of a mail have the same Message-ID."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

from onex.v1 import intent_pb2
from tests.http_server import Exchange, HttpServer
from tests.mail_server import Mailbox, mail_server, mail_templates
from tests.proof.case import Counts, NetworkCase, Stage


class MailCase(NetworkCase):
    """A mail server."""

    name = "mail"
    effect_type = "notification"
    intent_type = intent_pb2.INTENT_TYPE_NOTIFICATION
    during: ClassVar[Counts] = Counts(then=1, in_the_end=2)
    box: Mailbox

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """Without TLS."""
        mail_templates(folder)
        self.box = await stack.enter_async_context(mail_server())
        return self.box.port

    def declaration(self, port: int) -> str:
        """Behind the proxy."""
        return (
            f"kind: smtp\nhost: 127.0.0.1\nport: {port}\ntls: none\nsender: shop@shop.example\n"
            "templates: templates\nrecipient_domains: ['*']\nlimits: {timeout_s: 40}\n"
        )

    def parameters(self, label: str) -> dict[str, object]:
        """A mail."""
        return {"template": "plain", "to": "anna@customers.example", "data": {"subject": label, "text": label}}

    def marker(self, stage: Stage, label: str) -> bytes:
        """The subject comes only with the mail itself."""
        return f"Subject: Hi {label}".encode()

    async def count(self, label: str) -> int:
        """Mails with the label; repeats have the same Message-ID."""
        mails = [mail for mail in self.box.mails if mail["Subject"] == f"Hi {label}"]
        assert len({mail["Message-ID"] for mail in mails}) <= 1
        return len(mails)


class NoticeCase(NetworkCase):
    """A webhook through apprise."""

    name = "notices"
    effect_type = "notification"
    intent_type = intent_pb2.INTENT_TYPE_NOTIFICATION
    during: ClassVar[Counts] = Counts(then=1, in_the_end=2)
    bodies: list[str]

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """Takes everything."""
        self.bodies = []
        templates = folder / "notice_templates"
        templates.mkdir()
        (templates / "plain.txt.j2").write_text("Title: {{ title }}\n{{ text }}\n", encoding="utf-8")
        server = await stack.enter_async_context(HttpServer(self.answer))
        return server.port

    def declaration(self, port: int) -> str:
        """Its URL is a credential, so it is in the environment."""
        return (
            "kind: apprise\ntemplates: notice_templates\nlimits: {timeout_s: 40}\n"
            "services: [{name: chat, url_env: ONEX_PROOF_NOTICES}]\n"
        )

    def variables(self) -> dict[str, str]:
        """The URL."""
        return {"proof_notices": f"json://127.0.0.1:{self.proxy.port}/hook"}

    def parameters(self, label: str) -> dict[str, object]:
        """A notice."""
        return {"template": "plain", "to": "chat", "data": {"title": "Order", "text": label}}

    async def answer(self, exchange: Exchange) -> None:
        """Keeps a notice."""
        if exchange.request.method == "POST":
            self.bodies.append(json.loads(exchange.request.body)["message"].strip())
        await exchange.reply(200, b"ok")

    async def count(self, label: str) -> int:
        """Notices with the label."""
        return self.bodies.count(label)

"""Notifications through a real SMTP server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from onex.v1 import effect_pb2, effect_pb2_grpc, intent_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.effect.core import EffectRegistry
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import (
    EffectFailedError,
    PayloadTooLargeError,
    TargetUnavailableError,
    ValidationError,
)
from tests.effect_engine import MemoryLedger, effect_contract, intent
from tests.inprocess import InProcessMesh
from tests.mail_server import Mailbox, mail_server, mail_templates, mail_world


@pytest.fixture
async def mailbox() -> AsyncGenerator[Mailbox, None]:
    """A mail server on a free port."""
    async with mail_server() as box:
        yield box


ORDER = {"order_id": "o-1", "name": "Ännchen <b>", "items": [{"what": "tea", "pence": 250}]}


def _mail(**parameters: object) -> tuple[str, str, str, dict[str, object]]:
    given = {"template": "order_placed", "to": "anna@customers.example", "data": ORDER, **parameters}
    return "notification", "mail", "", given


async def test_a_mail_from_its_templates(tmp_path: Path, mailbox: Mailbox) -> None:
    """R6, R22, R90: subject, text and escaped HTML of the templates; derived Message-ID, correlation id in a header."""
    async with mail_world(tmp_path, mailbox.port) as world:
        result = await world.result(*_mail(cc=["desk@shop.example"]), key="order_1")
    (mail,) = mailbox.mails
    assert result == {"message_id": mail["Message-ID"], "accepted": 2}
    assert mailbox.senders == ["shop@shop.example"]
    assert mail["From"] == "The Shop <shop@shop.example>"
    assert (mail["To"], mail["Cc"]) == ("anna@customers.example", "desk@shop.example")
    assert mail["Subject"] == "Order o-1 for Ännchen <b>"
    assert mail["X-Correlation-ID"] == "corr-1"
    assert mail["Message-ID"].endswith("@shop.example>")
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == ["Hello Ännchen <b>,", "- tea: 2.5"]
    assert html.get_content().splitlines() == ["<p>Hello Ännchen &lt;b&gt;</p>"]


async def test_the_message_id_comes_from_the_key(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9: two nodes without a common ledger give the same mail the same Message-ID; another key another one."""
    for key in ("k", "k", "other"):
        async with mail_world(tmp_path, mailbox.port) as world:
            await world.effect(*_mail(), key=key)
    first, second, third = (mail["Message-ID"] for mail in mailbox.mails)
    assert first == second != third


async def test_a_repeat_after_a_recorded_result_sends_nothing(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9: the ledger answers the repeat."""
    ledger = MemoryLedger()
    payload = {"template": "plain", "to": ["a@b.example"], "data": {"text": "x"}}
    message = intent("i", intent_pb2.INTENT_TYPE_NOTIFICATION, "mail", payload)
    for replayed in (False, True):
        async with mail_world(tmp_path, mailbox.port, ledger=ledger) as world:
            (result,) = await world.intents([message])
            assert (result.status, result.replayed) == (intent_pb2.INTENT_STATUS_COMPLETED, replayed)
    assert len(mailbox.mails) == 1


async def test_4xx_is_temporary_and_5xx_is_final(tmp_path: Path, mailbox: Mailbox) -> None:
    """R15: greylisting is tried again, a refusal is not."""
    async with mail_world(tmp_path, mailbox.port) as world:
        mailbox.answers[:] = ["451 4.7.1 greylisted", "451 4.7.1 greylisted"]
        assert (await world.effect(*_mail(), key="k1")).metadata.attempts == 3
        mailbox.answers[:] = ["554 5.7.1 spam"]
        with pytest.raises(EffectFailedError, match="554") as failed:
            await world.effect(*_mail(), key="k2")
        assert failed.value.error_context["attempts"] == 1


async def test_recipients_that_the_server_refuses(tmp_path: Path, mailbox: Mailbox) -> None:
    """R20: refused for all recipients the effect fails; for some it says which."""
    mailbox.refused = {"x@b.example", "y@b.example"}
    async with mail_world(tmp_path, mailbox.port) as world:
        result = await world.result(*_mail(to=["a@b.example", "x@b.example"]))
        assert isinstance(result, dict)
        assert result["accepted"] == 1
        assert list(result["refused"]) == ["x@b.example"]
        with pytest.raises(EffectFailedError, match="nobody here"):
            await world.effect(*_mail(to=["x@b.example", "y@b.example"]))


async def test_a_connection_that_breaks_after_the_mail_was_taken(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9, R25: with a key the mail is sent again under the same Message-ID; without one it is not."""
    async with mail_world(tmp_path, mailbox.port) as world:
        mailbox.breaks = 1
        assert (await world.effect(*_mail(), key="k")).metadata.attempts == 2
        assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1
        mailbox.mails.clear()
        mailbox.breaks = 1
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_mail())
        assert not failed.value.retryable
        assert len(mailbox.mails) == 1


async def test_connections_are_used_again(tmp_path: Path, mailbox: Mailbox) -> None:
    """R10: mails one after the other share a connection; one that the server closed is replaced without a failure."""
    async with mail_world(tmp_path, mailbox.port) as world:
        for _ in range(3):
            await world.effect(*_mail())
        assert len(mailbox.mails) == 3
        assert len(set(mailbox.sessions)) == 1


async def test_a_server_that_is_down(tmp_path: Path) -> None:
    """R19, R24: refused connections are temporary, and the check says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    async with mail_world(tmp_path, port) as world:
        with pytest.raises(TargetUnavailableError) as failed:
            await world.effect(*_mail(), retries=1)
        assert failed.value.retryable
        assert failed.value.error_context["attempts"] == 2
        with pytest.raises(TargetUnavailableError):
            await world.lanes["mail"].adapter.check()


async def test_the_check_greets_the_server(tmp_path: Path, mailbox: Mailbox) -> None:
    """R24: a server that answers is well."""
    async with mail_world(tmp_path, mailbox.port) as world:
        await world.lanes["mail"].adapter.check()
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"to": "a@b.example\r\nBcc: everyone@x.example"}, "to"),
        ({"to": "a@b.example, c@d.example"}, "to"),
        ({"to": "Anna <a@b.example>"}, "to"),
        ({"to": ["a@b.example", "nobody"]}, "to"),
        ({"to": []}, "to"),
        ({"to": ["a@b.example"] * 1 + [f"a{n}@b.example" for n in range(50)]}, "to"),
        ({"to": f"{'a' * 250}@b.example"}, "to"),
        ({"template": "nowhere"}, "template"),
        ({"template": "../templates/plain"}, "template"),
        ({"template": "{{ 7 * 7 }}"}, "template"),
        ({"data": {"name": "x", "items": []}}, "data"),
        ({"data": {**ORDER, "name": "x\r\nBcc: everyone@x.example"}}, "data"),
        ({"data": {**ORDER, "items": [{"what": "tea", "pence": "many"}]}}, "data"),
        ({"sender": "boss@shop.example"}, "sender"),
    ],
)
async def test_bad_notifications_are_refused(
    tmp_path: Path, mailbox: Mailbox, parameters: dict[str, object], field: str
) -> None:
    """R18: header injection, more recipients or other templates than allowed, missing data: nothing is sent."""
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect(*_mail(**parameters))
        assert {path for path, _ in refused.value.violations} == {f"io_operation_config.parameters.{field}"}
    assert mailbox.mails == []
    assert world.audit.records == []


async def test_data_is_not_a_template(tmp_path: Path, mailbox: Mailbox) -> None:
    """R18: expressions in the data are text."""
    async with mail_world(tmp_path, mailbox.port) as world:
        await world.effect(*_mail(template="plain", data={"text": "{{ 7 * 7 }} {% raw %}"}))
    body = mailbox.mails[0].get_body()
    assert body is not None
    assert body.get_content().splitlines() == ["{{ 7 * 7 }} {% raw %}"]


async def test_templates_are_sandboxed(tmp_path: Path, mailbox: Mailbox) -> None:
    """R7: a template cannot reach into Python."""
    mail_templates(tmp_path)
    (tmp_path / "templates/evil.txt.j2").write_text(
        "Subject: x\n{{ text.__class__.__mro__[1].__subclasses__() }}\n", encoding="utf-8"
    )
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(ValidationError, match=r"unsafe|does not fit"):
            await world.effect(*_mail(template="evil", data={"text": "x"}))
    assert mailbox.mails == []


async def test_recipients_domains_are_listed(tmp_path: Path, mailbox: Mailbox) -> None:
    """R18: with recipient_domains mail goes nowhere else."""
    async with mail_world(tmp_path, mailbox.port, recipient_domains="[customers.example]") as world:
        await world.effect(*_mail(to="a@Customers.Example"))
        for address in ("a@evil.example", "a@sub.customers.example", "a@customers.example.evil"):
            with pytest.raises(ValidationError, match="outside of the domains"):
                await world.effect(*_mail(to=address))
    assert len(mailbox.mails) == 1


async def test_a_mail_that_is_too_large(tmp_path: Path, mailbox: Mailbox) -> None:
    """R154: refused before the server is asked."""
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(PayloadTooLargeError):
            await world.effect(*_mail(template="plain", data={"text": "x" * 4000}))
    assert mailbox.mails == []


def _spoil_syntax(folder: Path) -> None:
    (folder / "templates/bad.txt.j2").write_text("Subject: x\n{% for %}\n", encoding="utf-8")


def _spoil_subject(folder: Path) -> None:
    (folder / "templates/bad.txt.j2").write_text("Hello\n", encoding="utf-8")


def _spoil_name(folder: Path) -> None:
    (folder / "templates/b d.txt.j2").write_text("Subject: x\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [(_spoil_syntax, "bad.txt.j2:2: "), (_spoil_subject, "bad.txt.j2:1"), (_spoil_name, "letters, digits")],
)
async def test_templates_are_checked_at_start(tmp_path: Path, spoil: Callable[[Path], None], problem: str) -> None:
    """R18: a template that cannot work is told when the target opens, with file and line."""
    mail_templates(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValidationError, match=problem):
        async with mail_world(tmp_path, 1):
            pass


async def test_a_strange_correlation_id_stays_in_its_header(tmp_path: Path, mailbox: Mailbox) -> None:
    """R22: what is no plain ASCII is written as percent signs; line breaks are refused before."""
    async with mail_world(tmp_path, mailbox.port) as world:
        context = EffectContext(correlation_id="a Bcc: everyone@x.example ü")
        await world.effect(*_mail(), context=context)
        with pytest.raises(ValidationError, match="correlation_id"):
            await world.effect(*_mail(), context=EffectContext(correlation_id="a\r\nBcc: everyone@x.example"))
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mail["X-Correlation-ID"] == "a%20Bcc:%20everyone@x.example%20%C3%BC"


async def test_changed_templates(tmp_path: Path, mailbox: Mailbox, etcd: EmbeddedEtcd, keys: Keyspace) -> None:
    """R17, R18: a running node takes templates over when they are right, those of sub-folders too; wrong ones change
    nothing."""
    templates = mail_templates(tmp_path)
    (templates / "parts").mkdir()
    (templates / "parts/foot.txt.j2").write_text("old foot", encoding="utf-8")
    (templates / "plain.txt.j2").write_text("Subject: Hi\n{% include 'parts/foot.txt.j2' %}", encoding="utf-8")
    (tmp_path / "targets.yaml").write_text(
        "targets:\n  mail: {kind: smtp, host: 127.0.0.1, tls: none, sender: s@x.example, templates: templates,\n"
        f"    recipient_domains: ['*'], port: {mailbox.port}}}\n",
        encoding="utf-8",
    )
    node = EffectNode(EffectRegistry(), tmp_path / "targets.yaml", "1.0.0")
    async with InProcessMesh(etcd, keys) as mesh:
        stub = effect_pb2_grpc.EffectServiceStub(mesh.channel(await mesh.add(node)))

        async def sent() -> str:
            contract = effect_contract(*_mail(template="plain"))
            await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract))
            body = mailbox.mails[-1].get_body()
            assert body is not None
            return str(body.get_content()).strip()

        assert await sent() == "old foot"
        (templates / "parts/foot.txt.j2").write_text("{% new foot", encoding="utf-8")
        node.reload()
        async with asyncio.timeout(20):
            while not any("foot.txt.j2:1: " in row.message for row in await node.check()):  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.05)
        assert await sent() == "old foot"
        (templates / "parts/foot.txt.j2").write_text("new foot", encoding="utf-8")
        node.reload()
        async with asyncio.timeout(20):
            while await sent() != "new foot":  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.05)

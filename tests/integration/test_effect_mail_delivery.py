"""Mail servers that take some, take later, take nothing or break off: who gets how many mails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, syntax

from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError
from tests.effect_engine import MemoryLedger
from tests.inprocess import until
from tests.mail_server import Mailbox, mail_server, mail_world, plain_mail, scripted_server

A, B, C = "a@x.example", "b@x.example", "c@x.example"


@pytest.fixture
async def mailbox() -> AsyncGenerator[Mailbox, None]:
    """A mail server on a free port."""
    async with mail_server() as box:
        yield box


async def test_only_those_that_are_left_are_tried_again(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9, R15: a recipient that is greylisted gets the mail later; those that have it get it once; one that the server
    does not know is named."""
    mailbox.recipient_answers[B] = ["451 4.7.1 greylisted"] * 2
    mailbox.refused = {C}
    async with mail_world(tmp_path, mailbox.port) as world:
        output = await world.effect(*plain_mail(to=[A, B, C]), key="k")
        result = await world.result(*plain_mail(to=[A, B, C]), key="k")
        assert world.lanes["mail"].breaker.state is BreakerState.CLOSED
    assert output.metadata.attempts == 3
    assert mailbox.recipients == [[A], [B]]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1
    assert len({mail["To"] for mail in mailbox.mails}) == 1
    assert isinstance(result, dict)
    assert (result["accepted"], result["refused"]) == (2, {C: "550 5.1.1 nobody here of that name"})


async def test_who_is_left_when_the_attempts_are_over(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9, R20: the mail has gone out, so the effect has happened; who has not got it is named, and a repeat under the
    key sends nothing to anyone."""
    mailbox.recipient_answers[B] = ["450 4.2.1 busy"] * 9
    ledger = MemoryLedger()
    for replayed in (False, True):
        async with mail_world(tmp_path, mailbox.port, ledger=ledger) as world:
            output = await world.effect(*plain_mail(to=[A, B]), key="k", retries=2)
            assert output.metadata.replayed == replayed
            assert output.operation_result.json.struct_value["refused"][B] == "450 4.2.1 busy"
    assert mailbox.recipients == [[A]]


async def test_nobody_is_taken_for_now(tmp_path: Path, mailbox: Mailbox) -> None:
    """R15, R20: temporary if any of them is; the breaker counts servers, not mailboxes."""
    mailbox.recipient_answers = {A: ["450 busy"] * 9, B: ["550 unknown"] * 9}
    async with mail_world(tmp_path, mailbox.port, breaker="{failure_threshold: 1}") as world:
        with pytest.raises(TargetUnavailableError, match="450 busy") as failed:
            await world.effect(*plain_mail(to=[A, B]), key="k", retries=1)
        assert failed.value.error_context["refused"] == {A: "450 busy", B: "550 unknown"}
        assert failed.value.error_context["attempts"] == 2
        assert world.lanes["mail"].breaker.state is BreakerState.CLOSED
    assert mailbox.mails == []
    # The one that is refused for good is not asked again.
    assert mailbox.commands.count(f"RCPT {B}") == 1


async def test_a_server_that_closes_the_service(tmp_path: Path, mailbox: Mailbox) -> None:
    """R15: 421 at any moment is temporary and counted by the breaker; the next attempt has a connection of its own."""
    mailbox.mail_from_answers = ["421 4.3.0 later"]
    mailbox.recipient_answers[A] = ["421 4.3.0 later"]
    mailbox.answers = ["421 4.3.0 later"]
    async with mail_world(tmp_path, mailbox.port) as world:
        # Without a key: each of the three says for certain that nothing was sent.
        assert (await world.effect(*plain_mail(to=[A, B]))).metadata.attempts == 4
    assert mailbox.recipients == [[A, B]]
    assert len(mailbox.connections) == 4


async def test_a_greeting_that_refuses(tmp_path: Path) -> None:
    """R15, R20: 554 instead of a greeting is final, 421 is not."""
    greetings = [b"421 busy\r\n", b"554 no service\r\n"]

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greetings.pop(0))
        await writer.drain()

    async with scripted_server(greet) as port, mail_world(tmp_path, port) as world:
        with pytest.raises(EffectFailedError, match="554 no service") as failed:
            await world.effect(*plain_mail())
    assert failed.value.error_context["attempts"] == 2


async def test_a_refusal_of_the_mail_itself(tmp_path: Path, mailbox: Mailbox) -> None:
    """R20: 552 after the mail was written is final and sends nothing."""
    mailbox.answers = ["552 5.3.4 too big"]
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(EffectFailedError, match="552 "):
            await world.effect(*plain_mail(to=[A, B]), key="k")
        # The connection is well and free of the refused mail.
        await world.effect(*plain_mail(to=[C]), key="l")
    assert mailbox.recipients == [[C]]
    assert len(mailbox.connections) == 1


async def test_a_connection_that_breaks_before_the_mail(tmp_path: Path) -> None:
    """R25: nothing can have been sent, so it is tried again even without a key."""

    class Fragile(SMTP):
        """Breaks at the first RCPT."""

        broken = 0

        @syntax("RCPT TO: <address>")
        async def smtp_RCPT(self, argument: str) -> None:
            if not Fragile.broken:
                Fragile.broken = 1
                self.transport.abort()
                return
            await super().smtp_RCPT(argument)

    async with mail_server(kind=Fragile) as box, mail_world(tmp_path, box.port) as world:
        assert (await world.effect(*plain_mail())).metadata.attempts == 2
    assert len(box.mails) == 1


async def test_an_unknown_outcome_of_the_second_part(tmp_path: Path, mailbox: Mailbox) -> None:
    """R9, R25: one has it for certain; of the other the answer got lost. Without a key the mail is not sent again, and
    the result says what is known of whom."""
    mailbox.recipient_answers[B] = ["451 later"]
    async with mail_world(tmp_path, mailbox.port, retry="{max_retries: 3, initial_backoff_s: 0.3}") as world:
        sending = asyncio.create_task(world.effect(*plain_mail(to=[A, B])))
        await until(lambda: len(mailbox.recipients) == 1)
        mailbox.breaks = 1
        output = await sending
    assert mailbox.recipients == [[A], [B]]
    result = output.operation_result.json.struct_value
    assert (result["accepted"], list(result["unknown"])) == (1, [B])


async def test_cancelling_ends_the_connection(tmp_path: Path, mailbox: Mailbox) -> None:
    """R25: a mail under way is not sent when its caller goes away before it is written; the connection ends at once
    and is not used again."""
    mailbox.hold, mailbox.keep_before_hold = asyncio.Event(), False
    async with mail_world(tmp_path, mailbox.port) as world:
        sending = asyncio.create_task(world.effect(*plain_mail(), key="k"))
        await mailbox.holding.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await until(lambda: mailbox.connections[0].transport is None or mailbox.connections[0].transport.is_closing())
        mailbox.hold.set()
        await world.effect(*plain_mail(), key="l")
        assert [record.outcome for record in world.audit.records] == ["cancelled", "completed"]
    assert len(mailbox.connections) == 2


async def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    """R19: the timeout of the target ends it."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        scripted_server(silent) as port,
        mail_world(tmp_path, port, limits="{timeout_s: 0.2}") as world,
    ):
        with pytest.raises(TargetUnavailableError):
            await world.effect(*plain_mail(), retries=0)


async def test_words_that_are_no_text(tmp_path: Path) -> None:
    """R19: broken bytes, control characters and endless lines in answers do not break the node's own answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            if line.startswith(b"EHLO"):
                writer.write(b"250 test\r\n")
            elif line.startswith(b"MAIL"):
                writer.write(b"550 \xff\xfe\x1b[31m red " + b"x" * 2_000 + b"\r\n")
            else:
                writer.write(b"250 OK\r\n")

    async with scripted_server(talk) as port, mail_world(tmp_path, port) as world:
        with pytest.raises(EffectFailedError, match="answered 550 ") as failed:
            await world.effect(*plain_mail())
    assert len(failed.value.message) <= 300
    assert failed.value.message.isprintable()
    assert failed.value.message.encode()


async def test_as_many_connections_as_calls(tmp_path: Path, mailbox: Mailbox) -> None:
    """R154: twelve mails at once need no more connections than the target allows calls."""
    async with mail_world(tmp_path, mailbox.port, limits="{concurrency: 3}") as world:
        await asyncio.gather(*(world.effect(*plain_mail()) for _ in range(12)))
        assert len(mailbox.mails) == 12
        assert len(mailbox.connections) <= 3


async def test_a_connection_is_not_used_for_ever(tmp_path: Path, mailbox: Mailbox) -> None:
    """R10: after `mails_per_connection` mails another one is made."""
    async with mail_world(tmp_path, mailbox.port, mails_per_connection="2") as world:
        for _ in range(5):
            await world.effect(*plain_mail())
    assert len(mailbox.mails) == 5
    assert len(set(mailbox.connections)) == 3


async def test_connections_that_the_server_closed(tmp_path: Path, mailbox: Mailbox) -> None:
    """R10: they are replaced without an attempt being spent."""
    async with mail_world(tmp_path, mailbox.port) as world:
        await world.effect(*plain_mail())
        mailbox.hang_up()
        assert (await world.effect(*plain_mail())).metadata.attempts == 1
    assert len(mailbox.mails) == 2


async def test_the_server_goes_and_comes_back(tmp_path: Path) -> None:
    """R8, R24: the breaker opens while it is away, a probe closes it once it is back; each mail arrives once."""
    box = Mailbox()
    async with mail_server(box):
        port = box.port
    settings = {"breaker": "{failure_threshold: 2, recovery_s: 0.05}", "retry": "{max_retries: 50}"}
    async with mail_world(tmp_path, port, **settings) as world:
        adapter, breaker = world.lanes["mail"].adapter, world.lanes["mail"].breaker
        with pytest.raises(TargetUnavailableError):
            await adapter.check()
        sending = asyncio.create_task(world.effect(*plain_mail(), key="k"))
        await until(lambda: breaker.state is not BreakerState.CLOSED)
        async with mail_server(box, port=port):
            assert (await sending).metadata.attempts > 2
            await adapter.check()
            assert breaker.state is BreakerState.CLOSED
    assert len(box.mails) == 1

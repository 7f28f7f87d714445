"""Effect nodes that are killed while they send mails and notices; two nodes with one key. Counted where they arrive.

docs/guarantees.md says what is promised: at least once under one Message-ID, never again after a recorded result.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiosmtpd.smtp import SMTP, syntax

from onex.v1 import effect_pb2, effect_pb2_grpc
from tests.effect_engine import effect_contract
from tests.http_server import Exchange, HttpServer
from tests.inprocess import until
from tests.mail_server import Mailbox, mail_server, mail_templates
from tests.mesh import MeshProcesses

_CALL_S = 60.0
_STALL_AFTER_BYTES = 1_000_000
# More than the buffers of two sockets take, so that a sender that dies has not handed all of it on.
_LARGE = "Subject: Large\n{% for row in range(16) %}{{ ('x' * 900 ~ '\\n') * 1200 }}{% endfor %}\n"


class StallingProxy:
    """Forwards to a mail server, and stops in the middle of the first large mail until told to go on."""

    def __init__(self, port: int) -> None:
        self._far_port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.stalled = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __aenter__(self) -> StallingProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        try:
            await asyncio.gather(self._copy(reader, far_writer, stalls=True), self._copy(far_reader, writer))
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, stalls: bool = False) -> None:
        count = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                count += len(data)
                writer.write(data)
                await writer.drain()
                if stalls and count > _STALL_AFTER_BYTES and not self.go_on.is_set():
                    self.stalled.set()
                    await self.go_on.wait()
        writer.close()


class Reluctant(SMTP):
    """A mail server that waits before it answers the first MAIL FROM."""

    asked = asyncio.Event()

    @syntax("MAIL FROM: <address>", extended=" [SP <mail-parameters>]")
    async def smtp_MAIL(self, argument: str) -> None:
        """Waits for ever, the first time."""
        if not Reluctant.asked.is_set():
            Reluctant.asked.set()
            await asyncio.Event().wait()
        await super().smtp_MAIL(argument)


@asynccontextmanager
async def _nodes(
    folder: Path, mail_port: int = 1, hook: str = "json://127.0.0.1:1"
) -> AsyncGenerator[MeshProcesses, None]:
    """Two effect nodes, each a process of its own, with a mail server and a webhook as targets."""
    templates = mail_templates(folder)
    (templates / "large.txt.j2").write_text(_LARGE, encoding="utf-8")
    (folder / "notices").mkdir()
    (folder / "notices/plain.txt.j2").write_text("Title: Hi\n{{ text }}\n", encoding="utf-8")
    (folder / "hook.url").write_text(hook, encoding="utf-8")
    targets = folder / "targets.yaml"
    targets.write_text(
        f"""\
targets:
  mail:
    kind: smtp
    host: 127.0.0.1
    port: {mail_port}
    tls: none
    sender: shop@shop.example
    recipient_domains: [customers.example]
    templates: templates
    limits: {{timeout_s: 60, size_bytes: 67108864}}
  chat:
    kind: apprise
    templates: notices
    services: [{{name: ops, url_file: hook.url}}]
    limits: {{timeout_s: 60}}
""",
        encoding="utf-8",
    )
    async with MeshProcesses(folder, targets=targets, effects=2, computes=0, reducers=0, orchestrators=0) as mesh:
        yield mesh


async def _send(
    mesh: MeshProcesses, node: int, target: str = "mail", template: str = "plain"
) -> effect_pb2.EffectMetadata:
    """Has a node send the same mail, or notice, under the same key."""
    to = "ann@customers.example" if target == "mail" else "ops"
    parameters: dict[str, object] = {"template": template, "to": to, "data": {"text": "hello"}}
    contract = effect_contract("notification", target, "", parameters, key="key-1")
    stub = effect_pb2_grpc.EffectServiceStub(mesh.channel("effect", node))
    response = await stub.ExecuteEffect(effect_pb2.ExecuteEffectRequest(contract=contract), timeout=_CALL_S)
    return response.output.metadata


async def _kill_while(mesh: MeshProcesses, sending: asyncio.Task[effect_pb2.EffectMetadata]) -> None:
    mesh.effects[0].kill()
    with pytest.raises(grpc.aio.AioRpcError):
        await sending


async def test_killed_before_the_mail(tmp_path: Path) -> None:
    """R9, R25: nothing was sent, the repeat on the other node sends it: one mail."""
    Reluctant.asked = asyncio.Event()
    async with mail_server(kind=Reluctant) as box, _nodes(tmp_path, box.port) as mesh:
        sending = asyncio.create_task(_send(mesh, 0))
        await asyncio.wait_for(Reluctant.asked.wait(), _CALL_S)
        await _kill_while(mesh, sending)
        assert box.mails == []
        assert not (await _send(mesh, 1)).replayed
    assert len(box.mails) == 1


async def test_killed_while_the_mail_is_written(tmp_path: Path) -> None:
    """R9, R25: the server has a part of the mail, without its end, and drops it. The repeat sends it: one mail."""
    async with mail_server() as box, StallingProxy(box.port) as proxy, _nodes(tmp_path, proxy.port) as mesh:
        sending = asyncio.create_task(_send(mesh, 0, template="large"))
        await asyncio.wait_for(proxy.stalled.wait(), _CALL_S)
        await _kill_while(mesh, sending)
        proxy.go_on.set()
        await until(lambda: box.connections[0].transport is None or box.connections[0].transport.is_closing())
        assert box.mails == []
        assert not (await _send(mesh, 1, template="large")).replayed
    assert len(box.mails) == 1
    assert len(box.mails[0].get_content()) > 17_000_000


async def test_killed_after_the_mail_was_taken(tmp_path: Path) -> None:
    """R9, R25: nobody knows that it was taken, so the repeat sends it again: two mails, and one Message-ID by which
    mailboxes know them for the same."""
    box = Mailbox(hold=asyncio.Event())
    async with mail_server(box), _nodes(tmp_path, box.port) as mesh:
        sending = asyncio.create_task(_send(mesh, 0))
        await asyncio.wait_for(box.holding.wait(), _CALL_S)
        await _kill_while(mesh, sending)
        assert len(box.mails) == 1
        assert box.hold is not None
        box.hold.set()
        assert not (await _send(mesh, 1)).replayed
    assert len(box.mails) == 2
    assert len({mail["Message-ID"] for mail in box.mails}) == 1


async def test_killed_after_the_result_was_recorded(tmp_path: Path) -> None:
    """R9, R25: the ledger outlives the node: one mail, one notice."""
    box = Mailbox()
    async with (
        HttpServer(lambda exchange: exchange.reply(200)) as hook,
        mail_server(box),
        _nodes(tmp_path, box.port, f"json://127.0.0.1:{hook.port}/x") as mesh,
    ):
        for target in ("mail", "chat"):
            assert not (await _send(mesh, 0, target)).replayed
        mesh.effects[0].kill()
        for target in ("mail", "chat"):
            assert (await _send(mesh, 1, target)).replayed
    assert (len(box.mails), len(hook.requests)) == (1, 1)


@pytest.mark.parametrize("target", ["mail", "chat"])
async def test_two_nodes_at_once(tmp_path: Path, target: str) -> None:
    """R9: one node sends, the other waits for what it records: one mail, one notice."""
    box = Mailbox(hold=asyncio.Event())
    assert box.hold is not None
    hold = box.hold

    async def slow(exchange: Exchange) -> None:
        box.holding.set()
        await hold.wait()
        await exchange.reply(200)

    async with (
        HttpServer(slow) as hook,
        mail_server(box),
        _nodes(tmp_path, box.port, f"json://127.0.0.1:{hook.port}/x?rto=60") as mesh,
    ):
        sending = [asyncio.create_task(_send(mesh, node, target)) for node in (0, 1, 0, 1)]
        await asyncio.wait_for(box.holding.wait(), _CALL_S)
        hold.set()
        replayed = sorted([(await task).replayed for task in sending])
    assert replayed == [False, True, True, True]
    assert len(box.mails) + len(hook.requests) == 1


async def test_killed_while_a_notice_is_sent(tmp_path: Path) -> None:
    """R9, R25: the service has it, nobody knows, so the repeat sends it again: at least once."""
    taken, hold = asyncio.Event(), asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        taken.set()
        await hold.wait()
        await exchange.reply(200)

    async with HttpServer(slow) as hook, _nodes(tmp_path, 1, f"json://127.0.0.1:{hook.port}/x?rto=60") as mesh:
        sending = asyncio.create_task(_send(mesh, 0, "chat"))
        await asyncio.wait_for(taken.wait(), _CALL_S)
        await _kill_while(mesh, sending)
        hold.set()
        assert not (await _send(mesh, 1, "chat")).replayed
    assert len(hook.requests) == 2

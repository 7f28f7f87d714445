"""Notices to chats and webhooks through apprise, with its `json://` service and a real HTTP server."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onex.v1 import intent_pb2
from onex_mesh.effect.adapters.catalog import open_target
from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.target_file import read_target_file
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, TargetUnavailableError, ValidationError
from tests.effect_engine import MemoryLedger, World, effect_world, intent
from tests.http_server import Exchange, HttpServer
from tests.inprocess import until

SECRET = "tok-en-of-the-hook"


@dataclass(slots=True)
class Hooks:
    """Webhooks of several services on one server; each answers as the test says."""

    server: HttpServer
    answers: dict[str, list[int | str]] = field(default_factory=dict)
    """By service: to its next notices; 200 when none is left. "reset" breaks the connection, "hang" waits."""
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, service: str) -> list[dict[str, str]]:
        """The notices that a service got, whatever it answered."""
        path = f"/{SECRET}/{service}"
        return [json.loads(row.body) for row in self.server.requests if row.target == path]

    async def answer(self, exchange: Exchange) -> None:
        """Answers one request."""
        answers = self.answers.get(exchange.request.target.rpartition("/")[2], [])
        answer = answers.pop(0) if answers else 200
        if answer == "reset":
            exchange.reset()
            return
        if answer == "hang":
            await self.release.wait()
            answer = 200
        if answer == "elsewhere":
            await exchange.reply(302, location=f"http://127.0.0.1:{self.server.port}/elsewhere")
            return
        assert isinstance(answer, int)
        await exchange.reply(answer, f"{SECRET} is what you said".encode())

    def url(self, service: str) -> str:
        """What apprise calls it by."""
        return f"json://127.0.0.1:{self.server.port}/{SECRET}/{service}"


@pytest.fixture
async def hooks() -> AsyncGenerator[Hooks, None]:
    """A server on a free port."""
    server = HttpServer(lambda exchange: hooks.answer(exchange))
    hooks = Hooks(server)
    async with server:
        yield hooks
        hooks.release.set()
        await until(lambda: not _senders())


def _senders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("apprise-")]


def _templates(folder: Path) -> None:
    templates = folder / "notices"
    templates.mkdir(exist_ok=True)
    (templates / "down.txt.j2").write_text(
        "Title: {{ what }} is down\n\n{{ what }} since {{ since }}\n", encoding="utf-8"
    )
    (templates / "order.md.j2").write_text("Title: Order\n**{{ what }}** by {{ who }}\n", encoding="utf-8")


def _world(
    folder: Path,
    hooks: Hooks,
    *,
    ledger: MemoryLedger | None = None,
    environment: Mapping[str, str] | None = None,
    **settings: str,
) -> AbstractAsyncContextManager[World]:
    _templates(folder)
    given = {
        "limits": "{timeout_s: 5, size_bytes: 2000}",
        "retry": "{max_retries: 3, initial_backoff_s: 0.01}",
        **settings,
    }
    lines = "".join(f"    {name}: {value}\n" for name, value in given.items())
    (folder / "desk.url").write_text(hooks.url("desk") + "\n", encoding="utf-8")
    text = f"""\
  chat:
    kind: apprise
    templates: notices
    services:
      - {{name: ops, url_env: OPS_URL, tags: [everyone]}}
      - {{name: team, url_env: TEAM_URL, tags: [everyone, people]}}
      - {{name: desk, url_file: desk.url}}
{lines}"""
    urls = {"OPS_URL": hooks.url("ops"), "TEAM_URL": hooks.url("team")}
    return effect_world(folder, text, ledger=ledger, environment=environment or urls)


def _notice(**parameters: object) -> tuple[str, str, str, dict[str, object]]:
    data = {"what": "db", "since": "noon"}
    return "notification", "chat", "", {"template": "down", "to": "ops", "data": data, **parameters}


async def test_a_notice_from_its_template(tmp_path: Path, hooks: Hooks) -> None:
    """R6, R90: title and text, to a service by name; the intent's form is that of mails."""
    async with _world(tmp_path, hooks) as world:
        result = await world.result(*_notice(type="warning"))
        payload = {"template": "down", "to": ["desk"], "data": {"what": "x", "since": "y"}}
        (done,) = await world.intents([intent("i", intent_pb2.INTENT_TYPE_NOTIFICATION, "chat", payload)])
        await world.lanes["chat"].adapter.check()
    assert result == {"delivered": ["ops"]}
    assert done.status == intent_pb2.INTENT_STATUS_COMPLETED
    (notice,) = hooks.of("ops")
    assert (notice["title"], notice["message"], notice["type"]) == ("db is down", "db since noon", "warning")
    assert len(hooks.of("desk")) == 1
    assert hooks.of("team") == []


async def test_tags_reach_several_services_once(tmp_path: Path, hooks: Hooks) -> None:
    """R90: a tag means all services that have it; one that is meant twice gets one notice."""
    async with _world(tmp_path, hooks) as world:
        result = await world.result(*_notice(to=["everyone", "people", "team"]))
    assert result == {"delivered": ["ops", "team"]}
    assert (len(hooks.of("ops")), len(hooks.of("team")), len(hooks.of("desk"))) == (1, 1, 0)


async def test_a_repeat_after_a_recorded_result_sends_nothing(tmp_path: Path, hooks: Hooks) -> None:
    """R9: the ledger answers the repeat."""
    ledger = MemoryLedger()
    for replayed in (False, True):
        async with _world(tmp_path, hooks, ledger=ledger) as world:
            assert (await world.effect(*_notice(), key="k")).metadata.replayed == replayed
    assert len(hooks.of("ops")) == 1


async def test_two_at_once_under_one_key(tmp_path: Path, hooks: Hooks) -> None:
    """R9: one sends, the other gets its result."""
    async with _world(tmp_path, hooks) as world:
        outputs = await asyncio.gather(*(world.effect(*_notice(), key="k") for _ in range(5)))
    assert sorted(output.metadata.replayed for output in outputs) == [False, True, True, True, True]
    assert len(hooks.of("ops")) == 1


async def test_only_services_that_are_left_are_tried_again(tmp_path: Path, hooks: Hooks) -> None:
    """R9, R15: who has the notice does not get it twice while another one is tried again."""
    hooks.answers["team"] = [503, 429, 200]
    async with _world(tmp_path, hooks) as world:
        output = await world.effect(*_notice(to="everyone"))
        assert world.lanes["chat"].breaker.state is BreakerState.CLOSED
    assert output.metadata.attempts == 3
    assert (len(hooks.of("ops")), len(hooks.of("team"))) == (1, 3)


async def test_a_service_that_never_takes_it(tmp_path: Path, hooks: Hooks) -> None:
    """R9, R20: the others have it, so the effect has happened; who has not is named, and a repeat sends nothing."""
    hooks.answers["team"] = [503] * 9
    ledger = MemoryLedger()
    async with _world(tmp_path, hooks, ledger=ledger) as world:
        first = await world.result(*_notice(to="everyone"), key="k", retries=1)
        assert first == {"delivered": ["ops"], "failed": {"team": "answered 503"}}
        assert await world.result(*_notice(to="everyone"), key="k") == first
    assert (len(hooks.of("ops")), len(hooks.of("team"))) == (1, 2)


@pytest.mark.parametrize(
    ("answers", "attempts", "kind", "words"),
    [
        ([404], 1, EffectFailedError, "ops: answered 404"),
        ([401], 1, EffectFailedError, "ops: answered 401"),
        ([503, 503], 2, TargetUnavailableError, "ops: answered 503"),
        ([429, 400], 2, EffectFailedError, "ops: answered 400"),
        ([500], 1, TargetUnavailableError, "ops: answered 500"),
        (["reset"], 1, TargetUnavailableError, "ops: did not take it"),
        (["elsewhere"], 1, EffectFailedError, "ops: answered 302"),
    ],
)
async def test_what_answers_mean(
    tmp_path: Path, hooks: Hooks, answers: list[int | str], attempts: int, kind: type[Exception], words: str
) -> None:
    """R15, R25: without a key only what certainly was not delivered is tried again; redirects are not followed."""
    hooks.answers["ops"] = answers
    async with _world(tmp_path, hooks) as world:
        with pytest.raises(kind, match=words) as failed:
            await world.effect(*_notice(), retries=1)
        assert failed.value.error_context["attempts"] == attempts
        assert failed.value.error_context["failed"] == {"ops": words.removeprefix("ops: ")}
    assert all(row.target.startswith(f"/{SECRET}/") for row in hooks.server.requests)


async def test_an_unknown_outcome_is_tried_again_under_a_key(tmp_path: Path, hooks: Hooks) -> None:
    """R9, R25: a broken connection leaves open whether it was delivered; with a key it is sent again."""
    hooks.answers["ops"] = ["reset", 500]
    async with _world(tmp_path, hooks) as world:
        assert (await world.effect(*_notice(), key="k")).metadata.attempts == 3


async def test_a_service_that_hangs(tmp_path: Path, hooks: Hooks) -> None:
    """R8, R19, R25: the loop goes on, the timeout holds. The next attempt waits for the same call instead of sending
    again, so the notice is there once."""
    hooks.answers["ops"] = ["hang"]
    async with _world(tmp_path, hooks, limits="{timeout_s: 0.1}") as world:
        sending = asyncio.create_task(world.effect(*_notice(), key="k", retries=50))
        await until(lambda: len(hooks.of("ops")) == 1)
        await until(lambda: world.lanes["chat"].breaker.state is not BreakerState.OPEN and len(_senders()) == 1)
        assert await world.result(*_notice(to="desk")) == {"delivered": ["desk"]}
        hooks.release.set()
        output = await sending
    assert output.metadata.attempts > 0
    assert len(hooks.of("ops")) == 1


async def test_a_service_that_hangs_holds_up_no_other(tmp_path: Path, hooks: Hooks) -> None:
    """R8: the others have the notice; what is not known of the hanging one is said."""
    hooks.answers["team"] = ["hang"]
    async with _world(tmp_path, hooks, limits="{timeout_s: 0.3}") as world:
        result = await world.result(*_notice(to="everyone"), retries=0)
    assert result == {"delivered": ["ops"], "failed": {"team": "did not take it"}}


async def test_calls_that_hang_are_counted(tmp_path: Path, hooks: Hooks) -> None:
    """R154: a target has so many threads and no more; its check says that they are used up."""
    hooks.answers["ops"] = ["hang"] * 6
    async with _world(
        tmp_path, hooks, limits="{timeout_s: 0.2, concurrency: 1}", breaker="{failure_threshold: 99}"
    ) as world:
        for _ in range(6):
            with pytest.raises(TargetUnavailableError, match="did not answer"):
                await world.effect(*_notice(), retries=0)
        with pytest.raises(TargetUnavailableError, match="6 calls of target 'chat' hang"):
            await world.effect(*_notice(to="desk"), retries=0)
        with pytest.raises(TargetUnavailableError, match="all calls of target 'chat' hang"):
            await world.lanes["chat"].adapter.check()
        hooks.release.set()
        await until(lambda: not _senders())
        await world.lanes["chat"].adapter.check()
    assert hooks.of("desk") == []


async def test_a_server_that_is_down(tmp_path: Path, hooks: Hooks) -> None:
    """R8, R15: no connection, nothing delivered: tried again without a key; the breaker opens."""
    urls = {"OPS_URL": f"json://127.0.0.1:1/{SECRET}/ops", "TEAM_URL": f"json://nowhere.invalid/{SECRET}"}
    async with _world(tmp_path, hooks, environment=urls, breaker="{failure_threshold: 2}") as world:
        for service in ("ops", "team"):
            with pytest.raises(TargetUnavailableError, match=f"{service}: cannot be reached") as failed:
                await world.effect(*_notice(to=service), retries=0)
            assert failed.value.retryable
        assert world.lanes["chat"].breaker.state is BreakerState.OPEN


async def test_urls_are_seen_nowhere(tmp_path: Path, hooks: Hooks, capfd: pytest.CaptureFixture[str]) -> None:
    """R17: neither in errors nor in audit records, nor in what libraries log, whatever goes wrong."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        hooks.answers = {"ops": [404, "reset"], "team": [500]}
        seen: list[object] = []
        async with _world(tmp_path, hooks) as world:
            for to in ("ops", "ops", "team", "desk"):
                try:
                    seen.append(await world.result(*_notice(to=to), retries=0))
                except (EffectFailedError, TargetUnavailableError) as error:
                    seen += [error.message, error.error_context, repr(error.__cause__)]
            seen.append(world.audit.records)
        for url in (f"nothing://x/{SECRET}", f"json://a/{SECRET} json://b/{SECRET}", f"{SECRET}", f"slack://{SECRET}"):
            with pytest.raises(ValidationError, match="not the URL of one service") as refused:
                async with _world(tmp_path, hooks, environment={"OPS_URL": url, "TEAM_URL": url}):
                    pass
            seen += [refused.value.message, refused.value.violations, repr(refused.value.__cause__)]
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    out, err = capfd.readouterr()
    assert "OPS_URL" in repr(seen)
    assert SECRET not in repr(seen) + out + err + stream.getvalue()


async def test_markdown_shows_data_as_it_is(tmp_path: Path, hooks: Hooks) -> None:
    """R18: data in a Markdown notice makes no links or emphasis, and calls nobody."""
    data = {"what": "**x** [pay](http://evil) `y` <b>", "who": "@everyone <@U1>"}
    async with _world(tmp_path, hooks) as world:
        await world.effect(*_notice(template="order", data=data))
        await world.effect(*_notice(data={"what": "@here", "since": "<!channel> mail a@b.example"}))
    markdown, text = (row["message"] for row in hooks.of("ops"))
    assert markdown == (
        "**\\*\\*x\\*\\* \\[pay\\]\\(http://evil\\) \\`y\\` \\<b\\>** by @\u200beveryone \\<\u200b@U1\\>"
    )
    assert text == "@\u200bhere since <\u200b!channel> mail a@b.example"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"to": []}, "to"),
        ({"to": "json://127.0.0.1/x"}, "to"),
        ({"to": ["ops", "boss"]}, "to"),
        ({"to": "all"}, "to"),
        ({"to": "ops,team"}, "to"),
        ({"template": "nowhere"}, "template"),
        ({"template": "../notices/down"}, "template"),
        ({"data": {"what": "x"}}, "data"),
        ({"data": {"what": "x\r\ny", "since": "z"}}, "data"),
        ({"data": {"what": "x\u2028y", "since": "z"}}, "data"),
        ({"type": "loud"}, "type"),
        ({"url": "json://127.0.0.1/x"}, "url"),
        ({"attach": "/etc/passwd"}, "attach"),
    ],
)
async def test_bad_notices_are_refused(tmp_path: Path, hooks: Hooks, parameters: dict[str, object], field: str) -> None:
    """R18: no service, template or file that the operator did not list."""
    async with _world(tmp_path, hooks) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect(*_notice(**parameters))
        assert {path for path, _ in refused.value.violations} == {f"io_operation_config.parameters.{field}"}
        assert world.audit.records == []
    assert hooks.server.requests == []


async def test_too_much(tmp_path: Path, hooks: Hooks) -> None:
    """R154: size, depth."""
    deep: object = "x"
    for _ in range(30):
        deep = {"a": deep}
    async with _world(tmp_path, hooks) as world:
        with pytest.raises(PayloadTooLargeError):
            await world.effect(*_notice(data={"what": "x", "since": "y" * 3_000}))
        with pytest.raises(ValidationError, match="nested deeper"):
            await world.effect(*_notice(data={"what": "x", "since": deep}))
    assert hooks.server.requests == []


def _empty(folder: Path) -> None:
    (folder / "down.txt.j2").write_text("Hello\n", encoding="utf-8")


def _twice(folder: Path) -> None:
    (folder / "down.md.j2").write_text("Title: x\ny", encoding="utf-8")


def _broken(folder: Path) -> None:
    (folder / "order.md.j2").write_text("Title: x\n\n{% if %}", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_empty, r"down\.txt\.j2:1: the first line is not 'Title: …'"),
        (_twice, "'down' is there as"),
        (_broken, r"order\.md\.j2:3: "),
    ],
)
async def test_templates_are_checked_at_start(
    tmp_path: Path, hooks: Hooks, spoil: Callable[[Path], None], problem: str
) -> None:
    """R18: with file and line."""
    world = _world(tmp_path, hooks)
    spoil(tmp_path / "notices")
    with pytest.raises(ValidationError, match=problem):
        async with world:
            pass


@pytest.mark.parametrize(
    ("services", "problem"),
    [
        (f"[{{name: a, url: 'json://x/{SECRET}'}}]", "3: targets.chat.services.0: url: it is a credential"),
        ("[{name: a}]", "needs either url_env or url_file"),
        ("[{name: a, url_env: X, url_file: y}]", "needs either url_env or url_file"),
        ("[{name: a, url_env: X}, {name: a, url_env: Y}]", "'a' stands here twice"),
        ("[{name: a, url_env: X, tags: [b]}, {name: b, url_env: Y}]", "'b' is the name of a service and a tag"),
        ("[]", "at least 1 item"),
        ("[{name: 'a b', url_env: X}]", "services.0.name"),
    ],
)
def test_declarations_that_cannot_work(tmp_path: Path, services: str, problem: str) -> None:
    """R17: with file and line, and without the URL that should not be there."""
    path = tmp_path / "targets.yaml"
    path.write_text(f"targets:\n  chat:\n    {{kind: apprise, templates: t, services: {services}}}\n", encoding="utf-8")
    with pytest.raises(ValidationError) as refused:
        read_target_file(path, {})
    assert problem in refused.value.message
    assert SECRET not in repr(refused.value)


def test_a_variable_that_is_not_set(tmp_path: Path) -> None:
    """R17: told when the target opens; files stand beside the file of targets."""
    path = tmp_path / "targets.yaml"
    text = "targets:\n  chat: {kind: apprise, templates: t, services: [{name: a, %s}]}\n"
    for source, problem in (
        ("url_env: NOWHERE", "the variable NOWHERE is not set"),
        ("url_file: x", f"{tmp_path}/x cannot"),
    ):
        path.write_text(text % source, encoding="utf-8")
        config = read_target_file(path, {}).targets["chat"]
        with pytest.raises(ValidationError, match=problem):
            open_target("chat", config, {})

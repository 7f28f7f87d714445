"""Mail over TLS: what is verified, what is demanded, and where a password goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from onex_mesh.effect.adapters.catalog import open_target
from onex_mesh.effect.core.target_file import read_target_file
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError
from tests.effect_engine import effect_world
from tests.mail_server import CA_FILE, Mailbox, mail_server, mail_templates, mail_world, plain_mail, scripted_server

TLS = {"ca_file": str(CA_FILE)}
PASSWORD = "pass-word-1"


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_mail_goes_through_tls(tmp_path: Path, tls: str, host: str) -> None:
    """R17: STARTTLS and implicit TLS, with a certificate that the declared authority signed for that name."""
    async with mail_server(tls=tls) as box, mail_world(tmp_path, box.port, tls=tls, host=host, **TLS) as world:
        await world.effect(*plain_mail())
        await world.lanes["mail"].adapter.check()
    assert len(box.mails) == 1
    assert box.commands[-1] == "NOOP"
    # aiosmtpd notes TLS only where it began it itself.
    assert box.was_encrypted == [tls == "starttls"]


@pytest.mark.parametrize("tls", ["starttls", "implicit", "opportunistic"])
async def test_a_certificate_of_an_unknown_authority(tmp_path: Path, tls: str) -> None:
    """R17: without `ca_file` the authorities of the system count, and this one is none of them. Nothing is sent."""
    served = "implicit" if tls == "implicit" else "starttls"
    async with mail_server(tls=served) as box, mail_world(tmp_path, box.port, tls=tls) as world:
        with pytest.raises(EffectFailedError, match="certificate of mail server 'mail' is not accepted") as failed:
            await world.effect(*plain_mail())
        assert failed.value.error_context["attempts"] == 1
    assert box.mails == []


async def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    """R17: the name that is called has to stand in the certificate: 127.0.0.2 is the same machine, and another name."""
    async with (
        mail_server(tls="starttls", host="127.0.0.2") as box,
        mail_world(tmp_path, box.port, tls="starttls", host="127.0.0.2", **TLS) as world,
    ):
        with pytest.raises(EffectFailedError, match="IP address mismatch"):
            await world.effect(*plain_mail())
    assert box.mails == []


async def test_a_server_that_strips_starttls(tmp_path: Path) -> None:
    """R17: a server, or someone on the way, that does not offer STARTTLS gets neither mail nor password."""
    settings = {"tls": "starttls", "username": "shop", "password_file": "password.txt", **TLS}
    (tmp_path / "password.txt").write_text(PASSWORD, encoding="utf-8")
    seen: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test ESMTP\r\n")
        while line := await reader.readline():
            seen.append(line)
            writer.write(b"250-test\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 1000000\r\n")

    async with scripted_server(plain) as port, mail_world(tmp_path, port, **settings) as world:
        with pytest.raises(EffectFailedError, match="does not offer STARTTLS, which this target requires"):
            await world.effect(*plain_mail())
        with pytest.raises(EffectFailedError, match="does not offer STARTTLS"):
            await world.lanes["mail"].adapter.check()
    assert {line.split()[0] for line in seen} == {b"EHLO"}


async def test_opportunistic_tls(tmp_path: Path) -> None:
    """R17: used where it is offered, and mail goes in the clear where it is not."""
    for served in ("starttls", "none"):
        async with (
            mail_server(tls=served) as box,
            mail_world(tmp_path, box.port, tls="opportunistic", **TLS) as world,
        ):
            await world.effect(*plain_mail())
        assert box.was_encrypted == [served == "starttls"]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_login(tmp_path: Path, tls: str) -> None:
    """R17: the password of a variable logs in; a mail is taken only after that."""
    box = Mailbox(users={"shop": PASSWORD})
    mail_templates(tmp_path)
    async with mail_server(box, tls=tls, needs_login=True):
        text = f"""\
  mail: {{kind: smtp, host: 127.0.0.1, port: {box.port}, tls: {tls}, ca_file: {CA_FILE}, username: shop,
    password_env: MAIL_PASSWORD, sender: shop@shop.example, templates: templates, recipient_domains: ["*"]}}
"""
        async with effect_world(tmp_path, text, environment={"MAIL_PASSWORD": PASSWORD}) as world:
            await world.effect(*plain_mail())
    assert box.logins == ["shop"]
    assert len(box.mails) == 1


async def test_a_wrong_password(tmp_path: Path) -> None:
    """R17, R19: final, and neither the error nor the audit record has the password in it."""
    box = Mailbox(users={"shop": "another"})
    (tmp_path / "password.txt").write_text(PASSWORD + "\n", encoding="utf-8")
    settings = {"tls": "starttls", "username": "shop", "password_file": "password.txt", **TLS}
    async with mail_server(box, tls="starttls"), mail_world(tmp_path, box.port, **settings) as world:
        with pytest.raises(EffectFailedError, match="refused the credentials: 535") as failed:
            await world.effect(*plain_mail())
        assert failed.value.error_context["attempts"] == 1
        assert PASSWORD not in repr((failed.value, failed.value.__cause__, failed.value.error_context))
        assert PASSWORD not in repr(world.audit.records)
    assert box.mails == []


async def test_a_login_that_passes_later(tmp_path: Path) -> None:
    """R15: 454, "temporary authentication failure", is tried again."""
    refusal = AuthResult(success=False, handled=False, message="454 4.7.0 not now")
    box = Mailbox(users={"shop": PASSWORD}, login_answers=[refusal, refusal])
    (tmp_path / "password.txt").write_text(PASSWORD, encoding="utf-8")
    settings = {"tls": "starttls", "username": "shop", "password_file": "password.txt", **TLS}
    async with mail_server(box, tls="starttls"), mail_world(tmp_path, box.port, **settings) as world:
        # Two mechanisms are offered, and both are tried.
        assert (await world.effect(*plain_mail())).metadata.attempts == 2
    assert len(box.mails) == 1


async def test_a_server_without_login(tmp_path: Path) -> None:
    """R19: a target with a user name and a server without AUTH: final, with the reason."""

    class Plain(SMTP):
        """Leaves AUTH out of what it offers."""

        async def push(self, status: str | bytes) -> None:
            if isinstance(status, str) and status.startswith(("250-AUTH", "250 AUTH")):
                return
            await super().push(status)

    (tmp_path / "password.txt").write_text(PASSWORD, encoding="utf-8")
    settings = {"tls": "starttls", "username": "shop", "password_file": "password.txt", **TLS}
    async with mail_server(tls="starttls", kind=Plain) as box, mail_world(tmp_path, box.port, **settings) as world:
        with pytest.raises(EffectFailedError, match="AUTH extension is not supported"):
            await world.effect(*plain_mail())
    assert box.mails == []


async def test_a_server_that_talks_no_tls(tmp_path: Path) -> None:
    """R19: implicit TLS to a port that speaks plainly: unavailable, not a crash."""
    async with mail_server() as box, mail_world(tmp_path, box.port, tls="implicit", **TLS) as world:
        with pytest.raises(TargetUnavailableError, match="cannot be reached or broke off"):
            await world.effect(*plain_mail(), retries=0)
    assert box.mails == []


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("ca_file: nowhere.pem", "nowhere.pem cannot be read, or has no certificate"),
        ("ca_file: templates/plain.txt.j2", "cannot be read, or has no certificate"),
        ("sender: nobody", "sender: 'nobody' is not a plain mail address"),
        ("reply_to: 'x, y@z.example'", "reply_to"),
        ("recipient_domains: [good.example, 'ba d']", "recipient_domains: 'ba d'"),
        ("password_env: NOWHERE", "the variable NOWHERE is not set"),
    ],
)
def test_a_declaration_that_cannot_work(tmp_path: Path, lines: str, problem: str) -> None:
    """R17, R18: told when the target opens."""
    mail_templates(tmp_path)
    given = {"sender": "s@x.example", "recipient_domains": "['*']"}
    name, _, value = lines.partition(": ")
    given[name] = value
    body = "".join(f"    {key}: {text}\n" for key, text in given.items())
    path = tmp_path / "targets.yaml"
    path.write_text(
        f"targets:\n  mail:\n    kind: smtp\n    host: h\n    templates: templates\n{body}", encoding="utf-8"
    )
    config = read_target_file(path, {}).targets["mail"]
    with pytest.raises(ValidationError, match=problem):
        open_target("mail", config, {})

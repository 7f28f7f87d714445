"""What contracts and data try with mails: each is refused with its reason, and nothing is sent."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from email.message import EmailMessage
from pathlib import Path

import pytest

from onex_mesh.effect.adapters.smtp.addresses import ascii_domain, read_mailbox
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError, ValidationError
from tests.mail_server import Mailbox, mail_server, mail_templates, mail_world, plain_mail

GOOD = {"recipient_domains": "[good.org, bücher.example]"}
EVERYTHING = {
    "recipient_domains": "[good.org]",
    "allow": "[cc, bcc, reply_to]",
    "attachments": "{types: [text/csv, application/pdf], count_max: 2}",
}


@pytest.fixture
async def mailbox() -> AsyncGenerator[Mailbox, None]:
    """A mail server on a free port."""
    async with mail_server() as box:
        yield box


@pytest.mark.parametrize(
    "address",
    [
        "a@evil.org",
        "a@sub.good.org",
        "a@good.org.evil.org",
        "a@evilgood.org",
        "a@good.orgs",
        "a@good.org, b@evil.org",
        "a@good.org,b@evil.org",
        "a@good.org;b@evil.org",
        "a@good.org b@evil.org",
        "a@evil.org,@good.org",
        "a@evil.org@good.org",
        '"a@evil.org"@good.org',
        '"a b"@good.org',
        "a(comment)@good.org",
        "a@good.org(@evil.org)",
        "(b@evil.org)a@good.org",
        "Ann <a@good.org>",
        "<a@good.org>",
        "a@good.org>",
        "a@good.org> SIZE=1",
        "a@good.org.",
        "a@.good.org",
        "a@good..org",
        ".a@good.org",
        "a..b@good.org",
        "a.@good.org",
        "@good.org",
        "a@",
        "good.org",
        "",
        " a@good.org",
        "a@good.org\n",
        "a@good.org\r\nRCPT TO:<b@evil.org>",
        "a@good.org\x00",
        "a\x00@good.org",
        "a@good.org\u2028b@evil.org",
        "a\u2029@good.org",
        "a\x85@good.org",
        "a%evil.org@good.org",
        "evil.org!a@good.org",
        "@evil.org:a@good.org",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@g\u043e\u043ed.org",
        "a@good\u3002org",
        "a@\uff47\uff4f\uff4f\uff44.org",
        "a@good.org\u200b",
        "a\u202e@good.org",
        "\uff41\u0308@good.org ",
        "a@bu\u0308cher.example",
        "a@xn--bcher-kva.example.evil.org",
        "a@-good.org",
        f"{'a' * 65}@good.org",
        f"a@{'b' * 250}.good.org",
        "=?utf-8?q?a=40evil.org?=@good.org,",
    ],
)
async def test_recipients_outside(tmp_path: Path, mailbox: Mailbox, address: str) -> None:
    """R18: nothing but a plain address of a listed domain is a recipient, in any of the fields."""
    async with mail_world(tmp_path, mailbox.port, **GOOD) as world:
        for given in ({"to": address}, {"to": ["a@good.org", address]}, {"to": [{"address": address}]}):
            with pytest.raises(ValidationError) as refused:
                await world.effect(*plain_mail(**given))
            assert {path for path, _ in refused.value.violations} == {"io_operation_config.parameters.to"}
        with pytest.raises(ValidationError):
            await world.effect(*plain_mail(to="a@good.org", cc=[address]))
    assert mailbox.commands == []


@pytest.mark.parametrize(
    ("domain", "ascii_form"),
    [
        ("Good.ORG", "good.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
    ],
)
def test_domains_compare_as_dns_knows_them(domain: str, ascii_form: str) -> None:
    """R18: lower case, international labels as xn--…"""
    assert ascii_domain(domain) == ascii_form


@pytest.mark.parametrize(
    "domain", ["straße.example", "βόλος.example", "a\u200db.example", "ﬁ.example", "", "a_b.example"]
)
def test_domains_that_could_be_read_in_two_ways(domain: str) -> None:
    """R18: what the conversion would change into another name is refused."""
    with pytest.raises(ValueError, match="domain"):
        ascii_domain(domain)


async def test_international_domains(tmp_path: Path, mailbox: Mailbox) -> None:
    """R90: reached by any server, since the domain travels as xn--…"""
    async with mail_world(tmp_path, mailbox.port, **GOOD) as world:
        await world.effect(*plain_mail(to=["a@bücher.example", "a@xn--bcher-kva.example", "a@BÜCHER.example"]))
    assert mailbox.recipients == [["a@xn--bcher-kva.example"]]
    assert mailbox.mails[0]["To"] == "a@xn--bcher-kva.example"


async def test_international_mailboxes(tmp_path: Path) -> None:
    """R90: through a server with SMTPUTF8; another one gets nothing, and the effect ends with the reason."""
    async with mail_server(utf8=True) as box, mail_world(tmp_path, box.port, **GOOD) as world:
        await world.effect(*plain_mail(to=["änne@good.org", {"address": "b@good.org", "name": "Jürgen"}]))
    assert box.recipients == [["änne@good.org", "b@good.org"]]
    assert "änne@good.org" in box.mails[0]["To"]
    async with mail_server() as box, mail_world(tmp_path, box.port, **GOOD) as world:
        with pytest.raises(EffectFailedError, match="takes no international addresses") as failed:
            await world.effect(*plain_mail(to=["b@good.org", "änne@good.org"]))
        assert failed.value.error_context["attempts"] == 1
    assert (box.mails, box.commands) == ([], [])


async def test_everything_that_may_be_said(tmp_path: Path, mailbox: Mailbox) -> None:
    """R90: cc, bcc, reply_to, names and files where allowed; bcc stands in no header; each recipient once."""
    csv = base64.b64encode(b"a,b\n1,2\n").decode()
    settings = {**EVERYTHING, "reply_to_domains": "[desk.example]"}
    async with mail_world(tmp_path, mailbox.port, **settings) as world:
        result = await world.result(
            *plain_mail(
                to=[{"address": "a@good.org", "name": "Ann, „the“ <b@evil.org>"}, "b@good.org", "a@GOOD.org"],
                cc=["c@good.org", "b@good.org"],
                bcc="d@good.org",
                reply_to={"address": "desk@desk.example", "name": "Desk"},
                attachments=[{"name": "Zahlen ä.csv", "content_type": "text/csv", "content": csv}],
            )
        )
    assert isinstance(result, dict)
    assert result["accepted"] == 4
    assert mailbox.recipients == [["a@good.org", "b@good.org", "c@good.org", "d@good.org"]]
    (mail,) = mailbox.mails
    to = mail["To"].addresses
    assert [(row.display_name, row.addr_spec) for row in to] == [
        ("Ann, „the“ <b@evil.org>", "a@good.org"),
        ("", "b@good.org"),
    ]
    assert mail["Reply-To"] == "Desk <desk@desk.example>"
    assert "d@good.org" not in mail.as_string()
    (file,) = mail.iter_attachments()
    assert isinstance(file, EmailMessage)
    assert (file.get_filename(), file.get_content_type()) == ("Zahlen ä.csv", "text/csv")
    assert file.get_payload(decode=True) == b"a,b\n1,2\n"


async def test_answers_go_where_the_operator_says(tmp_path: Path, mailbox: Mailbox) -> None:
    """R17: a declared `reply_to` stands in every mail."""
    async with mail_world(tmp_path, mailbox.port, reply_to="Desk <desk@shop.example>") as world:
        await world.effect(*plain_mail())
    assert mailbox.mails[0]["Reply-To"] == "Desk <desk@shop.example>"


NAMES = ["Ann\r\nBcc: b@evil.org", "Ann\n", "\x00", "a\u2028b", "a\u2029b", "a\x85b", "a\u202eb", "\u200b", "x" * 101]


@pytest.mark.parametrize("name", NAMES)
async def test_names_are_no_headers(tmp_path: Path, mailbox: Mailbox, name: str) -> None:
    """R18: no line breaks, no control characters, nothing invisible in a display name."""
    async with mail_world(tmp_path, mailbox.port, **EVERYTHING) as world:
        for field in ("to", "cc", "bcc", "reply_to"):
            given: dict[str, object] = {"to": "a@good.org", field: {"address": "a@good.org", "name": name}}
            with pytest.raises(ValidationError, match="the name shown with"):
                await world.effect(*plain_mail(**given))
    assert mailbox.commands == []


@pytest.mark.parametrize(
    "subject", ["x\r\nBcc: b@evil.org", "x\ny", "x\ry", "x\x00y", "x\u2028y", "x\u2029y", "x\x85y", "x\x0by", "x\x1by"]
)
async def test_subjects_are_one_line(tmp_path: Path, mailbox: Mailbox, subject: str) -> None:
    """R18: a line break in the data does not end the header."""
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(ValidationError, match="line break or a control character"):
            await world.effect(*plain_mail(data={"text": "x", "subject": subject}))
    assert mailbox.commands == []


async def test_bodies_are_only_bodies(tmp_path: Path, mailbox: Mailbox) -> None:
    """R18: neither a line with a dot nor a boundary or header in the data ends the mail or begins another one."""
    lines = [
        "one",
        ".",
        "MAIL FROM:<x@evil.org>",
        "RCPT TO:<y@evil.org>",
        "DATA",
        "Subject: z",
        "",
        ".",
        "--==",
        "\x00",
    ]
    async with mail_world(tmp_path, mailbox.port) as world:
        await world.effect(*plain_mail(data={"text": "\r\n".join(lines)}))
    (mail,) = mailbox.mails
    body = mail.get_body()
    assert body is not None
    assert body.get_content().splitlines() == lines
    assert mailbox.recipients == [["anna@customers.example"]]


@pytest.mark.parametrize(
    ("parameters", "field", "reason"),
    [
        ({"bcc": "b@good.org"}, "bcc", "does not allow"),
        ({"reply_to": "b@shop.example"}, "reply_to", "does not allow"),
        ({"attachments": [{"name": "a", "content_type": "a/b", "content": ""}]}, "attachments", "takes none"),
        ({"from": "boss@good.org"}, "from", "Extra inputs"),
        ({"headers": {"X-A": "b"}}, "headers", "Extra inputs"),
        ({"to": {"address": "a@good.org", "headers": "x"}}, "to.0.headers", "Extra inputs"),
        ({"to": [["a@good.org"]]}, "to.0", "valid dictionary"),
        ({"to": 7}, "to.0", "valid dictionary"),
        ({"data": []}, "data", "valid dictionary"),
        ({"template": "_base"}, "template", "is not one of"),
        ({"template": "parts/foot"}, "template", "is not one of"),
    ],
)
async def test_what_the_target_does_not_allow(
    tmp_path: Path, mailbox: Mailbox, parameters: dict[str, object], field: str, reason: str
) -> None:
    """R17, R18: by default only `cc`; never a sender, a header or a template that is not there."""
    mail_templates(tmp_path)
    (tmp_path / "templates/_base.txt.j2").write_text("x", encoding="utf-8")
    async with mail_world(tmp_path, mailbox.port) as world:
        with pytest.raises(ValidationError, match=reason) as refused:
            await world.effect(*plain_mail(**parameters))
        assert f"io_operation_config.parameters.{field}" in {path for path, _ in refused.value.violations}
    assert mailbox.commands == []


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ({"name": "../x.csv"}, "name"),
        ({"name": "a\r\nb.csv"}, "name"),
        ({"name": 'a".csv'}, "name"),
        ({"name": "a\u2028.csv"}, "name"),
        ({"name": "a\u202evsc.exe"}, "name"),
        ({"name": ".csv."}, "name"),
        ({"name": ""}, "name"),
        ({"content_type": "text/html"}, "content_type"),
        ({"content_type": "text/csv; charset=x\r\nBcc: b@evil.org"}, "content_type"),
        ({"content": "no base64!"}, "content"),
        ({"content": "YQ"}, "content"),
    ],
)
async def test_files_that_are_refused(tmp_path: Path, mailbox: Mailbox, file: dict[str, str], field: str) -> None:
    """R18: plain names, listed types, base64."""
    given = {"name": "x.csv", "content_type": "text/csv", "content": "YQ==", **file}
    async with mail_world(tmp_path, mailbox.port, **EVERYTHING) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect(*plain_mail(to="a@good.org", attachments=[given]))
        path = f"io_operation_config.parameters.attachments.0.{field}"
        assert [row for row, _ in refused.value.violations] == [path]
    assert mailbox.commands == []


async def test_too_much(tmp_path: Path, mailbox: Mailbox) -> None:
    """R154: too many recipients or files, too large ones, data too deep or of too many values."""
    file = {"name": "x.csv", "content_type": "text/csv", "content": base64.b64encode(b"x" * 2_000).decode()}
    deep: object = "x"
    for _ in range(25):
        deep = [deep]
    async with mail_world(tmp_path, mailbox.port, recipients_max="3", **EVERYTHING) as world:
        with pytest.raises(ValidationError, match="4 recipients are more than 3"):
            await world.effect(*plain_mail(to=["a@good.org"] * 2, cc=["a@good.org"], bcc=["a@good.org"]))
        with pytest.raises(ValidationError, match="3 are more than 2"):
            await world.effect(*plain_mail(to="a@good.org", attachments=[{**file, "content": ""}] * 3))
        with pytest.raises(PayloadTooLargeError):
            await world.effect(*plain_mail(to="a@good.org", attachments=[file] * 2))
        with pytest.raises(PayloadTooLargeError):
            await world.effect(*plain_mail(to="a@good.org", attachments=[file], data={"text": "x" * 1_500}))
        with pytest.raises(ValidationError, match="nested deeper than 20 levels"):
            await world.effect(*plain_mail(to="a@good.org", data={"text": deep}))
        with pytest.raises(ValidationError, match="more than 20000 values"):
            await world.effect(*plain_mail(to="a@good.org", data={"text": [0] * 20_001}))
    assert mailbox.commands == []


async def test_names_of_all_scripts(tmp_path: Path, mailbox: Mailbox) -> None:
    """R90: joiners and letters of any script stand in names."""
    name = "ن\u200cام 名前 👩\u200d🚀"
    async with mail_world(tmp_path, mailbox.port, **GOOD) as world:
        await world.effect(*plain_mail(to={"address": "a@good.org", "name": name}))
    assert mailbox.mails[0]["To"].addresses[0].display_name == name


def test_a_mailbox_is_read_once() -> None:
    """R90: the local part keeps its case, the domain does not."""
    mailbox = read_mailbox("Ann.B+x@Good.Org", " Ann ")
    assert (mailbox.address, mailbox.name, mailbox.needs_utf8) == ("Ann.B+x@good.org", "Ann", False)

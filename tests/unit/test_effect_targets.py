"""The operator's file of targets: variables, paths, limits, and errors that name file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex_mesh.effect.core.credentials import Secret, read_secret
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.kinds.file import FileTarget
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.effect.core.target_file import TargetFile, read_target_file
from onex_mesh.effect.core.target_models import BUILT_IN_MODELS
from onex_mesh.runtime.errors import ValidationError

EVERYTHING = """\
audit: {path: logs/audit.jsonl, flush_interval_s: 0.5}
targets:
  orders:
    kind: database
    description: The shop's orders
    dsn: postgresql://shop@${DB_HOST:-db.internal}:5432/shop
    password_env: DB_PASSWORD
    table: orders
    tables:
      orders: {columns: [order_id, total], key: [order_id], operations: [insert, select]}
    limits: {concurrency: 4, timeout_s: 2.5, size_bytes: 1000}
    retry: {max_retries: 1}
    breaker: {failure_threshold: 2, recovery_s: 1}
  local: {kind: database, dsn: "sqlite:///data/a.db", tables: {t: {columns: [id]}}}
  shop:
    kind: http
    base_url: https://api.example/v1/
    allow: [{methods: [GET, POST], path: /orders}]
    bearer_token_file: token.txt
  inbox: {kind: file, root: "${ROOT}/in", operations: [read]}
  mail:
    kind: smtp
    host: smtp.example
    port: ${SMTP_PORT:-25}
    tls: none
    sender: Shop <shop@example.org>
    recipient_domains: [example.org]
    templates: templates
  events: {kind: event_log, path: "$${literal}.jsonl"}
"""


def _read(folder: Path, text: str, **environment: str) -> TargetFile:
    path = folder / "targets.yaml"
    path.write_text(text, encoding="utf-8")
    return read_target_file(path, environment)


def _problems(folder: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        _read(folder, text, **environment)
    prefix = f"{folder / 'targets.yaml'}:"
    lines = refused.value.message.splitlines()
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


def test_every_kind_of_target_is_read(tmp_path: Path) -> None:
    """R17, R154: the models of all kinds, with their limits, retry and breaker."""
    targets = _read(tmp_path, EVERYTHING, ROOT="/srv").targets
    assert list(targets) == ["orders", "local", "shop", "inbox", "mail", "events"]
    orders = targets["orders"]
    assert isinstance(orders, DatabaseTarget)
    assert orders.dsn == "postgresql://shop@db.internal:5432/shop"
    assert (orders.limits.concurrency, orders.limits.timeout_s, orders.limits.size_bytes) == (4, 2.5, 1000)
    assert orders.retry.rules().max_retries == 1
    assert orders.breaker.rules().failure_threshold == 2
    assert isinstance(targets["shop"], HttpTarget)
    assert targets["shop"].base_url == "https://api.example/v1"
    assert isinstance(targets["mail"], SmtpTarget)
    assert targets["mail"].port == 25


def test_variables_and_relative_paths(tmp_path: Path) -> None:
    """R17: ${NAME}, its default and the escape; relative paths begin at the folder of the file."""
    file = _read(tmp_path, EVERYTHING, ROOT="/srv", DB_HOST="pg", SMTP_PORT="2525")
    assert isinstance(file.targets["inbox"], FileTarget)
    assert file.targets["inbox"].root == Path("/srv/in")
    assert file.targets["orders"].model_dump()["dsn"] == "postgresql://shop@pg:5432/shop"
    assert file.targets["local"].model_dump()["dsn"] == f"sqlite:///{tmp_path}/data/a.db"
    assert file.targets["events"].model_dump()["path"] == tmp_path / "${literal}.jsonl"
    assert file.targets["mail"].model_dump()["port"] == 2525
    assert file.audit.path == tmp_path / "logs/audit.jsonl"


def test_a_file_without_targets_is_empty(tmp_path: Path) -> None:
    """R4: an operator may declare nothing."""
    assert _read(tmp_path, "targets: {}\n").targets == {}
    assert _read(tmp_path, "").targets == {}


def test_all_violations_with_their_lines(tmp_path: Path) -> None:
    """R18: everything that is wrong, each with file, line and field, in the order of the lines."""
    text = """\
targets:
  a: {kind: ftp}
  b:
    kind: file
    root: ${NOWHERE}
  c:
    kind: http
    base_url: ftp://x
    allow: []
    colour: red
  d: just text
  e:
    kind: smtp
    host: h
    sender: s@x.example
    templates: t
    recipient_domains: ["*"]
    limits: {concurrency: 0}
  app: {kind: file, root: x}
extra: 1
"""
    assert _problems(tmp_path, text) == [
        "5: targets.b.root: the variable NOWHERE is not set and has no default",
    ]
    found = _problems(tmp_path, text, NOWHERE="x")
    assert [row.partition(" ")[0] + row.split(" ")[1] for row in found] == [
        "2:targets.a.kind:",
        "8:targets.c.base_url:",
        "9:targets.c.allow:",
        "10:targets.c.colour:",
        "11:targets.d:",
        "18:targets.e.limits.concurrency:",
        "19:targets.app:",
        "20:extra:",
    ]
    assert found[0].endswith(f"'ftp' is not one of {', '.join(BUILT_IN_MODELS)}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("dsn: postgresql://u:secret@h/d", "holds a password"),
        ("dsn: mysql://u@h/d", "is not sqlite:///"),
        ("dsn: 'sqlite:///'", "names no file"),
    ],
)
def test_a_dsn_holds_no_password(tmp_path: Path, line: str, problem: str) -> None:
    """R17: credentials come by variable or file only; the refusal does not repeat them."""
    text = f"targets:\n  a:\n    kind: database\n    {line}\n    tables: {{t: {{columns: [id]}}}}\n"
    (found,) = _problems(tmp_path, text)
    assert found.startswith("4: targets.a.dsn: ")
    assert problem in found
    assert "secret" not in found


def test_credentials_in_a_url_are_refused(tmp_path: Path) -> None:
    """R17: nor may they stand in a base URL."""
    text = "targets:\n  a: {kind: http, base_url: 'https://u:secret@h', allow: [{methods: [GET], path: /}]}\n"
    (found,) = _problems(tmp_path, text)
    assert "holds credentials" in found
    assert "secret" not in found


def test_tables_and_columns_are_plain_identifiers(tmp_path: Path) -> None:
    """R18: what is not an identifier cannot be listed, so no contract can name it."""
    text = "targets:\n  a: {kind: database, dsn: 'sqlite:///x.db', tables: {'t; DROP': {columns: ['a b']}}}\n"
    found = _problems(tmp_path, text)
    assert all(row.startswith("2: targets.a.tables.t; DROP") for row in found)
    assert sum("should match pattern" in row for row in found) == 2


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """R18: YAML would let the last one win without a word."""
    text = "targets:\n  a: {kind: file, root: x}\n  a: {kind: file, root: y}\n"
    assert _problems(tmp_path, text) == ["3: targets.a: stands here twice"]


def test_text_that_is_no_yaml(tmp_path: Path) -> None:
    """R18: a syntax error names its line; a missing file its path."""
    assert _problems(tmp_path, "targets:\n  a: {kind: [\n")[0].startswith(("2: ", "3: "))
    with pytest.raises(ValidationError, match=r"absent\.yaml: cannot be read"):
        read_target_file(tmp_path / "absent.yaml", {})


def test_passwords_need_tls(tmp_path: Path) -> None:
    """R17: a mail password is not sent in the clear."""
    for tls in ("none", "opportunistic"):
        rest = "sender: a@b, recipient_domains: ['*'], templates: t"
        text = f"targets:\n  m: {{kind: smtp, host: h, tls: {tls}, username: u, password_env: P, {rest}}}\n"
        (found,) = _problems(tmp_path, text)
        assert "a password is not sent without TLS" in found


def test_secrets_are_read_late_and_never_shown(tmp_path: Path) -> None:
    """R17: from a variable or a file; missing ones are named; a secret shows itself nowhere."""
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="utf-8")
    from_file = read_secret("t", None, file, {})
    assert from_file == Secret("from-file")
    assert read_secret("t", "TOKEN", None, {"TOKEN": "from-env"}) == Secret("from-env")
    assert read_secret("t", None, None, {}) is None
    assert "from-file" not in f"{from_file} {from_file!r}"
    with pytest.raises(ValidationError, match="TOKEN is not set"):
        read_secret("t", "TOKEN", None, {})
    with pytest.raises(ValidationError, match="cannot be read"):
        read_secret("t", None, tmp_path / "absent", {})
    file.write_text("", encoding="utf-8")
    with pytest.raises(ValidationError, match="is empty"):
        read_secret("t", None, file, {})

"""`onex-mesh payload`: reading and keeping what is too large to travel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from onex.v1 import common_pb2, workflow_pb2
from onex_mesh.app.contract_form import fill_fields
from onex_mesh.app.plain_form import payload_plain
from onex_mesh.cli.commands import cli
from onex_mesh.cli.workflow_view import location_text, size_text, step_remark
from onex_mesh.runtime.payload import JSON_TYPE, json_payload
from onex_mesh.runtime.payload_store import location_of
from onex_mesh.runtime.violations import Violations


def ran(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["payload", *arguments, "--payload-store", f"file://{folder}/store"])


def test_what_was_put_is_read(tmp_path: Path) -> None:
    """R20: put writes the payload that stands for the file; get reads it, to a file or to stdout."""
    rows = tmp_path / "rows.json"
    rows.write_bytes(b"[1, 2]\n")
    done = ran(tmp_path, "put", str(rows), "--content-type", JSON_TYPE)
    location = location_of(b"[1, 2]\n")
    assert json.loads(done.stdout) == {
        "location": {"uri": location.uri, "digest": location.digest, "size_bytes": 7},
        "content_type": JSON_TYPE,
    }
    assert ran(tmp_path, "get", location.uri, "-o", str(tmp_path / "copy")).exit_code == 0
    assert (tmp_path / "copy").read_bytes() == b"[1, 2]\n"
    assert ran(tmp_path, "get", location.uri).stdout_bytes == b"[1, 2]\n"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """R20: nothing there, something else there, no such file, no place to write it to; nothing is written."""
    rows = tmp_path / "rows.json"
    rows.write_bytes(b"[1, 2]")
    ran(tmp_path, "put", str(rows))
    uri = location_of(b"[1, 2]").uri
    target = tmp_path / "copy"
    no_folder = ran(tmp_path, "get", uri, "-o", str(tmp_path / "none" / "copy"))
    assert (no_folder.exit_code, "No such file" in no_folder.stderr) == (2, True)
    (tmp_path / "store" / uri).write_bytes(b"[1, 3]")
    changed = ran(tmp_path, "get", uri, "-o", str(target))
    (tmp_path / "store" / uri).unlink()
    gone = ran(tmp_path, "get", uri, "-o", str(target))
    missing = ran(tmp_path, "put", str(tmp_path / "none.json"))
    for done, text in ((changed, "another SHA-256"), (gone, "nothing is at"), (missing, "No such file")):
        assert done.exit_code == 2
        assert text in done.stderr.replace("\n", " ")
    assert not target.exists()


@pytest.mark.parametrize(
    ("size", "text"), [(812, "812 bytes"), (1024, "1.0 KiB"), (300_000, "293.0 KiB"), (1_572_864, "1.5 MiB")]
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    """R146: in powers of 1,024."""
    assert size_text(size) == text


def test_a_location_is_shown_and_written_as_what_it_is() -> None:
    """R146: in tables as size, type and place; in JSON in a form that is read back the same."""
    stored = common_pb2.Payload(location=location_of(b"[1, 2]"), content_type=JSON_TYPE)
    assert location_text(stored) == f"6 bytes of application/json at {stored.location.uri}"
    assert location_text(json_payload(1)) == ""
    assert step_remark(workflow_pb2.StepResult(result=stored)) == location_text(stored)
    again, violations = workflow_pb2.StepResult(), Violations()
    fill_fields(again, {"result": payload_plain(stored)}, "", violations)
    assert (again.result, violations.found) == (stored, [])

"""docs/quickstart.md as it stands: its files are written, its commands run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from tests.dev import ROOT, start_dev, stop_dev

PAGE = ROOT / "docs/quickstart.md"


def test_the_quick_start_works_as_it_is_written(tmp_path: Path) -> None:
    """Issue 2 §1, §5: somebody who follows the page has a durable workflow with its three kinds of step."""
    page = PAGE.read_text(encoding="utf-8")
    files = re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', page, flags=re.DOTALL)
    assert [name for name, _ in files] == ["tickets.py", "ticket.yaml", "targets.yaml"]
    for name, text in files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL)
    commands = [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]
    served, run, show, get, history, nodes, wrong = commands
    assert served[:2] == ["onex-mesh", "dev"]
    with start_dev(tmp_path, *served[2:], app="") as dev:
        first = dev.run(*run[1:])
        result = json.loads(first.stdout)
        assert result["output"]["status"] == "OPEN"
        assert result["output"]["urgent"] is True
        assert "open COMPLETED" in first.stderr
        assert show == ["cat", "desk/*.json"]
        tickets = list((tmp_path / "desk").glob("*.json"))
        assert [path.stem for path in tickets] == [result["output"]["number"]]
        assert json.loads(tickets[0].read_text(encoding="utf-8"))["text"] == "The shop is down"
        again = dev.run(*run[1:])
        assert json.loads(again.stdout) == result
        assert "exists already" in again.stderr
        assert "OPEN" in dev.run(*get[1:]).stdout
        assert "START_WORKFLOW" in dev.run(*history[1:]).stdout
        assert "algorithm:triage" in dev.run(*nodes[1:]).stdout
        failed = dev.run(*wrong[1:], code=1)
        assert "VALIDATION_FAILED" in failed.stderr
        assert "text" in failed.stderr
        assert stop_dev(dev) == 0

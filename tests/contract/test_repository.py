"""The repository: what its pages say is so, its commands exist, its versions are locked, its imports run one way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grpc
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from onex_mesh.runtime.errors import CODES
from tests.contract.descriptors import ROOT, services

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BIN = Path(sys.executable).parent

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_links_lead_somewhere(page: Path) -> None:
    """A link of a page leads to a file of the repository, and to a heading that is there."""
    links = [link for link in _LINK.findall(page.read_text()) if not link.startswith(("http://", "https://"))]
    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in {_anchor(heading) for heading in _HEADING.findall(target.read_text())}


def test_every_page_is_in_the_index() -> None:
    """A page that nobody finds is no page."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text())}
    assert [_page_id(page) for page in (ROOT / "docs").rglob("*.md") if page != index and page not in linked] == []


def _targets() -> dict[str, str]:
    """Every target of the Makefile with its explanation."""
    rows = re.findall(r"^([a-z][a-z-]*):[^=\n]*?(?:## (.*))?$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return dict(rows)


def test_make_help_shows_every_target() -> None:
    """`make help` has each target with its explanation, and the ones that people expect are there."""
    targets = _targets()
    assert {"run", "dev", "test", "lint", "generate", "bench", "help"} <= targets.keys()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, explanation in targets.items():
        assert explanation, f"make {name} is not explained"
        assert re.search(rf"^  make {name} +{re.escape(explanation)}$", shown, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_make_targets_that_a_page_names_exist(page: Path) -> None:
    """A `make` command in a page is a target of the Makefile."""
    named = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    assert [name for name in named if name not in _targets()] == []


@pytest.fixture(scope="module")
def commands() -> set[str]:
    """The subcommands of `onex-mesh`, as its help lists them."""
    run = subprocess.run([BIN / "onex-mesh", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^[\s│|]*([a-z]+) {2,}\S", run.stdout, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=_page_id)
def test_commands_that_a_page_names_exist(page: Path, commands: set[str]) -> None:
    """An `onex-mesh` command in a page is one of the command's."""
    named = re.findall(r"(?:^ {4}(?:\.venv/bin/)?|`(?:\.venv/bin/)?)onex-mesh ([a-z]+)", page.read_text(), re.MULTILINE)
    assert [name for name in named if name not in commands] == []


def test_the_table_of_errors_is_the_one_of_the_code() -> None:
    """docs/protocol.md has every reason with its gRPC code, and no other."""
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \| \S", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE)
    assert {reason: grpc.StatusCode[code] for reason, code in rows} == dict(CODES)


def test_the_methods_that_are_not_built_are_methods() -> None:
    """docs/not-built.md names methods of the contract, each once."""
    text = (ROOT / "docs" / "not-built.md").read_text()
    rows = re.findall(r"^\| ([A-Za-z]+)\.([A-Za-z]+) \|", text, re.MULTILINE)
    assert len(rows) == len(set(rows)) > 0
    for service, method in rows:
        assert method in services()[service].methods_by_name


def test_the_methods_that_are_not_built_are_all_named() -> None:
    """docs/not-built.md names just the methods that the code refuses as not built."""
    text = (ROOT / "docs" / "not-built.md").read_text()
    refused = [
        name
        for path in (ROOT / "nodes").rglob("*.py")
        for name in re.findall(r'raise not_built\("([A-Za-z]+)"\)', path.read_text())
    ]
    assert sorted(refused) == sorted(re.findall(r"^\| [A-Za-z]+\.([A-Za-z]+) \|", text, re.MULTILINE))


def _declared() -> dict[str, Requirement]:
    """Every package that pyproject.toml names, this one left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *project["dependency-groups"]["dev"],
    ]
    requirements = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    del requirements["onex-mesh"]
    return requirements


def test_every_dependency_is_locked() -> None:
    """constraints.txt has one exact version for each package that pyproject.toml names, within its range."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    locked = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(locked) == len(lines)
    for name, requirement in _declared().items():
        assert requirement.specifier.contains(locked[name]), name


def test_every_dependency_has_its_sentence() -> None:
    """docs/dependencies.md says of each package what it is for, and names none that is not declared."""
    text = (ROOT / "docs" / "dependencies.md").read_text().split("## Not Python")[0]
    named = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in ("package", "extra"):
            named |= {canonicalize_name(name) for name in cells[-2].split(", ")}
            assert len(cells[-1]) > 3, line
    assert named == _declared().keys()


def test_the_licence_is_apache_2() -> None:
    """The licence that pyproject.toml names is the one in the file, in full."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_imports_run_one_way() -> None:
    """R2, R4: cli → app → the four nodes → runtime → onex_lease → onex.v1; cores know no transport."""
    run = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


@pytest.mark.parametrize(
    ("line", "contract"),
    [
        ("import onex_mesh.effect.core", "Imports run one way"),
        ("import grpc", "Cores know no transport"),
        ("from onex.v1 import compute_pb2_grpc", "Cores know no transport"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, line: str, contract: str) -> None:
    """R2, R4: the check of imports finds a node that imports another one, and a core that imports a transport."""
    for folder in ("generated", "lease", "nodes"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    module = tmp_path / "nodes" / "onex_mesh" / "compute" / "core" / "__init__.py"
    module.write_text(f"{module.read_text()}\n{line}\n")
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("generated", "lease", "nodes"))
    run = subprocess.run(
        [BIN / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout
    assert f"{contract} BROKEN" in run.stdout


def test_scripts_are_sound_and_executable() -> None:
    """Every script parses, stops at its first error, and can be called."""
    scripts = [*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"]
    assert len(scripts) >= 5
    for script in scripts:
        assert script.stat().st_mode & 0o111, script
        assert "set -euo pipefail" in script.read_text(), script
        subprocess.run(["bash", "-n", script], check=True)

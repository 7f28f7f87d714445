"""Loading an App by name: what is found, and what is said of what is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onex_mesh.app import App, load_app
from onex_mesh.runtime.errors import ValidationError

_PREFIX = "onex_loading_"


@pytest.fixture(autouse=True)
def _imports_are_undone() -> Iterator[None]:
    """Modules and search paths that a test added are forgotten after it."""
    before = list(sys.path)
    yield
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
        del sys.modules[name]


def refusal(folder: Path, name: str) -> str:
    with pytest.raises(ValidationError) as caught:
        load_app(name, directory=folder)
    return caught.value.message


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{_PREFIX}{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


_APP = "from onex_mesh.app import App\napp = App('shop', version='2.1')\nclass box:\n    inner = app\nother = 5\n"


def test_an_app_is_found_by_module_and_attribute(tmp_path: Path) -> None:
    """Issue 2 §5: an App is loaded by module:attribute, like an ASGI app; `app` where no attribute is named."""
    write(tmp_path, "good", _APP)
    found = load_app(f"{_PREFIX}good:app", directory=tmp_path)
    assert isinstance(found, App)
    assert (found.name, found.version) == ("shop", "2.1")
    assert load_app(f"{_PREFIX}good", directory=tmp_path) is found
    assert load_app(f"{_PREFIX}good:box.inner", directory=tmp_path) is found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:app", "no module 'onex_loading_nowhere' in"),
        ("nowhere.deep:app", "no module 'onex_loading_nowhere' in"),
        ("good:application", "has no 'application'; did you mean 'app'?"),
        ("good:other", "is a int, not an App; did you mean 'app'?"),
        ("good.py", "expected module:attribute, such as shop.orders:app; give the module, not the file"),
        ("good:a b", "expected module:attribute"),
        ("empty:app", "has no 'app'; it holds no App"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    """Issue 2 §5: a name that leads nowhere is told apart by what is missing, with what may have been meant."""
    write(tmp_path, "good", _APP)
    write(tmp_path, "empty", "")
    assert message in refusal(tmp_path, f"{_PREFIX}{name}")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1\nx = y\n", 2, "NameError: name 'y' is not defined"),
        ("x = 1\n\nif x\n", 3, "expected ':'"),
        ("from onex_mesh.app import App\napp = App('a b')\n", 2, "the name 'a b' is not"),
        ("from onex_mesh.app import App\n\napp = App('a', version='one')\n", 3, "'one' is not a version (PEP 440)"),
        ("from onex_mesh.app import App\napp = App('a')\n@app.effect('x')\ndef f(): ...\n", 3, "(parameters, context)"),
        (
            "from onex_mesh.app import App\napp = App('a')\napp.workflow({'name': 'w', 'stps': []})\n",
            3,
            "stps: unknown key 'stps'; did you mean 'steps'?",
        ),
        (
            "from onex_mesh.app import App\napp = App('a')\n"
            "step = {'step_id': 'a', 'compute': {'input_data': '${steps.b.output}'}}\n"
            "app.workflow({'name': 'w', 'steps': [step]})\n",
            4,
            "steps[0].command: reads the unknown step 'b'",
        ),
    ],
)
def test_a_module_that_fails_is_told_with_file_and_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    """Issue 2 §5: a wrong definition is refused when the app loads, with file and line."""
    path = write(tmp_path, "bad", text)
    got = refusal(tmp_path, f"{_PREFIX}bad:app")
    assert got.startswith(f"{path}:{line}: ")
    assert message in got


def test_a_module_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    """Importing an App never ends the command silently."""
    write(tmp_path, "exit", "raise SystemExit(0)\n")
    assert "ends the process when it is imported" in refusal(tmp_path, f"{_PREFIX}exit:app")


def test_workflow_files_are_found_beside_the_module(tmp_path: Path) -> None:
    """A workflow file is named relative to the module, and its own file and line are told."""
    write(tmp_path, "flow", "from onex_mesh.app import App\napp = App('a')\ncontract = app.workflow('flow.yaml')\n")
    flow = tmp_path / "flow.yaml"
    text = "name: flow\nsteps:\n  - step_id: one\n    compute: {algorithm_config: {algorithm_type: sum}}\n"
    flow.write_text(text, encoding="utf-8")
    assert list(load_app(f"{_PREFIX}flow", directory=tmp_path).workflows.names()) == ["flow"]
    del sys.modules[f"{_PREFIX}flow"]
    flow.write_text(text + "  - step_id: one\n    compute: {}\n", encoding="utf-8")
    assert refusal(tmp_path, f"{_PREFIX}flow").startswith(f"{flow}:5: steps[1].step_id: 'one' is there twice")

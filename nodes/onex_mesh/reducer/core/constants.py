"""Where the constants of a module come from.

One that holds what the clock said when the module was loaded is another one in each process.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import types
from collections.abc import Mapping
from functools import lru_cache

from onex_mesh.reducer.core.impure import CLOCK, PROCESS, RANDOM, RANDOM_ID, SURROUNDINGS
from onex_mesh.reducer.core.judged import is_own, reason_against
from onex_mesh.reducer.core.uses import Scope, uses_of

_DIFFER = frozenset({CLOCK, RANDOM, RANDOM_ID, SURROUNDINGS, PROCESS})
# Reading a file when a module is loaded is how constants come to it; these say something else in each process.
_DIFFERING_NAMES = ("os.environ", "os.getenv", "os.getpid", "os.getcwd", "os.urandom", "socket.gethostname")


def reason_of_origin(module: str, name: str) -> str:
    """Why a constant differs from process to process, as far as the line that gives it its value tells; empty if not.

    Args:
        module: The module in which it is read.
        name: The constant.
    """
    origin = _assigned(module).get(name) if is_own(module) else None
    if isinstance(origin, tuple):
        return reason_of_origin(*origin)
    return "" if origin is None else _reason_in(sys.modules[module], origin)


def _reason_in(module: types.ModuleType, value: ast.expr) -> str:
    code = compile(ast.Expression(value), str(module.__file__), "eval")
    for use in uses_of(code, Scope({**vars(builtins), **vars(module)}, {})):
        differs = (use.reason or reason_against(use.value)) in _DIFFER or use.name.startswith(_DIFFERING_NAMES)
        if differs and use.name != "__file__":
            return f"holds what {use.name} gave at {use.place}, which {PROCESS}"
    return ""


@lru_cache(maxsize=256)
def _assigned(module: str) -> Mapping[str, ast.expr | tuple[str, str]]:
    """What the names of a module are given at its top: an expression, or the module and name that they come from."""
    found: dict[str, ast.expr | tuple[str, str]] = {}
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return found
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                found.update((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
            case ast.ImportFrom(names=names):
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), _package(module))
                found.update((row.asname or row.name, (source, row.name)) for row in names)
    return found


def _package(module: str) -> str | None:
    return getattr(sys.modules[module], "__package__", None)

"""Finds code that depends on the order of a set: for texts it is another one in each process (PYTHONHASHSEED).

Read from the source, as far as a function itself tells that something is a set: a display, a comprehension, a call of
`set` or `frozenset`, their unions and the like, and names that these are given to.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator

_MAKERS = frozenset({"set", "frozenset"})
_OF_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_IN_ORDER = frozenset(
    {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "next", "dict", "repr", "str"}
)
"""Functions whose result depends on the order of what they are given; of `sorted`, `min` or `len` it does not."""
_SET_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_Comprehension = ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp


def order_of_sets_used(function: types.FunctionType) -> tuple[int, str] | None:
    """Where a function first uses the order of a set, and how; None if it does not, or its source is not known.

    Returns:
        Line in its file, and what it does there.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    found = min(_Finder(tree).uses(), default=None)
    return None if found is None else (first + found[0] - 1, found[1])


class _Finder:
    """Looks through one function."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._names: set[str] = set()
        known = -1
        while known < len(self._names):
            # A name may be given what another name was given further down.
            known = len(self._names)
            self._learn()

    def uses(self) -> Iterator[tuple[int, str]]:
        """Line within the source, and what happens there."""
        for node in ast.walk(self._tree):
            match node:
                case ast.For(iter=iterated) if self._is_set(iterated):
                    yield node.lineno, "iterates over a set"
                case ast.Starred(value=value) if self._is_set(value):
                    yield node.lineno, "unpacks a set"
                case ast.Assign(targets=[ast.Tuple() | ast.List(), *_], value=value) if self._is_set(value):
                    yield node.lineno, "unpacks a set"
                case ast.FormattedValue(value=value) if self._is_set(value):
                    yield node.lineno, "writes a set as text"
                case ast.Call():
                    yield from self._calls(node)
                case ast.ListComp() | ast.GeneratorExp() | ast.DictComp():
                    yield from self._comprehends(node)

    def _calls(self, node: ast.Call) -> Iterator[tuple[int, str]]:
        match node.func:
            case ast.Name(id=name) if name in _IN_ORDER and any(self._is_set(given) for given in node.args):
                yield node.lineno, f"makes a {name} of a set"
            case ast.Attribute(attr="join") if any(self._is_set(given) for given in node.args):
                yield node.lineno, "joins a set"
            case ast.Attribute(attr="pop", value=value) if not node.args and self._is_set(value):
                yield node.lineno, "takes any item out of a set"

    def _comprehends(self, node: _Comprehension) -> Iterator[tuple[int, str]]:
        if self._is_unordered(node):
            return
        for generator in node.generators:
            if self._is_set(generator.iter):
                yield node.lineno, "iterates over a set"

    def _is_unordered(self, node: ast.AST) -> bool:
        """Whether a comprehension is only given to a function for which the order does not matter."""
        for parent in ast.walk(self._tree):
            if isinstance(parent, ast.Call) and node in parent.args:
                name = parent.func.id if isinstance(parent.func, ast.Name) else ""
                return name in ("sorted", "min", "max", "len", "any", "all", *_MAKERS)
        return False

    def _learn(self) -> None:
        for node in ast.walk(self._tree):
            match node:
                case ast.Assign(targets=targets, value=value) if self._is_set(value):
                    self._names.update(target.id for target in targets if isinstance(target, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if self._is_set(value):
                    self._names.add(name)
                case ast.NamedExpr(target=ast.Name(id=name), value=value) if self._is_set(value):
                    self._names.add(name)

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set(elts=items):
                # Whole numbers have the same order in every process.
                return not all(isinstance(item, ast.Constant) and isinstance(item.value, int) for item in items)
            case ast.SetComp():
                return True
            case ast.Name(id=name):
                return name in self._names
            case ast.Call(func=ast.Name(id=name)):
                return name in _MAKERS
            case ast.Call(func=ast.Attribute(attr=name, value=value)):
                return name in _OF_SETS and self._is_set(value)
            case ast.BinOp(left=left, op=operator, right=right):
                return isinstance(operator, _SET_OPERATORS) and (self._is_set(left) or self._is_set(right))
            case ast.IfExp(body=body, orelse=otherwise):
                return self._is_set(body) or self._is_set(otherwise)
        return False

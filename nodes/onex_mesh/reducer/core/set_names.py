"""Which expressions of a function are sets, as far as its source tells.

A display, a comprehension, a call of `set` or of a function that says it returns one, unions and the like, views of
keys that are joined, constants of the module, and names that these were given to.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Iterable

from onex_mesh.reducer.core.uses import MISSING, attribute_of

SET_MAKERS = frozenset({"set", "frozenset"})
_OF_SETS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_OPERATORS = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_ANNOTATION = re.compile(r"(?:\w+\.)*(?:set|frozenset|Set|FrozenSet|AbstractSet|MutableSet)\b")


class SetNames:
    """The names of a function that hold sets at some point of it.

    Args:
        function: The function.
        names: Those of its parameters that are known to.
    """

    def __init__(self, function: types.FunctionType, names: Iterable[str]) -> None:
        self._globals = function.__globals__
        self._locals = frozenset((*function.__code__.co_varnames, *function.__code__.co_cellvars))
        self.names = frozenset(names)

    def give(self, name: str, value: ast.expr | None) -> None:
        """A name is given a value; None for one of which nothing is known."""
        self.names = self.names | {name} if value is not None and self.is_set(value) else self.names - {name}

    def is_set(self, node: ast.expr) -> bool:
        """Whether an expression is a set."""
        match node:
            case ast.Set(elts=items):
                # Whole numbers have the same order in every process.
                return not all(isinstance(item, ast.Constant) and isinstance(item.value, int) for item in items)
            case ast.SetComp():
                return True
            case ast.Name(id=name) if name in self.names:
                return True
            case ast.Call(func=ast.Attribute(attr=name, value=value)) if name in _OF_SETS:
                return self.is_set(value) or name_of(value) in SET_MAKERS
            case ast.Call(func=function):
                return name_of(function) in SET_MAKERS or self._returns_set(function)
            case ast.BinOp(left=left, op=operator, right=right):
                either = self.is_set(left) or self.is_set(right) or _is_view(left) or _is_view(right)
                return isinstance(operator, _OPERATORS) and either
            case ast.IfExp(body=body, orelse=otherwise):
                return self.is_set(body) or self.is_set(otherwise)
            case ast.BoolOp(values=values):
                return any(map(self.is_set, values))
            case ast.NamedExpr(value=value):
                return self.is_set(value)
        found = self.known(node)
        return isinstance(found, set | frozenset) and not all(isinstance(item, int) for item in found)

    def known(self, node: ast.expr) -> object:
        """What a name, or an attribute of one, stands for outside of the function; `MISSING` if that is not known."""
        match node:
            case ast.Name(id=name) if name not in self._locals:
                return self._globals.get(name, MISSING)
            case ast.Attribute(value=value, attr=name):
                found = self.known(value)
                return MISSING if found is MISSING else attribute_of(found, name)
        return MISSING

    def _returns_set(self, node: ast.expr) -> bool:
        function = self.known(node)
        return isinstance(function, types.FunctionType) and says_set(function.__annotations__.get("return"))


def says_set(annotation: object) -> bool:
    """Whether an annotation, or its text, is that of a set."""
    text = annotation if isinstance(annotation, str) else str(getattr(annotation, "__name__", annotation))
    return bool(_ANNOTATION.match(text))


def name_of(node: ast.expr) -> str:
    """The last part of a name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_view(node: ast.expr) -> bool:
    """Whether it is a view of a mapping's keys or items, which the operators of sets make a set of."""
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[], keywords=[]):
            return True
    return False

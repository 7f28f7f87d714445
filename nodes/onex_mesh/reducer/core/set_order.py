"""Finds code that depends on what differs from machine to machine by its form: the order of a set, which for texts is
another one in each process (PYTHONHASHSEED), and the time zone of the machine.

Read from the source, statement by statement; `set_names` tells what is a set.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from onex_mesh.reducer.core.impure import PROCESS, TIME_ZONE
from onex_mesh.reducer.core.judged import is_own
from onex_mesh.reducer.core.set_names import SET_MAKERS, SetNames, name_of, says_set

_WITHOUT_ORDER = frozenset({"sorted", "min", "max", "len", "any", "all", "bool", "isinstance", "fsum", *SET_MAKERS})
"""Functions whose result does not depend on the order of what they are given; of `sorted` with a key it does, for
those that have the same key stay in the order in which they came."""
_IN_ORDER_NAMES = """
    list tuple iter enumerate zip map filter reversed next dict repr str sum reduce format print deque Counter
    OrderedDict chain islice product permutations combinations accumulate groupby batched pairwise cycle dumps join
    extend fromkeys writerow writerows from_iterable extendleft
"""
_IN_ORDER = frozenset(_IN_ORDER_NAMES.split())
"""Functions and methods whose result depends on the order of what they are given."""
_SORT_IT = f", whose order {PROCESS}: sort it"

Given = tuple[types.FunctionType, frozenset[str]]
"""A function of the application that is called with sets, and the names of those parameters."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """What a function does, and in which line of its file."""

    line: int
    text: str


def findings_of(
    function: types.FunctionType, sets: frozenset[str] = frozenset()
) -> tuple[Sequence[Finding], Sequence[Given]]:
    """What a function does that depends on the machine, first line first; and the functions that it gives sets to.

    Nothing where its source is not known.

    Args:
        function: The function.
        sets: Names of its parameters that are sets.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return (), ()
    finder = _Finder(function, sets, first - 1)
    finder.visit(tree)
    return sorted(finder.found), finder.given


class _Finder(ast.NodeVisitor):
    """Goes through one function in its order, and knows which names hold sets at each statement."""

    def __init__(self, function: types.FunctionType, sets: frozenset[str], offset: int) -> None:
        self._name = function.__name__
        self._sets = SetNames(function, sets)
        self._offset = offset
        self._orderless: set[ast.AST] = set()
        self.found: set[Finding] = set()
        self.given: list[Given] = []

    # Statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        given = {row.arg for row in arguments if row.annotation and says_set(ast.unparse(row.annotation))}
        hidden = {row.arg for row in arguments} if node.name != self._name else set[str]()
        self._sets.names = self._sets.names - hidden | given
        self._all(node.body)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self._bind(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.op, ast.Add) and self._sets.is_set(node.value):
            self._tell(node, "adds a set to something that has an order" + _SORT_IT)

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        if self._sets.is_set(node.iter):
            self._tell(node, "iterates over a set" + _SORT_IT)
        self._bind(node.target, None)
        self._branches([*node.body, *node.body], [], node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branches([*node.body, *node.body], [], node.orelse)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches(node.body, node.orelse)

    def visit_Try(self, node: ast.Try) -> None:
        before = self._sets.names
        self._all(node.body)
        # A handler may begin anywhere in the body.
        self._sets.names |= before
        self._branches(node.orelse, *(handler.body for handler in node.handlers))
        self._all(node.finalbody)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._branches(*(case.body for case in node.cases), [])

    # Expressions

    def visit_Starred(self, node: ast.Starred) -> None:
        if isinstance(node.ctx, ast.Load) and self._sets.is_set(node.value):
            self._tell(node, "unpacks a set" + _SORT_IT)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        if self._sets.is_set(node.value):
            self._tell(node, "iterates over a set" + _SORT_IT)
        self.generic_visit(node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        if self._sets.is_set(node.value):
            self._tell(node, "writes a set as text" + _SORT_IT)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        values = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        if isinstance(node.op, ast.Mod) and any(map(self._sets.is_set, values)):
            self._tell(node, "writes a set as text" + _SORT_IT)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = name_of(node.func)
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        has_key = any(keyword.arg == "key" for keyword in node.keywords)
        if name in _WITHOUT_ORDER and not has_key:
            self._orderless.update(node.args)
        if any(map(self._sets.is_set, values)):
            self._called_with_set(node, name, has_key=has_key)
        if isinstance(node.func, ast.Attribute):
            self._method(node, node.func)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    # What they come to

    def _called_with_set(self, node: ast.Call, name: str, *, has_key: bool) -> None:
        callee = self._sets.known(node.func)
        if isinstance(callee, types.FunctionType) and is_own(callee.__module__):
            parameters = callee.__code__.co_varnames[: callee.__code__.co_argcount]
            given = {
                parameter for parameter, value in zip(parameters, node.args, strict=False) if self._sets.is_set(value)
            }
            given |= {keyword.arg for keyword in node.keywords if keyword.arg and self._sets.is_set(keyword.value)}
            self.given.append((callee, frozenset(given)))
        elif isinstance(callee, type) and issubclass(callee, BaseModel):
            for keyword in node.keywords:
                info = callee.model_fields.get(keyword.arg or "")
                if self._sets.is_set(keyword.value) and not (info and says_set(info.annotation)):
                    self._tell(node, f"gives a set to {callee.__name__}" + _SORT_IT)
        elif has_key and name in ("sorted", "min", "max"):
            self._tell(node, f"has {name} tell those of a set with the same key apart" + _SORT_IT + " first")
        elif name in _IN_ORDER:
            verb = "joins a set" if name == "join" else f"makes a {name} of a set"
            self._tell(node, verb + _SORT_IT)

    def _method(self, node: ast.Call, function: ast.Attribute) -> None:
        if function.attr == "pop" and not node.args and self._sets.is_set(function.value):
            self._tell(node, "takes any item out of a set" + _SORT_IT)
        is_bare = not node.args and not node.keywords
        if (function.attr == "astimezone" and is_bare) or (
            function.attr == "fromtimestamp" and len(node.args) == 1 and not node.keywords
        ):
            self._tell(node, f"calls {function.attr} without a time zone, which {TIME_ZONE}")

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        if node not in self._orderless and any(self._sets.is_set(row.iter) for row in node.generators):
            self._tell(node, "iterates over a set" + _SORT_IT)
        self.generic_visit(node)

    def _bind(self, target: ast.expr, value: ast.expr | None) -> None:
        match target:
            case ast.Name(id=name):
                self._sets.give(name, value)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if value is not None and self._sets.is_set(value):
                    self._tell(target, "unpacks a set" + _SORT_IT)
                values = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == len(targets) else ()
                for index, inner in enumerate(targets):
                    self._bind(inner, values[index] if values else None)
            case ast.Subscript(slice=ast.Slice()) if value is not None and self._sets.is_set(value):
                self._tell(target, "puts a set into something that has an order" + _SORT_IT)

    def _branches(self, *bodies: Iterable[ast.stmt]) -> None:
        """Whatever is a set at the end of one of them may be one afterwards."""
        before, after = self._sets.names, frozenset[str]()
        for body in bodies:
            self._sets.names = before
            self._all(body)
            after |= self._sets.names
        self._sets.names = after

    def _all(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def _tell(self, node: ast.expr | ast.stmt, text: str) -> None:
        self.found.add(Finding(node.lineno + self._offset, text))

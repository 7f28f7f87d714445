"""The first check of purity: what a function says it would do, read from its bytecode when it is registered (R47).

It follows global names, closures, attribute chains such as `datetime.datetime.now`, what immutable values hold, and the
application's own functions and classes that are used. What it cannot see is listed in docs/reducer.md; the guard that
runs with a transition and, in development, running each transition twice see some of that.
"""

from __future__ import annotations

import builtins
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from onex_mesh.reducer.core.constants import reason_of_origin
from onex_mesh.reducer.core.judged import inside_of, is_own, reason_against
from onex_mesh.reducer.core.set_order import Finding, findings_of
from onex_mesh.reducer.core.uses import Scope, Use, function_in, names_read, uses_of
from onex_mesh.runtime.errors import PurityViolationError


def check_function(function: object, *, allowed: Sequence[object] = ()) -> None:
    """Refuses a function that is plainly not pure.

    Args:
        function: The function.
        allowed: What it may use all the same.

    Raises:
        PurityViolationError: With file and line of what it would do.
    """
    check = _Check(allowed)
    check.function(function)
    check.members()


def check_model(model: type[BaseModel]) -> None:
    """Refuses a model whose methods, validators, properties and defaults, or those of its fields' models, are plainly
    not pure.

    Raises:
        PurityViolationError: With file and line of what they would do.
    """
    check = _Check()
    check.model(model)
    check.members()


@dataclass(slots=True)
class _Check:
    """One check, over everything that it reaches."""

    allowed: Sequence[object] = ()
    seen: dict[int, object] = field(default_factory=dict)
    """What was looked at, by identity; kept, so that no other object gets the same."""
    ordered: set[tuple[types.CodeType, frozenset[str]]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    classes: list[type] = field(default_factory=list)

    def function(self, function: object, owner: str = "") -> None:
        """Checks a function and what it uses of the application."""
        if not isinstance(function, types.FunctionType) or not self._is_new(function):
            return
        if is_own(function.__globals__.get("__name__")):
            self.order(function, frozenset())
            names = {**vars(builtins), **function.__globals__}
            self.code(function.__code__, Scope(names, _closure(function), owner))
        for value in inside_of(function):
            self.value(value, Use(function.__name__, "", value, within=function))

    def order(self, function: types.FunctionType, sets: frozenset[str]) -> None:
        """Refuses what depends on the order of a set; `sets` are the parameters that are known to be some."""
        if (function.__code__, sets) in self.ordered:
            return
        self.ordered.add((function.__code__, sets))
        found, given = findings_of(function, sets)
        for finding in found:
            raise _violation(_place(function, finding), function.__name__, finding.text)
        for callee, parameters in given:
            self.order(callee, parameters)

    def code(self, code: types.CodeType, scope: Scope) -> None:
        """Checks the bytecode of a function and of those inside of it."""
        self.attributes |= names_read(code)
        for use in uses_of(code, scope):
            if use.value is hash and code.co_name == "__hash__":
                # What an object answers to `hash` stays within the process, as the order of sets must.
                continue
            if use.reason:
                raise _violation(use.where(), use.name, use.reason)
            self.value(use.value, use)
            reason = self.origin(use, scope)
            if reason:
                raise _violation(use.where(), use.name, reason)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.code(constant, scope)

    def origin(self, use: Use, scope: Scope) -> str:
        """Why a constant that is used holds what differs from process to process."""
        root, _, rest = use.name.partition(".")
        if isinstance(use.value, types.FunctionType | types.ModuleType | type) or root not in scope.names:
            return ""
        holder = scope.names[root]
        if isinstance(holder, types.ModuleType):
            return reason_of_origin(holder.__name__, rest.partition(".")[0])
        return reason_of_origin(str(scope.names.get("__name__")), root)

    def value(self, value: object, use: Use) -> None:
        """Judges something that is used, and what it holds."""
        if any(value is one for one in self.allowed):
            return
        reason = reason_against(value)
        if reason:
            raise _violation(use.where(), use.name, reason)
        if isinstance(value, types.FunctionType):
            self.function(value)
        elif isinstance(value, type):
            self.made(value)
        elif self._is_new(value):
            self.made(type(value))
            for part in inside_of(value):
                self.value(part, use)

    def made(self, kind: type) -> None:
        """Remembers a class of the application whose objects are used."""
        if is_own(kind.__module__) and kind not in self.classes:
            self.classes.append(kind)
            self.made(type(kind))
            if issubclass(kind, BaseModel):
                self.model(kind)
            for row in fields(kind) if is_dataclass(kind) else ():
                self.value(row.default_factory, Use(f"{kind.__name__}.{row.name}", "", row, within=kind))

    def members(self) -> None:
        """Checks the methods, of classes whose objects are used, that something reached may call by their names."""
        before = -1
        while before < len(self.seen):
            before = len(self.seen)
            for kind in self.classes:
                for name, member in _own_members(kind):
                    function = function_in(member)
                    if function is None and name in self.attributes and not name.startswith("_"):
                        self.value(member, Use(f"{kind.__name__}.{name}", "", member, within=kind))
                    elif name in self.attributes or (name.startswith("_") and name.endswith("_")):
                        self.function(function, _owner_in(function, member))

    def model(self, model: type[BaseModel]) -> None:
        """Checks what runs when a model is read, made and written, and the models of its fields."""
        if not self._is_new(model):
            return
        for _, member in _own_members(model):
            self.function(function_in(member))
        for name, info in model.model_fields.items():
            use = Use(f"{model.__name__}.{name}", "", info, within=model)
            for value in _functions_of(info):
                try:
                    self.value(value, use)
                except PurityViolationError as error:
                    # What stands in an annotation that is a text has no place of its own.
                    text = error.error_context if str(error.error_context["place"]).startswith("<") else {}
                    if not text:
                        raise
                    raise _violation(use.where(), str(text["name"]), str(text["reason"])) from None
            for kind in _classes_in(info.annotation):
                if issubclass(kind, BaseModel):
                    self.model(kind)
                else:
                    self.made(kind)

    def _is_new(self, value: object) -> bool:
        if id(value) in self.seen:
            return False
        self.seen[id(value)] = value
        return True


def _own_members(kind: type) -> Iterator[tuple[str, object]]:
    """Names and members of a class and its bases, as far as the application wrote them."""
    for base in kind.__mro__:
        if is_own(base.__module__):
            for name, member in vars(base).items():
                code = getattr(member, "__code__", None)
                # What a dataclass generates is no text of the application's.
                if not (is_dataclass(base) and code is not None and code.co_filename == "<string>"):
                    yield name, member


def _owner_in(function: object, member: object) -> str:
    """The name of the parameter that holds the object of a method."""
    code = getattr(function, "__code__", None)
    if isinstance(member, staticmethod | classmethod) or code is None or not code.co_argcount:
        return ""
    return str(code.co_varnames[0])


def _functions_of(info: FieldInfo) -> Iterator[object]:
    """What pydantic calls for a field: the factory of its default, and validators in its annotation."""
    yield info.default_factory
    for part in info.metadata:
        yield getattr(part, "func", None)


def _classes_in(annotation: object) -> Iterator[type]:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _classes_in(argument)


def _closure(function: types.FunctionType) -> dict[str, object]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    found: dict[str, object] = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:
            # The outer function has not assigned it yet.
            continue
    return found


def _place(function: types.FunctionType, finding: Finding) -> str:
    return f"{function.__code__.co_filename}:{finding.line}"


def _violation(place: str, name: str, reason: str) -> PurityViolationError:
    return PurityViolationError(
        f"{place}: {name} {reason}", error_context={"place": place, "name": name, "reason": reason}
    )

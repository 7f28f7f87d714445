"""The first check of purity: what a function says it would do, read from its bytecode when it is registered (R47).

It follows global names, closures, attribute chains such as `datetime.datetime.now`, and the application's own functions
that are called. What it cannot see is listed in docs/reducer.md; the guard that runs with a transition and, in
development, running each transition twice see some of that.
"""

from __future__ import annotations

import builtins
import collections
import collections.abc
import dis
import inspect
import random
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from onex_mesh.reducer.core.impure import IMPURE_MODULES, IMPURE_NAMES, PROCESS, RANDOM
from onex_mesh.reducer.core.set_order import order_of_sets_used
from onex_mesh.runtime.errors import PurityViolationError

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_WRITES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_STATE_WRITES = frozenset({"STORE_ATTR", "DELETE_ATTR"})
_MUTABLE = (list, dict, set, bytearray, collections.deque, collections.abc.Iterator)
_MISSING = object()


def check_function(function: object) -> None:
    """Refuses a function that is plainly not pure.

    Raises:
        PurityViolationError: With file and line of what it would do.
    """
    _Check().function(function)


def check_model(model: type[BaseModel]) -> None:
    """Refuses a model whose own methods, validators and properties are plainly not pure.

    Raises:
        PurityViolationError: With file and line of what they would do.
    """
    check = _Check()
    for base in model.__mro__:
        if _is_own(base.__module__):
            for member in vars(base).values():
                check.function(_function_in(member))


@dataclass(slots=True)
class _Check:
    """One check, over all functions that it reaches."""

    seen: set[types.CodeType] = field(default_factory=set)

    def function(self, function: object) -> None:
        """Checks a function and what it calls of the application."""
        # What dataclasses and pydantic generate has no source, or is theirs.
        if isinstance(function, types.FunctionType) and _is_own(function.__globals__.get("__name__")):
            if function.__code__ not in self.seen:
                self.order(function)
            names = {**vars(builtins), **function.__globals__, **_closure(function)}
            self.code(function.__code__, names)

    def order(self, function: types.FunctionType) -> None:
        """Refuses what depends on the order of a set."""
        found = order_of_sets_used(function)
        if found is not None:
            place = f"{function.__code__.co_filename}:{found[0]}"
            raise _violation(place, function.__name__, f"{found[1]}, whose order {PROCESS}: sort it")

    def code(self, code: types.CodeType, names: Mapping[str, object]) -> None:
        """Checks the bytecode of a function and of those inside of it."""
        if code in self.seen:
            return
        self.seen.add(code)
        for use in _uses(code, names):
            self.use(use)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.code(constant, names)

    def use(self, use: _Use) -> None:
        """Judges one thing that a function uses."""
        reason = use.reason or _judge(use.value)
        if reason:
            raise _violation(use.place, use.name, reason)
        target = inspect.unwrap(use.value) if callable(use.value) else use.value
        if isinstance(target, types.MethodType):
            target = target.__func__
        self.function(target)


@dataclass(frozen=True, slots=True)
class _Use:
    """One use of something from outside of a function."""

    name: str
    place: str
    value: object
    reason: str = ""


def _uses(code: types.CodeType, names: Mapping[str, object]) -> Iterator[_Use]:
    line = code.co_firstlineno
    chain, value, at = "", _MISSING, line
    for instruction in dis.get_instructions(code):
        line = (instruction.positions.lineno if instruction.positions else None) or line
        operation, argument = instruction.opname, instruction.argval
        if operation == "EXTENDED_ARG":
            # The first half of an instruction with a large argument.
            continue
        if operation in _ATTRIBUTES and value is not _MISSING:
            # As far as the chain can be followed without running anything: through modules and classes.
            further = _attribute(value, str(argument))
            chain, value = f"{chain}.{argument}", value if further is _MISSING else further
            continue
        if value is not _MISSING:
            yield _Use(chain, f"{code.co_filename}:{at}", value)
        chain, value, at = "", _MISSING, line
        place = f"{code.co_filename}:{line}"
        if operation in _LOADS:
            chain, value = str(argument), names.get(str(argument), _MISSING)
        elif operation in _WRITES:
            yield _Use(f"global {argument}", place, None, "changes a global")
        elif operation == "STORE_DEREF" and argument in code.co_freevars:
            yield _Use(f"nonlocal {argument}", place, None, "changes a variable of another function")
        elif operation in _STATE_WRITES:
            yield _Use(f".{argument} = …", place, None, "changes something in place")
        elif operation == "IMPORT_NAME":
            yield _Use(f"import {argument}", place, None, _judge_module(str(argument)))


def _attribute(value: object, name: str) -> object:
    """What an attribute is: whatever `value` is, looked up without running its code."""
    if isinstance(value, types.ModuleType):
        found = vars(value).get(name, _MISSING)
        return sys.modules.get(f"{value.__name__}.{name}", _MISSING) if found is _MISSING else found
    if isinstance(value, type):
        try:
            member = inspect.getattr_static(value, name)
        except AttributeError:
            return _MISSING
        if isinstance(member, types.ClassMethodDescriptorType):
            return getattr(value, name)
        return _function_in(member) or member
    return _MISSING


def _judge(value: object) -> str:
    """Why something must not be used by pure code; empty if nothing is known against it."""
    if isinstance(value, types.ModuleType):
        return _judge_module(value.__name__)
    if isinstance(value, _MUTABLE):
        return f"is a {type(value).__name__} outside of the function, which could change: use a tuple or FrozenDict"
    owner = getattr(value, "__self__", None)
    if isinstance(value, random.Random) or isinstance(owner, random.Random):
        return RANDOM
    qualified = _qualified_name(value, owner)
    if qualified in IMPURE_NAMES:
        return IMPURE_NAMES[qualified]
    module = qualified.rpartition(".")[0] if callable(value) else type(value).__module__
    # Exceptions, and types that only describe, come from such modules too and do nothing.
    if isinstance(value, type) and issubclass(value, BaseException):
        return ""
    return _judge_module(module)


def _judge_module(name: str) -> str:
    parts = name.split(".")
    return next((IMPURE_MODULES[key] for key in (".".join(parts[:2]), parts[0]) if key in IMPURE_MODULES), "")


def _qualified_name(value: object, owner: object) -> str:
    if not callable(value):
        return ""
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}.{getattr(value, '__name__', '')}"
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    name = f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    # open is io.open to Python, but everybody knows it as a builtin.
    return "builtins.open" if name in ("_io.open", "io.open") else name


def _function_in(member: object) -> object:
    """The function behind a static, class or cached method, property or validator; None if there is none."""
    for attribute in ("__func__", "fget", "wrapped", "func"):
        inner = inspect.getattr_static(member, attribute, None)
        if inner is not None and not isinstance(member, types.FunctionType):
            return _function_in(getattr(member, attribute))
    return member if isinstance(member, types.FunctionType) else None


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


_LIBRARIES = tuple(
    Path(path).resolve() for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")} if path
)


def _is_own(module: str | None) -> bool:
    """Whether a module belongs to the application: not to Python, an installed package or the mesh."""
    if module is None or module.partition(".")[0] in ("onex_mesh", "onex_lease", "onex", "pydantic", "builtins"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"
    path = Path(file).resolve()
    return "site-packages" not in path.parts and not any(path.is_relative_to(library) for library in _LIBRARIES)


def _violation(place: str, name: str, reason: str) -> PurityViolationError:
    return PurityViolationError(
        f"{place}: {name} {reason}", error_context={"place": place, "name": name, "reason": reason}
    )

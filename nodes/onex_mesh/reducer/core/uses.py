"""What a function uses from outside of itself, read from its bytecode: names, and attributes of them as far as these
can be followed without running anything."""

from __future__ import annotations

import dis
import enum
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onex_mesh.reducer.core.impure import (
    DYNAMIC,
    IN_PLACE,
    SURROUNDINGS,
    TELLING_ATTRIBUTES,
    TELLING_CALLS,
    module_reason,
)
from onex_mesh.runtime.definition import place_of

MISSING = object()
"""Stands for a value that is not known."""

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_CELLS = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_WRITES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_STATE_WRITES = frozenset({"STORE_ATTR", "DELETE_ATTR"})
_MAKERS = frozenset({"__init__", "__new__", "__post_init__", "model_post_init", "__set_name__"})
"""Methods that make an object, and may therefore write into it."""
_SETTERS = frozenset({"__setattr__", "__delattr__"})
_SURROUNDING = frozenset({"__file__", "__spec__", "__loader__", "__builtins__"})
_NAMING = frozenset({"getattr", "attrgetter", "methodcaller"})
"""Functions that take the name of an attribute as text."""


@dataclass(frozen=True, slots=True)
class Use:
    """One use of something from outside of a function.

    Attributes:
        name: As it is written, such as "datetime.datetime.now".
        place: "file:line"; empty if it is where `within` is defined.
        value: What it is; `MISSING` if that is not known.
        reason: Why it must not be used, where its form alone tells.
        within: The function or class that it belongs to.
    """

    name: str
    place: str
    value: object
    reason: str = ""
    within: object = None

    def where(self) -> str:
        """File and line; to look for those of a class takes a while."""
        return self.place or place_of(self.within)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the names of a function stand for.

    Attributes:
        names: Globals and builtins.
        cells: Variables of the functions around it.
        owner: Name of the parameter that holds the object, for a method of a class whose objects are the function's own
            and may be written into: "self". Empty for other functions.
    """

    names: Mapping[str, object]
    cells: Mapping[str, object]
    owner: str = ""


def uses_of(code: types.CodeType, scope: Scope) -> Iterator[Use]:
    """What the code of a function uses, in its order; not that of functions inside of it."""
    yield from _Reader(code, scope).read()


def names_read(code: types.CodeType) -> frozenset[str]:
    """The attributes that code reads of whatever object, and those that it names in a text."""
    texts = [text for text in code.co_consts if isinstance(text, str)] if _NAMING.intersection(code.co_names) else []
    return frozenset((*code.co_names, *(part for text in texts for part in text.split("."))))


def attribute_of(value: object, name: str) -> object:
    """What an attribute is, looked up without running code of the application; `MISSING` if that cannot be."""
    if isinstance(value, types.ModuleType):
        found = vars(value).get(name, MISSING)
        return sys.modules.get(f"{value.__name__}.{name}", MISSING) if found is MISSING else found
    if isinstance(value, enum.EnumType) and name in value.__members__:
        return value.__members__[name]
    try:
        member = inspect.getattr_static(value, name)
    except AttributeError:
        return MISSING
    if isinstance(member, types.ClassMethodDescriptorType) and isinstance(value, type):
        return getattr(value, name)
    return function_in(member) or member


def function_in(member: object) -> object:
    """The function behind a static, class or cached method, property or validator; None if there is none."""
    if isinstance(member, functools.partial):
        return None
    for attribute in ("__func__", "fget", "wrapped", "func"):
        inner = inspect.getattr_static(member, attribute, None)
        if inner is not None and not isinstance(member, types.FunctionType):
            return function_in(getattr(member, attribute))
    return member if isinstance(member, types.FunctionType) else None


class _Reader:
    """Reads one code object; follows one chain of names at a time."""

    def __init__(self, code: types.CodeType, scope: Scope) -> None:
        self._code = code
        self._scope = scope
        self._line = code.co_firstlineno
        self._chain = ""
        self._value: object = MISSING
        self._at = self._line
        self._imported = ""
        self._defined: set[str] = set()
        self._named = False
        """Whether the chain is the first argument of `getattr`."""

    def read(self) -> Iterator[Use]:
        instructions = [row for row in dis.get_instructions(self._code) if row.opname != "EXTENDED_ARG"]
        # What the body of a class defines itself is no global.
        self._defined = {"__annotations__", *(row.argval for row in instructions if row.opname == "STORE_NAME")}
        for instruction in instructions:
            self._line = (instruction.positions.lineno if instruction.positions else None) or self._line
            yield from self._one(instruction)
        yield from self._end()
        yield from self._texts()

    def _one(self, row: dis.Instruction) -> Iterator[Use]:
        operation, argument = row.opname, row.argval
        if operation in _ATTRIBUTES:
            yield from self._attribute(str(argument), called=operation != "LOAD_ATTR" or _is_call(row))
            return
        if self._named and self._value is not MISSING:
            if operation == "LOAD_CONST" and isinstance(argument, str):
                self._named = False
                yield from self._attribute(argument, called=True)
                return
            if isinstance(self._value, types.ModuleType | type) and not isinstance(self._value, enum.EnumType):
                yield self._refused(f"getattr({self._chain}, …)", DYNAMIC)
        is_getter = self._value is getattr
        yield from self._end()
        self._named = is_getter
        if operation in _GLOBALS and not (operation == "LOAD_NAME" and argument in self._defined):
            self._begin(str(argument), self._scope.names.get(str(argument), MISSING))
        elif operation in _CELLS:
            self._begin(str(argument), self._scope.cells.get(str(argument), MISSING))
        elif operation == "IMPORT_NAME":
            self._imported = str(argument)
            yield self._refused(f"import {argument}", module_reason(self._imported))
        elif operation == "IMPORT_FROM":
            module = sys.modules.get(self._imported)
            found = MISSING if module is None else attribute_of(module, str(argument))
            yield Use(f"{self._imported}.{argument}", self._place(), found)
        else:
            yield from self._write(row)

    def _write(self, row: dis.Instruction) -> Iterator[Use]:
        operation, argument = row.opname, row.argval
        if operation in _WRITES:
            yield self._refused(f"global {argument}", "changes a global")
        elif operation == "STORE_DEREF" and argument in self._scope.cells:
            yield self._refused(f"nonlocal {argument}", "changes a variable of another function")
        elif operation in _STATE_WRITES and not self._is_own(row):
            yield self._refused(f".{argument} = …", IN_PLACE)

    def _begin(self, name: str, value: object) -> None:
        self._chain, self._value, self._at = name, value, self._line

    def _attribute(self, name: str, *, called: bool) -> Iterator[Use]:
        whole = f"{self._chain}.{name}"
        if name in TELLING_ATTRIBUTES and not (name in _SETTERS and self._code.co_name in _MAKERS):
            yield self._refused(whole, TELLING_ATTRIBUTES[name])
        value, further = self._value, MISSING if self._value is MISSING else attribute_of(self._value, name)
        if further is MISSING and called and name in TELLING_CALLS:
            yield self._refused(whole, TELLING_CALLS[name])
        if further is MISSING and isinstance(value, types.ModuleType):
            # A module of a package that is loaded when it is asked for.
            yield self._refused(whole, module_reason(f"{value.__name__}.{name}"))
        # A package is judged by what is used of it, and a class by its members; anything else as a whole, too.
        is_way = isinstance(value, type) or (isinstance(value, types.ModuleType) and "." not in value.__name__)
        if value is not MISSING and (further is MISSING or not is_way):
            yield Use(self._chain, self._begun(), value)
        self._chain, self._value = whole if value is not MISSING else "", further

    def _end(self) -> Iterator[Use]:
        if self._chain in _SURROUNDING:
            yield self._refused(self._chain, SURROUNDINGS)
        elif self._value is not MISSING:
            yield Use(self._chain, self._begun(), self._value)
        self._begin("", MISSING)

    def _texts(self) -> Iterator[Use]:
        """Attributes that are named in a text, of an object that is not known."""
        if not _NAMING.intersection(self._code.co_names):
            return
        for text in self._code.co_consts:
            for part in text.split(".") if isinstance(text, str) else ():
                reason = TELLING_CALLS.get(part) or TELLING_ATTRIBUTES.get(part)
                if reason:
                    yield Use(repr(text), self._place_of(text), MISSING, reason)

    def _place_of(self, constant: str) -> str:
        for row in dis.get_instructions(self._code):
            if row.argval == constant and row.positions is not None and row.positions.lineno is not None:
                return f"{self._code.co_filename}:{row.positions.lineno}"
        return f"{self._code.co_filename}:{self._code.co_firstlineno}"

    def _is_own(self, row: dis.Instruction) -> bool:
        """Whether an attribute of the method's own object is written, as its source tells."""
        if not self._scope.owner or row.positions is None or row.positions.lineno is None:
            return False
        text = linecache.getline(self._code.co_filename, row.positions.lineno).encode()
        return text[row.positions.col_offset or 0 :].decode().startswith(f"{self._scope.owner}.")

    def _refused(self, name: str, reason: str) -> Use:
        return Use(name, self._place(), MISSING, reason)

    def _place(self) -> str:
        return f"{self._code.co_filename}:{self._line}"

    def _begun(self) -> str:
        return f"{self._code.co_filename}:{self._at}"


def _is_call(row: dis.Instruction) -> bool:
    # From Python 3.12 on, the lowest bit tells that a method is called.
    return sys.version_info >= (3, 12) and bool((row.arg or 0) & 1)

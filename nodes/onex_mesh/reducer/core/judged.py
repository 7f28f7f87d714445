"""What is known of a value that pure code uses: why it must not, what is inside of it, and whether it could change."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import functools
import operator
import random
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

from onex_mesh.reducer.core.impure import IMPURE_NAMES, PURE_NAMES, RANDOM, TELLING_CALLS, module_reason

_MUTABLE = (
    collections.abc.MutableSequence,
    collections.abc.MutableMapping,
    collections.abc.MutableSet,
    collections.abc.Iterator,
    types.SimpleNamespace,
)
_OF_NAMES = (operator.attrgetter, operator.methodcaller)


def reason_against(value: object) -> str:
    """Why something must not be used by pure code; empty if nothing is known against it."""
    if isinstance(value, types.ModuleType):
        return module_reason(value.__name__)
    owner = getattr(value, "__self__", None)
    if isinstance(value, random.Random) or isinstance(owner, random.Random):
        return RANDOM
    qualified = _qualified_name(value, owner)
    if qualified in IMPURE_NAMES:
        return IMPURE_NAMES[qualified]
    if qualified in PURE_NAMES:
        return ""
    if isinstance(value, _OF_NAMES):
        return _reason_against_names(value)
    # Exceptions, and types that only describe, come from such modules too and do nothing.
    if isinstance(value, type) and issubclass(value, BaseException | enum.Enum):
        return ""
    module = qualified.rpartition(".")[0] if callable(value) else type(value).__module__
    return module_reason(module) or _reason_against_function(value) or _could_change(value)


def inside_of(value: object) -> Iterator[object]:
    """What a value that cannot change holds."""
    if isinstance(value, tuple | frozenset):
        yield from value
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, enum.Enum):
        yield value.value
    elif isinstance(value, types.FunctionType):
        if is_own(value.__globals__.get("__name__")):
            yield from value.__defaults__ or ()
            yield from (value.__kwdefaults__ or {}).values()
        yield getattr(value, "__wrapped__", None)
        yield from getattr(value, "registry", {}).values()
    elif is_own(type(value).__module__):
        yield from _fields(value)
    elif not isinstance(value, type):
        # What a cache or another callable of the library is around.
        yield getattr(value, "__wrapped__", None)


@lru_cache(maxsize=4_096)
def is_own(module: str | None) -> bool:
    """Whether a module belongs to the application: not to Python, an installed package or the mesh."""
    if module is None or module.partition(".")[0] in ("onex_mesh", "onex_lease", "onex", "pydantic", "builtins"):
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"
    path = Path(file).resolve()
    return "site-packages" not in path.parts and not any(path.is_relative_to(library) for library in _LIBRARIES)


_LIBRARIES = tuple(
    Path(path).resolve() for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")} if path
)


def _could_change(value: object) -> str:
    """Whether something from outside of a function could change between two calls of it."""
    kind = type(value).__name__
    if isinstance(value, _MUTABLE):
        return f"is a {kind} outside of the function, which could change: use a tuple or FrozenDict"
    if isinstance(value, type | types.FunctionType) or not is_own(type(value).__module__):
        return ""
    if isinstance(value, tuple | frozenset | str | bytes | int | float | enum.Enum | BaseException) or _is_frozen(
        value
    ):
        return ""
    if not list(_fields(value)):
        return ""
    return f"is a {kind} outside of the function, which could change: make it a frozen dataclass or model"


def _is_frozen(value: object) -> bool:
    if isinstance(value, BaseModel):
        return bool(value.model_config.get("frozen"))
    parameters = getattr(type(value), "__dataclass_params__", None)
    return dataclasses.is_dataclass(value) and bool(getattr(parameters, "frozen", False))


def _fields(value: object) -> Iterator[object]:
    """What an object holds, in its `__dict__` and its slots."""
    yield from getattr(value, "__dict__", {}).values()
    for base in type(value).__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(value, name):
                yield getattr(value, name)


def _reason_against_names(value: object) -> str:
    """Of `operator.attrgetter("now")` and the like, which tell their names when they are pickled."""
    names = [part for text in value.__reduce__()[1] if isinstance(text, str) for part in text.split(".")]
    return next((TELLING_CALLS[name] for name in names if name in TELLING_CALLS), "")


def _reason_against_function(value: object) -> str:
    """Of functions of packages, by their name: `arrow.utcnow`."""
    if isinstance(value, types.FunctionType) and not is_own(value.__module__) and value.__module__ != "builtins":
        return TELLING_CALLS.get(value.__name__, "")
    return ""


def _qualified_name(value: object, owner: object) -> str:
    if not callable(value):
        return ""
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}.{getattr(value, '__name__', '')}"
    module = getattr(value, "__module__", None) or getattr(type(value), "__module__", "")
    name = f"{module}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    # open is io.open to Python, but everybody knows it as a builtin.
    return "builtins.open" if name in ("_io.open", "io.open") else name

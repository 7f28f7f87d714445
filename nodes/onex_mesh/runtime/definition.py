"""What applications register: names, versions, and where in their source a definition stands.

Refusals begin with "file:line: ", so that whoever loads an App is led to the definition that is wrong.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Generic, TypeVar

from packaging.version import InvalidVersion, Version

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")


def place_of(definition: object) -> str:
    """Where a function or class is defined, as "file:line"; its name where the source is not known."""
    unwrapped = inspect.unwrap(definition) if callable(definition) else definition
    told = getattr(unwrapped, "__onex_place__", "")
    if isinstance(told, str) and told:
        # What was made from a file that is not Python says itself where it stands.
        return told
    code = getattr(unwrapped, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        # Classes have no line of their own: the source is searched for it.
        file = inspect.getsourcefile(unwrapped)  # type: ignore[arg-type]  # what has no source raises TypeError
        line = inspect.getsourcelines(unwrapped)[1]  # type: ignore[arg-type]  # likewise
    except (OSError, TypeError):
        return f"{getattr(definition, '__module__', '?')}.{getattr(definition, '__qualname__', repr(definition))}"
    return f"{file}:{line}"


def refused(definition: object, text: str) -> ValidationError:
    """The error that says what is wrong with a definition, and where it stands."""
    place = place_of(definition)
    return ValidationError(f"{place}: {text}", violations=((place, text),))


def checked_name(definition: object, name: str) -> str:
    """A name that may stand in a registry.

    Raises:
        ValidationError: It is not one.
    """
    if not _NAME.fullmatch(name):
        raise refused(definition, f"{name!r} is not a name: letters, digits, '_', '.', '-', at most 128")
    return name


def checked_version(definition: object, version: str) -> str:
    """A version that can be ordered (PEP 440).

    Raises:
        ValidationError: It is not one.
    """
    try:
        Version(version)
    except InvalidVersion:
        raise refused(definition, f"{version!r} is not a version such as 1.0.0 (PEP 440)") from None
    return version


def annotations_of(function: Callable[..., object]) -> dict[str, object]:
    """The annotations of a function, resolved; the payload's `Json` comes out as `object`, which takes any JSON.

    Raises:
        ValidationError: One names what is not there.
    """
    scope = inspect.unwrap(function)
    known = getattr(scope, "__globals__", {})
    # `Json` is recursive, so it is a string to Python: as an annotation it would be resolved for ever.
    plain = {name: object for name, value in known.items() if isinstance(value, str) and value == Json}
    raw = {
        name: object if isinstance(annotation, str) and annotation == Json else annotation
        for name, annotation in inspect.get_annotations(scope).items()
    }
    try:
        return typing.get_type_hints(
            SimpleNamespace(__annotations__=raw), globalns=known, localns={"Json": object, **plain}, include_extras=True
        )
    except (NameError, TypeError, SyntaxError, AttributeError) as error:
        raise refused(
            function, f"an annotation cannot be resolved: {error} (types must be defined at the top of a module)"
        ) from error


class Versions(Generic[T]):
    """Definitions by name and version; without a version, the newest by PEP 440."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[str, T]] = {}
        self._newest: dict[str, T] = {}
        self._definitions: dict[tuple[str, str], object] = {}

    def add(self, name: str, version: str, item: T, definition: object) -> None:
        """Registers an item.

        Args:
            name: Its name.
            version: Its version.
            item: What is registered.
            definition: The function or class that it was made from, for error messages.

        Raises:
            ValidationError: Name and version are taken, or are not ones.
        """
        checked_name(definition, name)
        checked_version(definition, version)
        versions = self._by_name.setdefault(name, {})
        if version in versions:
            first = place_of(self._definitions[name, version])
            raise refused(definition, f"{name!r} {version} is registered already, at {first}")
        versions[version] = item
        self._definitions[name, version] = definition
        self._newest[name] = versions[max(versions, key=Version)]

    def get(self, name: str, version: str = "") -> T | None:
        """The item of that name and version; the newest if no version is given; None if there is none."""
        if not version:
            return self._newest.get(name)
        return self._by_name.get(name, {}).get(version)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    def versions(self, name: str) -> list[str]:
        """The versions of a name, oldest first."""
        return sorted(self._by_name.get(name, {}), key=Version)

    def __iter__(self) -> Iterator[T]:
        """All items, by name and then by version."""
        for name in self.names():
            yield from map(partial(self._at, name), self.versions(name))

    def _at(self, name: str, version: str) -> T:
        return self._by_name[name][version]

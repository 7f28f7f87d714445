"""The folder of templates of a target: read and checked when the target opens, not looked at again.

A template is `<name>.<format>.j2`, whose first line gives the title. Files below sub-folders, or whose names begin with
an underscore, are for others to include.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2 import meta

from onex_mesh.effect.adapters.templating.budget import TooLargeError, TooManyStepsError, limited
from onex_mesh.effect.adapters.templating.sandbox import BoundedEnvironment
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FILE_BYTES_MAX = 262_144
_FILES_MAX = 1_000
# What data can make a template raise. Anything else is a fault of the node.
_DATA_ERRORS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One template that can be rendered."""

    template: jinja2.Template
    name: str
    """As contracts name it, for messages."""

    def render(self, data: Mapping[str, Json], *, chars_max: int) -> str:
        """The text that the data makes.

        Raises:
            ValidationError: The data lacks a name, or does not fit.
            PayloadTooLargeError: The text is larger than allowed.
        """
        try:
            with limited(chars_max):
                return self.template.render(data)
        except TooLargeError as error:
            raise PayloadTooLargeError(
                f"template {self.name!r}: {error.message}", error_context={"size_bytes_max": chars_max}
            ) from error
        except TooManyStepsError as error:
            raise refused("data", f"the template {self.name!r} {error.message}") from error
        except jinja2.UndefinedError as error:
            raise refused("data", error.message or "a name is undefined") from error
        except _DATA_ERRORS as error:
            text = f"does not fit the template {self.name!r}: {type(error).__name__}: {error}"[:500]
            raise refused("data", text) from error


class TemplateFolder:
    """The sources of a folder, and how they are compiled.

    Raises:
        ValidationError: The folder is missing, or a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValidationError(f"{folder} is not a folder of templates", violations=(("templates", str(folder)),))
        self.path = folder
        self.sources = dict(_read(folder))

    def names(self, suffix: str) -> list[str]:
        """The templates whose file names end in a suffix such as ".txt.j2", without it.

        Raises:
            ValidationError: A name has other characters than letters, digits, '_' and '-'.
        """
        found = [name for name in self.sources if name.endswith(suffix) and "/" not in name and name[0] != "_"]
        names = [name.removesuffix(suffix) for name in sorted(found)]
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValidationError(
                    f"{self.path / name}{suffix}: a template's name has letters, digits, '_' and '-' only"
                )
        return names

    def title_and_body(self, file: str, title: str) -> tuple[str, str]:
        """The template of the title, from the first line "<title>: …", and that of the rest.

        They are templates of their own: a line break in the data must not end the title.

        Raises:
            ValidationError: The first line is another one.
        """
        first, _, body = self.sources[file].partition("\n")
        if not first.startswith(f"{title}:"):
            raise ValidationError(f"{self.path / file}:1: the first line is not '{title}: …'")
        # The line is kept, so that lines of the body count from the beginning of the file.
        return first.removeprefix(f"{title}:").strip(), "\n" + body

    def check_others(self, environment: BoundedEnvironment, suffix: str) -> None:
        """Compiles the files that are there to be included, so that their errors show now.

        Raises:
            ValidationError: One is wrong; file and line.
        """
        for file, source in self.sources.items():
            if file.endswith(suffix) and ("/" in file or file[0] == "_"):
                self.part(environment, file, source, file)

    def part(self, environment: BoundedEnvironment, file: str, source: str, name: str) -> Part:
        """Compiles a template.

        Raises:
            ValidationError: It is wrong, or includes a file that is not there; file and line.
        """
        path = self.path / file
        try:
            for other in meta.find_referenced_templates(environment.parse(source)):
                if other is not None and other not in self.sources:
                    raise ValidationError(f"{path}: refers to {other!r}, which is not there")
            return Part(environment.from_string(source), name)
        except jinja2.TemplateSyntaxError as error:
            raise ValidationError(f"{path}:{error.lineno}: {error.message}") from error


def check_title(title: str) -> str:
    """A rendered title that goes into a header.

    Raises:
        ValidationError: It has a line break or a control character.
    """
    if has_controls(title):
        raise refused("data", "would put a line break or a control character into the subject")
    return title


def has_controls(text: str) -> bool:
    """Whether a text has what no header may have: control characters, or anything that breaks lines."""
    return any(
        ord(character) < 0x20 or "\x7f" <= character <= "\x9f" or character in "\u2028\u2029" for character in text
    )


def refused(field: str, text: str) -> ValidationError:
    """A violation of one field."""
    return ValidationError(f"{field}: {text}", violations=((field, text),))


def _read(folder: Path) -> Iterator[tuple[str, str]]:
    paths = sorted(folder.rglob("*.j2"))
    if len(paths) > _FILES_MAX:
        raise ValidationError(f"{folder}: {len(paths)} templates are more than {_FILES_MAX}")
    for path in paths:
        try:
            content = path.read_bytes()
            if len(content) > _FILE_BYTES_MAX:
                raise ValidationError(f"{path}: {len(content)} bytes are more than {_FILE_BYTES_MAX}")
            yield path.relative_to(folder).as_posix(), content.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ValidationError(f"{path}: cannot be read: {reason}") from error

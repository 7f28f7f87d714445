"""Mail templates of a target: <name>.txt.j2 with the subject in its first line, and optionally <name>.html.j2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_SUBJECT = "Subject:"
_SUBJECT_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """What a template made of the data."""

    subject: str
    text: str
    html: str | None


@dataclass(frozen=True, slots=True)
class _MailTemplate:
    subject: jinja2.Template
    text: jinja2.Template
    html: jinja2.Template | None


class MailTemplates:
    """The templates of one folder, all of them parsed when this is made. HTML is escaped, text is not.

    Raises:
        ValidationError: The folder is missing, or a template is wrong; file and line.
    """

    def __init__(self, folder: Path, *, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._text = _environment(folder, escapes=False)
        self._html = _environment(folder, escapes=True)
        if not folder.is_dir():
            raise ValidationError(f"{folder} is not a folder of templates", violations=(("templates", str(folder)),))
        self._templates = {
            path.name.removesuffix(".txt.j2"): self._parse(path) for path in sorted(folder.glob("*.txt.j2"))
        }

    def names(self) -> list[str]:
        """The templates there are."""
        return sorted(self._templates)

    def render(self, name: str, data: Mapping[str, Json]) -> RenderedMail:
        """The mail that a template makes of data.

        Raises:
            ValidationError: There is no such template, it uses a name that the data lacks, or its subject gets a line
                break.
            PayloadTooLargeError: The mail is larger than the target takes.
        """
        template = self._templates.get(name)
        if template is None:
            text = f"{name[:100]!r} is not one of {', '.join(self._templates) or 'none'}"
            raise ValidationError(f"template: {text}", violations=(("template", text),))
        try:
            subject = template.subject.render(data).strip()
            body = template.text.render(data)
            html = template.html.render(data) if template.html is not None else None
        except jinja2.UndefinedError as error:
            text = error.message or "a name is undefined"
            raise ValidationError(f"data: {text}", violations=(("data", text),)) from error
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            text = f"does not fit the template {name!r}: {type(error).__name__}: {error}"
            raise ValidationError(f"data: {text}", violations=(("data", text),)) from error
        if any(ord(character) < 0x20 or character in "\x7f\x85\u2028\u2029" for character in subject):
            text = "would put a line break or a control character into the subject"
            raise ValidationError(f"data: {text}", violations=(("data", text),))
        size = len(body.encode(errors="replace")) + len((html or "").encode(errors="replace"))
        if size > self._size_bytes_max:
            raise PayloadTooLargeError(
                f"a mail of {size} bytes is more than {self._size_bytes_max}",
                error_context={"size_bytes": size, "size_bytes_max": self._size_bytes_max},
            )
        return RenderedMail(subject[:_SUBJECT_CHARS_MAX], body, html)

    def _parse(self, path: Path) -> _MailTemplate:
        name = path.name.removesuffix(".txt.j2")
        if not _NAME.fullmatch(name):
            raise ValidationError(f"{path}: a template's name has letters, digits, '_' and '-' only")
        source = path.read_text(encoding="utf-8")
        first, _, body = source.partition("\n")
        if not first.startswith(_SUBJECT):
            raise ValidationError(f"{path}:1: the first line is not '{_SUBJECT} …'")
        html_path = path.with_name(f"{name}.html.j2")
        try:
            # The subject is a template of its own: a line break in the data must not end the header.
            subject = self._text.from_string(first.removeprefix(_SUBJECT))
            text = self._text.from_string("\n" + body)
            html = self._html.from_string(html_path.read_text(encoding="utf-8")) if html_path.is_file() else None
        except jinja2.TemplateSyntaxError as error:
            raise ValidationError(f"{path} or its html.j2, line {error.lineno}: {error.message}") from error
        return _MailTemplate(subject, text, html)


def _environment(folder: Path, *, escapes: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=escapes,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

"""Mail templates of a target: <name>.txt.j2 with the subject in its first line, and optionally <name>.html.j2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onex_mesh.effect.adapters.templating.folder import Part, TemplateFolder, check_title, refused
from onex_mesh.effect.adapters.templating.sandbox import BoundedEnvironment
from onex_mesh.runtime.payload import Json

_TEXT, _HTML = ".txt.j2", ".html.j2"
_SUBJECT = "Subject"
_SUBJECT_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """What a template made of the data."""

    subject: str
    text: str
    html: str | None

    @property
    def size_bytes(self) -> int:
        """Of text and HTML."""
        return len(self.text.encode(errors="replace")) + len((self.html or "").encode(errors="replace"))


@dataclass(frozen=True, slots=True)
class _MailTemplate:
    subject: Part
    text: Part
    html: Part | None


class MailTemplates:
    """The templates of one folder, all of them read and compiled when this is made. HTML is escaped, text is not.

    Raises:
        ValidationError: The folder is missing, or a template is wrong; file and line.
    """

    def __init__(self, folder: Path, *, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._folder = TemplateFolder(folder)
        self._text = BoundedEnvironment(self._folder.sources, escapes=False)
        self._html = BoundedEnvironment(self._folder.sources, escapes=True)
        self._templates = {name: self._read(name) for name in self._folder.names(_TEXT)}
        self._folder.check_others(self._text, _TEXT)
        self._folder.check_others(self._html, _HTML)

    def names(self) -> list[str]:
        """The templates there are."""
        return sorted(self._templates)

    def render(self, name: str, data: Mapping[str, Json]) -> RenderedMail:
        """The mail that a template makes of data.

        Raises:
            ValidationError: There is no such template, it uses a name that the data lacks, it goes on for too long, or
                its subject gets a line break.
            PayloadTooLargeError: One of its parts is larger than the target takes.
        """
        template = self._templates.get(name)
        if template is None:
            raise refused("template", f"{name[:100]!r} is not one of {', '.join(self._templates) or 'none'}")
        subject = check_title(template.subject.render(data, chars_max=self._size_bytes_max).strip())
        text = template.text.render(data, chars_max=self._size_bytes_max)
        html = template.html.render(data, chars_max=self._size_bytes_max) if template.html is not None else None
        return RenderedMail(subject[:_SUBJECT_CHARS_MAX], text, html)

    def _read(self, name: str) -> _MailTemplate:
        folder, text_file, html_file = self._folder, f"{name}{_TEXT}", f"{name}{_HTML}"
        subject, body = folder.title_and_body(text_file, _SUBJECT)
        html = folder.sources.get(html_file)
        return _MailTemplate(
            folder.part(self._text, text_file, subject, name),
            folder.part(self._text, text_file, body, name),
            None if html is None else folder.part(self._html, html_file, html, name),
        )

"""Templates of notices: <name>.txt.j2 is plain text, <name>.md.j2 is Markdown; the title is in the first line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onex_mesh.effect.adapters.templating.folder import Part, TemplateFolder, check_title, refused
from onex_mesh.effect.adapters.templating.sandbox import BoundedEnvironment
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_TEXT, _MARKDOWN = ".txt.j2", ".md.j2"
_TITLE = "Title"
_TITLE_CHARS_MAX = 250
# Services turn these into pings of a whole channel, or of people.
_MENTION = re.compile(r"@(?=everyone|here|channel|all\b)|<(?=[@!#&])", re.IGNORECASE)
_MARKDOWN_SIGNS = re.compile(r"[\\`*_\[\]()#~|<>!]")
_INVISIBLE = "\u200b"


@dataclass(frozen=True, slots=True)
class RenderedNotice:
    """What a template made of the data."""

    title: str
    body: str
    is_markdown: bool


@dataclass(frozen=True, slots=True)
class _NoticeTemplate:
    title: Part
    body: Part
    is_markdown: bool


class NoticeTemplates:
    """The templates of one folder, all of them read and compiled when this is made.

    Raises:
        ValidationError: The folder is missing, or a template is wrong; file and line.
    """

    def __init__(self, folder: Path, *, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._folder = TemplateFolder(folder)
        self._text = BoundedEnvironment(self._folder.sources, escapes=False, escape=without_mentions)
        self._markdown = BoundedEnvironment(self._folder.sources, escapes=True, escape=as_markdown)
        texts, markdowns = self._folder.names(_TEXT), self._folder.names(_MARKDOWN)
        for name in set(texts) & set(markdowns):
            raise ValidationError(f"{folder}: {name!r} is there as {_TEXT} and as {_MARKDOWN}")
        self._templates = {name: self._read(name, _TEXT) for name in texts}
        self._templates |= {name: self._read(name, _MARKDOWN) for name in markdowns}
        self._folder.check_others(self._text, _TEXT)
        self._folder.check_others(self._markdown, _MARKDOWN)

    def render(self, name: str, data: Mapping[str, Json]) -> RenderedNotice:
        """The notice that a template makes of data.

        Raises:
            ValidationError: There is no such template, it uses a name that the data lacks, goes on for too long, makes
                nothing, or its title gets a line break.
            PayloadTooLargeError: The notice is larger than the target takes.
        """
        template = self._templates.get(name)
        if template is None:
            raise refused("template", f"{name[:100]!r} is not one of {', '.join(sorted(self._templates)) or 'none'}")
        title = check_title(template.title.render(data, chars_max=self._size_bytes_max).strip())
        body = template.body.render(data, chars_max=self._size_bytes_max).strip()
        size = len(title.encode(errors="replace")) + len(body.encode(errors="replace"))
        if size > self._size_bytes_max:
            raise PayloadTooLargeError(
                f"a notice of {size} bytes is more than {self._size_bytes_max}",
                error_context={"size_bytes": size, "size_bytes_max": self._size_bytes_max},
            )
        if not body:
            raise refused("data", f"the template {name!r} makes an empty notice of it")
        return RenderedNotice(title[:_TITLE_CHARS_MAX], body, template.is_markdown)

    def _read(self, name: str, suffix: str) -> _NoticeTemplate:
        folder, file, is_markdown = self._folder, f"{name}{suffix}", suffix == _MARKDOWN
        title, body = folder.title_and_body(file, _TITLE)
        return _NoticeTemplate(
            folder.part(self._text, file, title, name),
            folder.part(self._markdown if is_markdown else self._text, file, body, name),
            is_markdown,
        )


def without_mentions(text: str) -> str:
    """Data that calls nobody: an invisible character breaks "@everyone" and its like."""
    return _MENTION.sub(lambda found: found[0] + _INVISIBLE, text)


def as_markdown(text: str) -> str:
    """Data as Markdown that shows it: no links, no emphasis, no headings."""
    return without_mentions(_MARKDOWN_SIGNS.sub(lambda found: "\\" + found[0], text))

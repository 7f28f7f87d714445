"""What an operator declares of chats, pagers and webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from onex_mesh.effect.core.targets import FrozenModel, TargetConfig

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class NoticeService(FrozenModel):
    """One place that takes notices. Its URL, as apprise writes it, is a credential."""

    name: _Name
    url_env: str | None = None
    """The variable that holds the URL."""
    url_file: Path | None = None
    tags: tuple[_Name, ...] = ()
    """Names under which notices reach this service together with others."""

    @model_validator(mode="before")
    @classmethod
    def _no_url(cls, value: object) -> object:
        if isinstance(value, dict) and "url" in value:
            raise ValueError("url: it is a credential; put it into a variable or a file, and name that here")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError("needs either url_env or url_file")
        return self


class AppriseTarget(TargetConfig):
    """Services of chat, paging and webhooks, and the templates that may be sent to them."""

    effect_types: ClassVar[tuple[str, ...]] = ("notification",)

    kind: Literal["apprise"]
    services: tuple[NoticeService, ...] = Field(min_length=1, max_length=100)
    templates: Path
    """Folder of <name>.txt.j2 (plain text) and <name>.md.j2 (Markdown); first line "Title: …"."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [service.name for service in self.services]
        tags = {tag for service in self.services for tag in service.tags}
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"services: {name!r} stands here twice")
            if name in tags:
                raise ValueError(f"services: {name!r} is the name of a service and a tag")
        return self

    def resolved(self, folder: Path) -> Self:
        """The templates and the files of URLs, taken from the folder."""
        services = tuple(
            row if row.url_file is None else row.model_copy(update={"url_file": folder / row.url_file})
            for row in self.services
        )
        return self.model_copy(update={"templates": folder / self.templates, "services": services})

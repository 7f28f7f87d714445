"""Parameters of a notice: a template, and services or tags that the operator declared (R18, R90)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic

from onex_mesh.effect.adapters.templating.data import Data
from onex_mesh.effect.adapters.templating.folder import refused
from onex_mesh.effect.core.custom import refused as refused_by_model
from onex_mesh.effect.core.kinds.apprise import AppriseTarget
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import ValidationError


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Notice(pydantic.BaseModel):
    """The parameters of a notice."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    template: str
    to: Annotated[list[str], pydantic.BeforeValidator(_as_list)]
    """Names and tags of services."""
    type: Literal["info", "success", "warning", "failure"] = "info"
    """Services show it by a colour or a sign."""
    data: Data = {}


def check_notice(request: EffectRequest, target: AppriseTarget) -> tuple[Notice, Sequence[str]]:
    """The notice that a request asks for, and the names of the services that get it, each once.

    Raises:
        ValidationError: All that is wrong with it; its template is not looked at yet.
    """
    try:
        notice = Notice.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused_by_model(error, "") from error
    if request.has_body:
        raise refused("body", "a notification has none")
    known = {name for service in target.services for name in (service.name, *service.tags)}
    unknown = [name for name in notice.to if name not in known]
    if unknown:
        listed = ", ".join(sorted(known))
        found = tuple(("to", f"{name[:100]!r} is not one of {listed}") for name in unknown[:10])
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=found)
    asked = set(notice.to)
    services = [row.name for row in target.services if row.name in asked or asked & set(row.tags)]
    if not services:
        raise refused("to", "is empty")
    return notice, services

"""What all targets of events have in common: which types they take and in which form they send them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from onex_mesh.effect.core.targets import FrozenModel

EventPattern = Annotated[str, Field(pattern=r"^[\x21-\x29\x2b-\x7e]{0,199}\*?$", min_length=1, max_length=200)]
"""A type of event, or the beginning of one with `*` behind it."""


class EventRules(FrozenModel):
    """Events as CloudEvents 1.0."""

    event_types: tuple[EventPattern, ...] = ("*",)
    """The types that may be published. Default: all."""
    source: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")] = "onex-mesh"
    """The `source` attribute of the events: a URI or a path of one."""
    mode: Literal["structured", "binary"] = "structured"
    """structured: the whole event is one JSON object; binary: the data as it is, the attributes beside it."""

    def takes(self, event_type: str) -> bool:
        """Whether events of a type may be published."""
        return any(
            event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern
            for pattern in self.event_types
        )

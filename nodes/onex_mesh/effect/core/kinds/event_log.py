"""What an operator declares of a file of events."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from onex_mesh.effect.core.targets import TargetConfig


class EventLogTarget(TargetConfig):
    """A file that takes events as JSON lines, each event once."""

    effect_types: ClassVar[tuple[str, ...]] = ("message_publish",)

    kind: Literal["event_log"]
    path: Path
    source: str = "onex-mesh"
    """The `source` attribute of the events."""

    def resolved(self, folder: Path) -> Self:
        """The file, taken from the folder."""
        return self.model_copy(update={"path": folder / self.path})

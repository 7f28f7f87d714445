"""What an operator declares of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from onex_mesh.effect.core.targets import TargetConfig


class FileTarget(TargetConfig):
    """Files below one folder."""

    effect_types: ClassVar[tuple[str, ...]] = ("file_operation",)

    kind: Literal["file"]
    root: Path
    operations: frozenset[Literal["write", "append", "read", "delete", "list"]] = frozenset(
        {"write", "append", "read", "delete", "list"}
    )
    """What may be done. Default: everything."""
    create: bool = True
    """Whether the folder is created where it is missing."""

    def resolved(self, folder: Path) -> Self:
        """The root, taken from the folder."""
        return self.model_copy(update={"root": folder / self.root})

"""What an operator declares of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from onex_mesh.effect.core.targets import TargetConfig

FileOperationName = Literal["write", "append", "read", "delete", "list", "copy", "move"]

FILE_OPERATIONS: tuple[FileOperationName, ...] = get_args(FileOperationName)
"""What may be done with files, in a folder or in an object store."""


class FileTarget(TargetConfig):
    """Files below one folder."""

    effect_types: ClassVar[tuple[str, ...]] = ("file_operation",)

    kind: Literal["file"]
    root: Path
    operations: frozenset[FileOperationName] = frozenset(FILE_OPERATIONS)
    """What may be done. Default: everything."""
    create: bool = True
    """Whether the folder is created where it is missing."""

    def resolved(self, folder: Path) -> Self:
        """The root, taken from the folder."""
        return self.model_copy(update={"root": folder / self.root})

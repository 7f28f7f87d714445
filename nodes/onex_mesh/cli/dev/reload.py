"""Tells when code, workflows or targets changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from onex_mesh.runtime.errors import ValidationError

_SUFFIXES = (".py", ".yaml", ".yml", ".j2")


async def changes(folders: Sequence[Path], *, ignored: Path) -> AsyncIterator[list[str]]:
    """The paths that changed below the folders, each time some did; never those below `ignored`.

    Raises:
        ValidationError: The package that watches files is not installed.
    """
    try:
        from watchfiles import DefaultFilter, awatch
    except ImportError as error:
        raise ValidationError("--reload needs the extra: pip install 'onex-mesh[reload]'") from error
    skip = str(_resolved(ignored))
    existing = sorted({_resolved(folder) for folder in folders if _is_there(folder)})
    async for batch in awatch(*existing, watch_filter=DefaultFilter()):
        paths = sorted(path for _, path in batch if path.endswith(_SUFFIXES) and not path.startswith(skip))
        if paths:
            yield paths


def _resolved(path: Path) -> Path:
    return path.resolve()


def _is_there(path: Path) -> bool:
    return path.exists()

"""What a target depends on, files included, as a digest: the same digest means that nothing changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from onex_mesh.effect.core.targets import TargetConfig

_CONTENT_BYTES_MAX = 1_048_576
_FILES_MAX = 1_000


def fingerprint(config: TargetConfig) -> bytes:
    """Digest of a declaration and of the content of what it refers to. Reads files: not for the event loop."""
    digest = hashlib.sha256(f"{type(config).__qualname__} {config.model_dump_json()}".encode())
    for path in config.refers_to():
        digest.update(look(path))
    return digest.digest()


def look(path: Path) -> bytes:
    """Digest of the content of a file, or of the files below a folder; one that is missing counts as such."""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file}\x00".encode(errors="surrogateescape"))
        digest.update(_content(file))
    return digest.digest()


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or the files below the folder, in order and not more than a thousand."""
    if not path.is_dir():
        yield path
        return
    for count, file in enumerate(sorted(path.rglob("*"))):
        if count >= _FILES_MAX:
            return
        if not file.is_dir():
            yield file


def _content(file: Path) -> bytes:
    try:
        status = file.stat()
        if status.st_size > _CONTENT_BYTES_MAX:
            # No declaration and no credential is that large; its date has to do.
            return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}".encode()
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError as error:
        return f"error {error.errno}".encode()

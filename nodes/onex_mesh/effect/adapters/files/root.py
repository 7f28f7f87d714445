"""A folder that nothing gets out of: every path is walked from its descriptor, and links are never followed.

This is the openat(2) way: a check of a path's text followed by an open could be overtaken by someone who swaps a folder
for a link in between; a walk from descriptor to descriptor cannot.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError, ValidationError

RESERVED = ".onex"
"""Names that begin so belong to the node."""

_SEGMENT_BYTES_MAX = 200
_DEPTH_MAX = 32
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_TEMPORARY_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN})


def split_path(path: str) -> tuple[str, ...]:
    """The segments of a relative path.

    Raises:
        ValidationError: It is absolute, empty, leads upwards or has characters that names must not have.
    """
    segments = tuple(path.split("/"))
    problem = ""
    if not path or path.startswith("/"):
        problem = "is not a relative path"
    elif len(segments) > _DEPTH_MAX:
        problem = f"is deeper than {_DEPTH_MAX} folders"
    elif _CONTROL.search(path):
        problem = "has control characters or backslashes"
    elif any(segment in ("", ".", "..") for segment in segments):
        problem = "has empty segments, '.' or '..'"
    elif any(len(segment.encode(errors="replace")) > _SEGMENT_BYTES_MAX for segment in segments):
        problem = f"has a name longer than {_SEGMENT_BYTES_MAX} bytes"
    elif any(segment.startswith(RESERVED) for segment in segments):
        problem = f"has a name that begins with {RESERVED!r}"
    elif not path.isprintable() or "\ud800" <= max(path, default="") <= "\udfff":
        problem = "has characters that are not printable"
    if problem:
        raise ValidationError(f"path: {path[:100]!r} {problem}", violations=(("path", problem),))
    return segments


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder."""

    name: str
    is_folder: bool
    size_bytes: int
    modified_at_s: float


class Root:
    """The folder of a target."""

    def __init__(self, target: str, path: Path) -> None:
        self._target = target
        self._path = path

    def ensure(self) -> None:
        """Creates the folder where it is missing."""
        self._path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def folder(self, segments: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
        """The descriptor of a folder below the root, for the time of the block.

        Raises:
            EffectFailedError: It does not exist, is no folder, or a link is on the way.
            TargetUnavailableError: The root cannot be opened.
        """
        try:
            current = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise TargetUnavailableError(
                f"the folder of target {self._target!r} cannot be opened: {error.strerror}",
                error_context={"target": self._target},
            ) from error
        try:
            for segment in segments:
                if create:
                    _make_folder(segment, current)
                below = os.open(segment, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    @contextmanager
    def errors(self, path: str) -> Iterator[None]:
        """Errors of the operating system as those of the mesh."""
        try:
            yield
        except OSError as error:
            raise self._translate(error, path) from error

    def _translate(self, error: OSError, path: str) -> OnexError:
        context: dict[str, object] = {"target": self._target, "path": path}
        if error.errno in _TEMPORARY_ERRNOS:
            return TargetUnavailableError(f"{path!r}: {error.strerror}", error_context=context)
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR):
            return EffectFailedError(f"{path!r}: a link or a file is on the way", error_context=context)
        return EffectFailedError(f"{path!r}: {error.strerror or type(error).__name__}", error_context=context)


def open_regular(name: str, folder: int, flags: int, mode: int = 0o640) -> int:
    """Opens a regular file in a folder, never through a link, never waiting for the other end of a pipe.

    Raises:
        OSError: It does not exist, is a link, or is not a regular file.
    """
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file")
    return descriptor


def replace_file(name: str, folder: int, content: bytes) -> None:
    """Writes a file so that a reader sees the old or the new content, also after a crash: temporary file, fsync,
    rename, fsync of the folder."""
    temporary = f"{RESERVED}-{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o640, dir_fd=folder)
    try:
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def remove_file(name: str, folder: int) -> bool:
    """Removes a file or a link itself; False if there is none."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    os.fsync(folder)
    return True


def entries(folder: int) -> Iterator[Entry]:
    """What is in a folder: files and folders, not links and not what belongs to the node."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_symlink() or entry.name.startswith(RESERVED):
                continue
            facts = entry.stat(follow_symlinks=False)
            yield Entry(entry.name, entry.is_dir(follow_symlinks=False), facts.st_size, facts.st_mtime)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all of it, also where the kernel takes it in parts."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o750, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)

"""A folder that nothing gets out of: every path is walked from its descriptor, and links are never followed.

This is the openat(2) way: a check of a path's text followed by an open could be overtaken by someone who swaps a folder
for a link in between; a walk from descriptor to descriptor cannot.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

_TEMPORARY_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ESTALE}
)
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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
            OSError: It does not exist, is no folder, or a link is on the way.
            TargetUnavailableError: The root cannot be opened.
        """
        try:
            current = os.open(self._path, _OPEN_FOLDER)
        except OSError as error:
            raise TargetUnavailableError(
                f"the folder of target {self._target!r} cannot be opened: {error.strerror}",
                error_context={"target": self._target},
            ) from error
        try:
            for segment in segments:
                if create:
                    _make_folder(segment, current)
                below = os.open(segment, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=current)
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
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return EffectFailedError(f"{path!r}: a link or a file is on the way", error_context=context)
        return EffectFailedError(f"{path!r}: {error.strerror or type(error).__name__}", error_context=context)


def open_regular(name: str, folder: int, flags: int, mode: int = 0o640) -> int:
    """Opens a regular file in a folder, never through a link, never waiting for the other end of a pipe.

    A file that has another name elsewhere is refused: that name may be outside of the root.

    Raises:
        OSError: It does not exist, is a link, is not a regular file, or has several names.
    """
    facts = facts_of(name, folder)
    if facts is not None:
        # Before it is opened: opening some devices has effects of its own.
        _require_plain(facts)
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode, dir_fd=folder)
    try:
        _require_plain(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def facts_of(name: str, folder: int) -> os.stat_result | None:
    """What stands under a name, links not followed; None where nothing does."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def require_replaceable(name: str, folder: int) -> None:
    """Lets files and links be replaced or removed, nothing else.

    Raises:
        OSError: It is a folder, a pipe, a device, a socket.
    """
    facts = facts_of(name, folder)
    if facts is not None and not stat.S_ISLNK(facts.st_mode):
        _require_regular(facts)


def remove_file(name: str, folder: int) -> bool:
    """Removes a file or a link itself; False if there is none.

    Raises:
        OSError: It is something else.
    """
    require_replaceable(name, folder)
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    os.fsync(folder)
    return True


def _require_plain(facts: os.stat_result) -> None:
    _require_regular(facts)
    if facts.st_nlink > 1:
        raise OSError(errno.EMLINK, "has several names (hard links), and not all need be below the root")


def _require_regular(facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if stat.S_ISLNK(facts.st_mode):
        raise OSError(errno.ELOOP, "is a link")
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file")


def _make_folder(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o750, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)

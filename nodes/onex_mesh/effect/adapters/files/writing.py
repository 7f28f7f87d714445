"""Files that appear whole: written under a temporary name, synced, then given their name in one step."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from onex_mesh.effect.adapters.files.paths import RESERVED
from onex_mesh.effect.adapters.files.root import facts_of, require_replaceable

_RENAME_NOREPLACE = 1
# What renameat2(2) says where the kernel or the file system cannot do it, NFS for one.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


def replace_file(name: str, folder: int, content: bytes, key: str = "") -> None:
    """Writes a file so that a reader sees the old or the new content, also after a crash: temporary file, fsync,
    rename, fsync of the folder.

    Raises:
        OSError: Among others: something stands there that is neither file nor link.
    """
    require_replaceable(name, folder)
    with temporary_file(name, folder, key) as (temporary, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


@contextmanager
def temporary_file(name: str, folder: int, key: str) -> Iterator[tuple[str, int]]:
    """An empty file beside the one that it will become: its name and a descriptor for writing.

    With a key its name is always the same, so the repeat after a crash uses what the crash left instead of adding to
    it. When the block ends the name is gone: given to the file, or removed.
    """
    temporary, descriptor = _claimed(name, folder, key) if key else _new(folder)
    try:
        yield temporary, descriptor
    finally:
        try:
            if _is_same(os.fstat(descriptor), facts_of(temporary, folder)):
                os.unlink(temporary, dir_fd=folder)
        finally:
            # The lock goes with the descriptor, so nobody had this name meanwhile.
            os.close(descriptor)


def rename_new(name: str, folder: int, new_name: str, new_folder: int) -> None:
    """Renames, but only to a name that is free, in one step.

    On a file system that cannot do it in one step it looks first: then only those who take the same lock are kept from
    coming in between.

    Raises:
        FileExistsError: The name is taken.
        OSError: Otherwise as os.rename.
    """
    if rename_exclusively is not None:
        try:
            rename_exclusively(name, folder, new_name, new_folder)
            return
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    if facts_of(new_name, new_folder) is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=new_folder)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all of it, also where the kernel takes it in parts."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _new(folder: int) -> tuple[str, int]:
    temporary = f"{RESERVED}-{secrets.token_hex(16)}.tmp"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return temporary, os.open(temporary, flags, 0o640, dir_fd=folder)


def _claimed(name: str, folder: int, key: str) -> tuple[str, int]:
    """The temporary file of a key, empty and locked; one of a random name where another process has it just now."""
    temporary = f"{RESERVED}-{hashlib.sha256(f'{name}/{key}'.encode()).hexdigest()[:32]}.tmp"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o640, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        facts = os.fstat(descriptor)
        # Between open and lock the one who had it may have given it its name: then it is not ours to empty.
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1 and _is_same(facts, facts_of(temporary, folder)):
            os.ftruncate(descriptor, 0)
            return temporary, descriptor
    except BlockingIOError:
        os.close(descriptor)
        return _new(folder)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return _new(folder)


def _is_same(facts: os.stat_result, other: os.stat_result | None) -> bool:
    return other is not None and (facts.st_dev, facts.st_ino) == (other.st_dev, other.st_ino)


def _load_renameat2() -> Callable[[str, int, str, int], None] | None:
    """renameat2(2) with RENAME_NOREPLACE, which Python does not offer; None where the C library has none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    function.restype = ctypes.c_int

    def rename(name: str, folder: int, new_name: str, new_folder: int) -> None:
        if function(folder, os.fsencode(name), new_folder, os.fsencode(new_name), _RENAME_NOREPLACE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return rename


rename_exclusively = _load_renameat2()

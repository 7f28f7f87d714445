"""Appends that happen once per key, through crashes.

Beside each file lies a journal with a line for each append: key, offset, length, SHA-256. The line is on disk before
the data. So after a crash at most the last append is incomplete, and the next one under the lock finds that out: the
data is not all there, and what is there of it is cut off together with its line.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onex_mesh.effect.adapters.files.paths import RESERVED
from onex_mesh.effect.adapters.files.root import open_regular
from onex_mesh.effect.adapters.files.writing import write_all


@dataclass(frozen=True, slots=True)
class _Line:
    key: str
    inode: int
    offset: int
    length: int
    digest: str


class OnceAppends:
    """Appends to files of one target. Keys already seen are kept in memory; other processes' are read when they come.

    Calls for one file must not overlap within the process; between processes a lock on the journal sees to it.
    """

    def __init__(self) -> None:
        self._journals: dict[str, _Journal] = {}

    def append(self, path: str, name: str, folder: int, content: bytes, key: str) -> bool:
        """Appends and syncs; False if the key had been appended already.

        Args:
            path: The file, as the cache of keys knows it.
            name: Its name in the folder.
            folder: Descriptor of the folder.
            content: What to append.
            key: At most once per key; empty: always.
        """
        journal = self._journals.setdefault(path, _Journal())
        with _locked(name, folder) as lock:
            descriptor = open_regular(name, folder, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                journal.catch_up(lock, descriptor)
                if key and key in journal.keys:
                    return False
                if key:
                    journal.announce(lock, descriptor, key, content)
                write_all(descriptor, content)
                os.fsync(descriptor)
                os.fsync(folder)
                journal.is_sure = True
            finally:
                os.close(descriptor)
        return True


class _Journal:
    """The lines of one journal that were read so far."""

    def __init__(self) -> None:
        self._begin_anew(0)

    def _begin_anew(self, inode: int) -> None:
        self.keys: set[str] = set()
        self.is_sure = False
        """Whether the data of the last line is known to be there."""
        self._last: _Line | None = None
        self._last_start = 0
        self._read_bytes = 0
        self._inode = inode

    def catch_up(self, lock: int, data: int) -> None:
        """Reads the lines that came since, and repairs an append that a crash left incomplete."""
        facts = os.fstat(lock)
        if facts.st_ino != self._inode or facts.st_size < self._read_bytes:
            self._begin_anew(facts.st_ino)
        text = read_from(lock, self._read_bytes, facts.st_size)
        whole = text[: text.rfind(b"\n") + 1]
        for raw in whole.splitlines(keepends=True):
            line = _Line(**json.loads(raw))
            self.keys.add(line.key)
            self._last, self._last_start = line, self._read_bytes
            self._read_bytes += len(raw)
            self.is_sure = False
        if len(whole) < len(text):
            # A line that was not finished announced nothing that was written.
            os.ftruncate(lock, self._read_bytes)
        if not self.is_sure:
            self._repair(lock, data)
            self.is_sure = True

    def announce(self, lock: int, data: int, key: str, content: bytes) -> None:
        """Puts the line of an append on disk."""
        facts = os.fstat(data)
        line = _Line(key, facts.st_ino, facts.st_size, len(content), hashlib.sha256(content).hexdigest())
        raw = (json.dumps({name: getattr(line, name) for name in _Line.__slots__}) + "\n").encode()
        self.is_sure = False
        write_all(lock, raw)
        os.fsync(lock)
        self._last, self._last_start = line, self._read_bytes
        self._read_bytes += len(raw)
        self.keys.add(key)

    def _repair(self, lock: int, data: int) -> None:
        last, size = self._last, os.fstat(data).st_size
        # A file that was moved away, shortened or edited by its operator is none of our business: only what ends
        # within the last append can be an append that was not finished.
        if last is None or last.inode != os.fstat(data).st_ino or not last.offset <= size <= last.offset + last.length:
            return
        there = read_from(data, last.offset, size)
        # Some file systems grow a file before its data: then its end is zeros after a loss of power.
        is_torn = len(there) < last.length or there.endswith(b"\0")
        if not is_torn or hashlib.sha256(there).hexdigest() == last.digest:
            return
        os.ftruncate(data, last.offset)
        os.fsync(data)
        os.ftruncate(lock, self._last_start)
        os.fsync(lock)
        self.keys.discard(last.key)
        self._read_bytes, self._last = self._last_start, None


@contextmanager
def _locked(name: str, folder: int) -> Iterator[int]:
    """The journal of a file, open and locked against other processes."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    lock = open_regular(f"{RESERVED}-appends-{digest}", folder, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def read_from(descriptor: int, start: int, end: int) -> bytes:
    """The bytes of a file from start to end, or to where it ends."""
    parts: list[bytes] = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)

"""What copies, moves and creations did under a key, in a file of the root: begun, and done.

A line with the content that is to come is on disk before anything gets its name, and another one after it. So a repeat
knows that the work is done by the second line; and if a crash came between, by the content that it finds.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from onex_mesh.effect.adapters.files.append import read_from
from onex_mesh.effect.adapters.files.paths import RESERVED
from onex_mesh.effect.adapters.files.root import open_regular
from onex_mesh.effect.adapters.files.writing import write_all

_NAME = f"{RESERVED}-journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """One piece of work."""

    key: str
    operation: str
    destination: str
    size_bytes: int
    sha256: str
    """Of the content that the destination gets."""
    source_inode: int = 0
    source_mtime_ns: int = 0
    """With the inode: which file a move has to take away."""
    is_done: bool = False


class Journal:
    """The journal of one root. Its lines are kept in memory; those of other processes are read when they come."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._inode = 0
        self._read_bytes = 0

    @contextmanager
    def locked(self, root: int) -> Iterator[OpenJournal]:
        """The journal, up to date, and nobody else's for the time of the block: no other thread's or process's."""
        descriptor = open_regular(_NAME, root, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._catch_up(descriptor)
            yield OpenJournal(self, descriptor)
        finally:
            os.close(descriptor)

    def get(self, key: str) -> Entry | None:
        """What is known of a key. For the holder of the lock."""
        return self._entries.get(key)

    def add(self, descriptor: int, entry: Entry) -> None:
        """Puts a line on disk. For the holder of the lock."""
        raw = (json.dumps(asdict(entry)) + "\n").encode()
        write_all(descriptor, raw)
        os.fsync(descriptor)
        self._read_bytes += len(raw)
        self._entries[entry.key] = entry

    def _catch_up(self, descriptor: int) -> None:
        facts = os.fstat(descriptor)
        if facts.st_ino != self._inode or facts.st_size < self._read_bytes:
            self._entries, self._inode, self._read_bytes = {}, facts.st_ino, 0
        text = read_from(descriptor, self._read_bytes, facts.st_size)
        whole = text[: text.rfind(b"\n") + 1]
        for raw in whole.splitlines():
            entry = Entry(**json.loads(raw))
            self._entries[entry.key] = entry
        self._read_bytes += len(whole)
        if len(whole) < len(text):
            # A crash left a line unfinished. What it would have announced has not begun, or is found by its content.
            os.ftruncate(descriptor, self._read_bytes)


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """The journal in the hands of who holds its lock. Without a key nothing is kept."""

    _journal: Journal
    _descriptor: int

    def get(self, key: str) -> Entry | None:
        """What is known of a key."""
        return self._journal.get(key) if key else None

    def add(self, entry: Entry) -> None:
        """Keeps an entry; on disk when this returns."""
        if entry.key:
            self._journal.add(self._descriptor, entry)

"""Copies, moves and creations below a root: whole, never over another file unless that is asked for, once per key."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onex_mesh.effect.adapters.files.content import require_size
from onex_mesh.effect.adapters.files.journal import Entry, Journal
from onex_mesh.effect.adapters.files.operations import FileOperation, Place
from onex_mesh.effect.adapters.files.root import Root, facts_of, open_regular, require_replaceable
from onex_mesh.effect.adapters.files.writing import rename_new, temporary_file, write_all
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError

_CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a copy or a move came to."""

    size_bytes: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Source:
    folder: int
    name: str
    descriptor: int
    facts: os.stat_result


class Transfers:
    """The copies, moves and creations of one target. For any number of threads."""

    def __init__(self, root: Root, size_bytes_max: int) -> None:
        self._root = root
        self._size_bytes_max = size_bytes_max
        self._journal = Journal()

    def copy(self, work: FileOperation, key: str, stop: threading.Event) -> Transferred:
        """Copies the content of a file.

        Raises:
            OSError: The source is missing or no regular file, or the disk fails.
            EffectFailedError: The destination exists.
            PayloadTooLargeError: The source is larger than the target takes.
        """
        entry = self._known(work, key)
        return self._replayed(entry) if entry else self._copied(work, key, stop, is_move=False)

    def move(self, work: FileOperation, key: str, stop: threading.Event) -> Transferred:
        """Gives a file another name, in the same folder or another one.

        Raises:
            OSError: As for `copy`.
            EffectFailedError: As for `copy`.
            PayloadTooLargeError: As for `copy`.
        """
        entry = self._known(work, key)
        if entry:
            self._take_away(work.place, entry)
            return self._replayed(entry)
        try:
            return self._moved(work, key, stop)
        except FileNotFoundError:
            # Another node may have moved it since the look into the journal.
            entry = self._known(work, key)
            if entry is None:
                raise
            return self._replayed(entry)

    def create(self, work: FileOperation, key: str) -> Transferred:
        """Writes a file that must not exist.

        Raises:
            OSError: The disk fails.
            EffectFailedError: The file exists.
        """
        entry = self._known(work, key)
        if entry:
            return self._replayed(entry)
        place = work.place
        digest = hashlib.sha256(work.content).hexdigest()
        entry = Entry(key, work.operation, place.path, len(work.content), digest)
        with self._root.folder(place.folder, create=True) as folder, temporary_file(place.name, folder, key) as file:
            temporary, descriptor = file
            write_all(descriptor, work.content)
            os.fsync(descriptor)
            return self._publish(entry, folder, work, lambda: self._give_name(temporary, folder, work, folder))

    def _moved(self, work: FileOperation, key: str, stop: threading.Event) -> Transferred:
        try:
            return self._renamed(work, key, stop)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        # The folders are on different file systems.
        return self._copied(work, key, stop, is_move=True)

    def _renamed(self, work: FileOperation, key: str, stop: threading.Event) -> Transferred:
        with self._source(work.place) as source:
            digest = self._digest(source.descriptor, work.place.path, stop)
            entry = _entry(key, work, source.facts, source.facts.st_size, digest)
            with self._root.folder(work.destination.folder, create=True) as folder:

                def rename() -> None:
                    _require_unchanged(source.facts, facts_of(source.name, source.folder))
                    self._give_name(source.name, source.folder, work, folder)
                    os.fsync(source.folder)

                return self._publish(entry, folder, work, rename)

    def _copied(self, work: FileOperation, key: str, stop: threading.Event, *, is_move: bool) -> Transferred:
        to = work.destination
        with (
            self._source(work.place) as source,
            self._root.folder(to.folder, create=True) as folder,
            temporary_file(to.name, folder, key) as (temporary, descriptor),
        ):
            digest = self._digest(source.descriptor, work.place.path, stop, copy_to=descriptor)
            _require_unchanged(source.facts, os.fstat(source.descriptor))
            os.fsync(descriptor)
            entry = _entry(key, work, source.facts, os.fstat(descriptor).st_size, digest)
            done = self._publish(entry, folder, work, lambda: self._give_name(temporary, folder, work, folder))
            if is_move:
                self._take_away(work.place, entry)
            return done

    def _publish(self, entry: Entry, folder: int, work: FileOperation, give_name: Callable[[], None]) -> Transferred:
        """Gives the content its name, between the two lines of the journal, unless somebody did meanwhile."""
        to = _place_of(work)
        with self._root.folder(()) as root, self._journal.locked(root) as journal:
            known = self._done(journal.get(entry.key), work)
            if known is not None:
                return self._replayed(known)
            require_replaceable(to.name, folder)
            if not work.overwrite and facts_of(to.name, folder) is not None:
                raise _taken(to)
            journal.add(entry)
            give_name()
            os.fsync(folder)
            journal.add(dataclasses.replace(entry, is_done=True))
        return Transferred(entry.size_bytes, replayed=False)

    def _give_name(self, name: str, folder: int, work: FileOperation, to_folder: int) -> None:
        to = _place_of(work)
        if work.overwrite:
            os.rename(name, to.name, src_dir_fd=folder, dst_dir_fd=to_folder)
            return
        try:
            rename_new(name, folder, to.name, to_folder)
        except FileExistsError as error:
            raise _taken(to) from error

    def _known(self, work: FileOperation, key: str) -> Entry | None:
        """The journal's entry of work that is done; None if there is none, or it is not done."""
        if not key:
            return None
        with self._root.folder(()) as root, self._journal.locked(root) as journal:
            return self._done(journal.get(key), work)

    def _done(self, entry: Entry | None, work: FileOperation) -> Entry | None:
        if entry is None:
            return None
        to = _place_of(work)
        _require_own(entry, work, to)
        return entry if entry.is_done or self._holds(to, entry) else None

    def _holds(self, place: Place, entry: Entry) -> bool:
        """Whether a file has the content that the journal announced."""
        try:
            with self._root.folder(place.folder) as folder:
                descriptor = open_regular(place.name, folder, os.O_RDONLY)
                try:
                    if os.fstat(descriptor).st_size != entry.size_bytes:
                        return False
                    return self._digest(descriptor, place.path, threading.Event()) == entry.sha256
                finally:
                    os.close(descriptor)
        except OSError:
            # Nothing there, or something that no transfer makes.
            return False

    def _take_away(self, place: Place, entry: Entry) -> None:
        """Removes the source of a move that a crash left behind; a new file of its name stays."""
        try:
            with self._root.folder(place.folder) as folder:
                facts = facts_of(place.name, folder)
                if facts is None or (facts.st_ino, facts.st_mtime_ns) != (entry.source_inode, entry.source_mtime_ns):
                    return
                os.unlink(place.name, dir_fd=folder)
                os.fsync(folder)
        except FileNotFoundError:
            # Its folder went, too.
            return

    def _digest(self, descriptor: int, path: str, stop: threading.Event, copy_to: int | None = None) -> str:
        """The SHA-256 of a file; its content goes to another one on the way where that is asked for."""
        digest, size_bytes = hashlib.sha256(), 0
        while part := os.pread(descriptor, _CHUNK_BYTES, size_bytes):
            if stop.is_set():
                raise TargetUnavailableError(f"{path!r}: stopped, because nobody waits any more")
            size_bytes += len(part)
            require_size(size_bytes, self._size_bytes_max, path)
            digest.update(part)
            if copy_to is not None:
                write_all(copy_to, part)
        return digest.hexdigest()

    @contextmanager
    def _source(self, place: Place) -> Iterator[_Source]:
        with self._root.folder(place.folder) as folder:
            descriptor = open_regular(place.name, folder, os.O_RDONLY)
            try:
                facts = os.fstat(descriptor)
                require_size(facts.st_size, self._size_bytes_max, place.path)
                yield _Source(folder, place.name, descriptor, facts)
            finally:
                os.close(descriptor)

    @staticmethod
    def _replayed(entry: Entry) -> Transferred:
        return Transferred(entry.size_bytes, replayed=True)


def _place_of(work: FileOperation) -> Place:
    """Where the content ends up."""
    return work.destination if work.destination.name else work.place


def _entry(key: str, work: FileOperation, source: os.stat_result, size_bytes: int, digest: str) -> Entry:
    return Entry(key, work.operation, work.destination.path, size_bytes, digest, source.st_ino, source.st_mtime_ns)


def _require_unchanged(then: os.stat_result, now: os.stat_result | None) -> None:
    """Keeps a transfer from taking half of a change along, or what somebody put in the place of the file it read.

    Raises:
        OSError: The file is not the one that was read; a later attempt may find it at rest.
    """
    if now is None or _identity(then) != _identity(now):
        raise OSError(errno.ESTALE, "was changed meanwhile")


def _identity(facts: os.stat_result) -> tuple[int, int, int, int]:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _require_own(entry: Entry, work: FileOperation, to: Place) -> None:
    """Refuses a key that belongs to other work: what it did says nothing about this."""
    if (entry.operation, entry.destination) != (work.operation, to.path):
        raise EffectFailedError(
            f"the key belongs to another operation: {entry.operation} to {entry.destination!r}",
            error_context={"path": to.path},
        )


def _taken(place: Place) -> EffectFailedError:
    return EffectFailedError(
        f"{place.path!r} exists already, and overwrite is not set", error_context={"path": place.path}
    )

"""Pages of what is in a folder, in the order of the paths' bytes, which is also the order of object stores."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from onex_mesh.effect.adapters.files.operations import PageRequest
from onex_mesh.effect.adapters.files.paths import DEPTH_MAX, is_name
from onex_mesh.effect.adapters.files.root import facts_of
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError
from onex_mesh.runtime.payload import Json

_FOLDERS_MAX = 10_000
_NAMES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, or one folder."""

    path: str
    """Below the folder that is listed."""
    is_folder: bool
    size_bytes: int = 0
    modified_at_s: float = 0.0

    @property
    def place(self) -> str:
        """Where it stands in the order; a folder where the first thing in it would."""
        return f"{self.path}/" if self.is_folder else self.path


def page_of(entries: Iterable[Entry], request: PageRequest, size_bytes_max: int) -> dict[str, Json]:
    """The page that was asked for: entries, count, and where the next page begins if there is one.

    Args:
        entries: In their order, each behind `request.after`.
        request: What is asked.
        size_bytes_max: Most that the page may have as JSON. Where more were asked for, the next page has the rest.

    Raises:
        PayloadTooLargeError: Not even one entry fits.
    """
    rows: list[Json] = []
    after, size_bytes = "", 0
    for entry in entries:
        row = _row(entry)
        size_bytes += len(json.dumps(row)) + 2
        if len(rows) == request.limit or size_bytes > size_bytes_max:
            if not rows:
                raise PayloadTooLargeError(f"one entry of {request.path!r} is larger than {size_bytes_max} bytes")
            return {"entries": rows, "count": len(rows), "next": after}
        rows.append(row)
        after = entry.place
    return {"entries": rows, "count": len(rows)}


def is_wanted(entry: Entry, request: PageRequest) -> bool:
    """Whether an entry belongs to what is asked: behind the cursor, and with a name that the pattern matches."""
    if request.after and entry.place <= request.after:
        return False
    if request.recursive and entry.is_folder:
        return False
    return request.glob is None or request.glob.match(entry.path.rpartition("/")[2]) is not None


def entries_below(folder: int, request: PageRequest) -> Iterator[Entry]:
    """What is in a folder, or in it and all folders below it, as deep as a path may lead: files and folders, no links,
    and nothing that belongs to the node.

    Raises:
        EffectFailedError: There are more names or folders than a request may look through.
        OSError: The folder cannot be read.
    """
    yield from _Walk(request).entries(folder, "")


class _Walk:
    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._folders = 0

    def entries(self, folder: int, prefix: str) -> Iterator[Entry]:
        self._folders += 1
        if self._folders > _FOLDERS_MAX:
            raise EffectFailedError(f"{self._request.path or '.'!r} has more than {_FOLDERS_MAX} folders")
        for entry in self._sorted(folder, prefix):
            if entry.is_folder and self._request.recursive:
                yield from self._below(entry, folder)
            elif is_wanted(entry, self._request):
                facts = facts_of(entry.path.rpartition("/")[2], folder)
                # It may have been removed since.
                if facts is not None:
                    yield Entry(entry.path, entry.is_folder, facts.st_size, facts.st_mtime)

    def _below(self, entry: Entry, folder: int) -> Iterator[Entry]:
        after = self._request.after
        if after and entry.place < after and not after.startswith(entry.place):
            # All that is in it stands before the cursor.
            return
        if len(self._request.folder) + entry.place.count("/") >= DEPTH_MAX:
            return
        name = entry.path.rpartition("/")[2]
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            below = os.open(name, flags, dir_fd=folder)
        except OSError:
            # Exchanged for a link or removed since it was seen: then it is none of what is listed.
            return
        try:
            yield from self.entries(below, entry.place)
        finally:
            os.close(below)

    def _sorted(self, folder: int, prefix: str) -> Iterator[Entry]:
        found: list[tuple[str, Entry]] = []
        with os.scandir(folder) as names:
            for name in names:
                if len(found) >= _NAMES_MAX:
                    raise EffectFailedError(f"{self._request.path or '.'!r} has more than {_NAMES_MAX} entries")
                is_folder = name.is_dir(follow_symlinks=False)
                if is_name(name.name) and (is_folder or name.is_file(follow_symlinks=False)):
                    entry = Entry(prefix + name.name, is_folder)
                    found.append((entry.place, entry))
        # A heap: a page of a large folder needs the first of it only.
        heapq.heapify(found)
        while found:
            yield heapq.heappop(found)[1]


def _row(entry: Entry) -> dict[str, Json]:
    row: dict[str, Json] = {
        "name": entry.path,
        "type": "folder" if entry.is_folder else "file",
        "size_bytes": entry.size_bytes,
    }
    if entry.modified_at_s:
        row["modified_at_s"] = round(entry.modified_at_s, 3)
    return row

"""What the node writes into an object's metadata: which key put it, what it appended, and a checksum of the content.

Metadata is put together with the content, in one step of the store. So it is a journal that no crash separates from
what it tells of.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from onex_mesh.runtime.errors import EffectFailedError

_OWN = "onex-"
_PUT_BY, _SHA256, _SOURCE, _APPENDED = "onex-put-by", "onex-sha256", "onex-source", "onex-appended"
# 72 bits: among the few keys of one object no two are alike.
_ID_CHARS = 12
# Amazon bounds all of it to 2,048 bytes, names included.
_BYTES_MAX = 2_000
_APPENDS_MIN = 32


@dataclass(frozen=True, slots=True)
class Marks:
    """The metadata of an object, the node's and others'."""

    put_by: str = ""
    """Id of the key under which a write, a copy or a move put it."""
    sha256: str = ""
    """Of the content, hexadecimal."""
    source: str = ""
    """Of a move: the etag of what it takes away."""
    appended: tuple[str, ...] = ()
    """Ids of the keys of the last appends, newest last."""
    others: Mapping[str, str] | None = None
    """What other programs keep there."""

    def with_append(self, key: str) -> Marks:
        """The same with one more append; the oldest go where there is no more room.

        Raises:
            EffectFailedError: Metadata of others leaves too little room to tell repeats.
        """
        if not key:
            return self
        others = sum(len(name) + len(value) for name, value in (self.others or {}).items())
        fixed = sum(map(len, (_PUT_BY, _SHA256, _SOURCE, _APPENDED))) + _ID_CHARS + 64 + len(self.source)
        room = (_BYTES_MAX - others - fixed) // _ID_CHARS
        if room < _APPENDS_MIN:
            raise EffectFailedError("the object's metadata leaves no room for the keys of appends")
        return replace(self, appended=(*self.appended, mark_of(key))[-room:])


def mark_of(key: str) -> str:
    """A key as it stands in metadata: keys may be longer and say more than others should read."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).decode()[:_ID_CHARS] if key else ""


def digest(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_marks(metadata: Mapping[str, str]) -> Marks:
    """The marks of an object; of one that the node did not put, only what others keep."""
    lower = {name.lower(): value for name, value in metadata.items()}
    joined = lower.get(_APPENDED, "")
    return Marks(
        put_by=lower.get(_PUT_BY, ""),
        sha256=lower.get(_SHA256, ""),
        source=lower.get(_SOURCE, ""),
        appended=tuple(joined[at : at + _ID_CHARS] for at in range(0, len(joined), _ID_CHARS)),
        others={name: value for name, value in lower.items() if not name.startswith(_OWN)},
    )


def metadata_of(marks: Marks) -> dict[str, str]:
    """The metadata that says it."""
    own = {
        _PUT_BY: marks.put_by,
        _SHA256: marks.sha256,
        _SOURCE: marks.source,
        _APPENDED: "".join(marks.appended),
    }
    return {**(marks.others or {}), **{name: value for name, value in own.items() if value}}

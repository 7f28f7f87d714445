"""What a node just put into the payload store or fetched from it: the next step often needs it right here."""

from __future__ import annotations

from collections import OrderedDict

from onex.v1 import common_pb2

CACHE_BYTES_MAX = 64 * 1024 * 1024


class PayloadCache:
    """Contents by location; the ones that were used longest ago go first.

    Args:
        bytes_max: What all of them may come to.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._contents: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size_bytes = 0

    def add(self, location: common_pb2.PayloadLocation, content: bytes) -> None:
        """Keeps a content; one that is larger than all of them may be is not kept."""
        key = (location.uri, location.digest)
        if key in self._contents or len(content) > self._bytes_max:
            return
        self._contents[key] = content
        self._size_bytes += len(content)
        while self._size_bytes > self._bytes_max:
            _, dropped = self._contents.popitem(last=False)
            self._size_bytes -= len(dropped)

    def get(self, location: common_pb2.PayloadLocation) -> bytes | None:
        """The content; None if it is not here or the location gives another size."""
        key = (location.uri, location.digest)
        content = self._contents.get(key)
        if content is None or location.size_bytes not in (0, len(content)):
            return None
        self._contents.move_to_end(key)
        return content

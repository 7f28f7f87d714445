"""The content of a response, read up to a bound: as it comes over the wire, and as it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Protocol

ACCEPTED_ENCODING = "gzip"
"""What the node asks for; an answer in another encoding is refused."""

_PACKING_BYTES = 1_024
"""What packing may add to bytes that cannot be packed."""
_GZIP = zlib.MAX_WBITS | 16


class ContentTooLargeError(Exception):
    """There is more than the bound; the rest was not read."""


class ContentEncodingError(Exception):
    """It is packed in a way that was not asked for, or is not what it says."""


class _Decoder(Protocol):
    def decode(self, data: bytes, room: int) -> bytes:
        """Unpacks; the result may be longer than `room` by one byte, never by more."""

    def end(self) -> None:
        """Checks that nothing is missing."""


async def read_content(chunks: AsyncIterator[bytes], encoding: str, bytes_max: int) -> bytes:
    """The content, unpacked.

    Args:
        chunks: The raw bytes as they come.
        encoding: Of the header content-encoding.
        bytes_max: Most bytes of it, packed and unpacked.

    Raises:
        ContentTooLargeError: It is larger.
        ContentEncodingError: It cannot be unpacked.
    """
    decoder = _decoder(encoding)
    content = bytearray()
    raw = 0
    async for chunk in chunks:
        raw += len(chunk)
        content += decoder.decode(chunk, bytes_max - len(content))
        # Packed bytes count, too: an endless row of empty members unpacks to nothing.
        if raw > bytes_max + _PACKING_BYTES or len(content) > bytes_max:
            raise ContentTooLargeError
    decoder.end()
    return bytes(content)


def _decoder(encoding: str) -> _Decoder:
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Gzip()
        case other:
            raise ContentEncodingError(f"is packed as {other[:32]!r}, which was not asked for")


class _Plain:
    def decode(self, data: bytes, room: int) -> bytes:
        return data[: room + 1]

    def end(self) -> None:
        return


class _Gzip:
    """RFC 1952: one member after the other. Never unpacks more than there is room for, so a bomb stays small."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._is_begun = False

    def decode(self, data: bytes, room: int) -> bytes:
        content = bytearray()
        while data and len(content) <= room:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._is_begun = True
            try:
                content += self._member.decompress(data, room + 1 - len(content))
            except zlib.error as error:
                raise ContentEncodingError(f"is not gzip: {error}") from error
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return bytes(content)

    def end(self) -> None:
        if self._is_begun and not self._member.eof:
            raise ContentEncodingError("ends in the middle of its gzip")

"""The input of a contract, taken out of its message."""

from __future__ import annotations

from onex.v1 import common_pb2
from onex_mesh.compute.core.output import read_data


class Received:
    """A payload that has arrived, whose bytes are taken out once: each access of the message's field copies them.

    Args:
        payload: The payload.

    Attributes:
        size_bytes: Size of what it holds.
    """

    __slots__ = ("_data", "_payload", "size_bytes")

    def __init__(self, payload: common_pb2.Payload) -> None:
        self._payload = payload
        self._data = payload.data
        # ByteSize encodes the whole message to find its size: for JSON only, of which there is never so much.
        self.size_bytes = len(self._data) or payload.ByteSize()

    def read(self, at: str = "input_data") -> object:
        """The data; to be called once, for the bytes are let go: what was read keeps those that it is a view of.

        Args:
            at: Where it stands, for errors.

        Raises:
            ValidationError: They are not what the content type says.
        """
        data, self._data = self._data, b""
        return read_data(self._payload, data, at)

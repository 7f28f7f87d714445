"""Payload stores for tests: a folder, an S3-compatible server, and one that a test can take away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import DependencyResolutionError
from onex_mesh.runtime.payload_store import PAYLOAD_BYTES_MAX, FsspecPayloads
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

BUCKET = "kept"


class Recording:
    """A store that notes what it is asked, and is away when it is told to be."""

    def __init__(self, folder: Path) -> None:
        self._store = FsspecPayloads(f"file://{folder}")
        self.puts: list[str] = []
        self.gets: list[str] = []
        self.refused = 0
        self.is_away = False

    async def put(self, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        """Puts, or is away."""
        self._require_there()
        location = await self._store.put(data, folder)
        self.puts.append(location.uri)
        return location

    async def get(self, location: common_pb2.PayloadLocation, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
        """Gets, or is away."""
        self._require_there()
        self.gets.append(location.uri)
        return await self._store.get(location, bytes_max)

    def _require_there(self) -> None:
        if self.is_away:
            self.refused += 1
            raise DependencyResolutionError("the payload store does not answer")


def s3_environment(endpoint: str) -> dict[str, str]:
    """What a process needs to reach an S3-compatible server, as the AWS tools take it."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def use_s3(server: S3Server, setenv: Callable[[str, str], None]) -> str:
    """Starts the server with a bucket, sets the environment, and tells the URL of the store."""
    server.start()
    server.make_bucket(BUCKET)
    for name, value in s3_environment(server.url).items():
        setenv(name, value)
    return f"s3://{BUCKET}/mesh"


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, by path below it."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}

"""Object stores: lines that were appended to an object are counted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

from onex.v1 import intent_pb2
from tests.proof.case import Counts, NetworkCase, Stage
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

_LINE = "a line\n"


class ObjectAppendCase(NetworkCase):
    """Appends to an object of its own, at moto's server."""

    name = "objects"
    effect_type = "file_operation"
    operation = "append"
    intent_type = intent_pb2.INTENT_TYPE_FILE_OPERATION
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")
    server: S3Server

    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """With a bucket."""
        self.server = S3Server()
        stack.callback(self.server.kill)
        await asyncio.to_thread(self.server.start)
        await asyncio.to_thread(self.server.make_bucket, "papers")
        return self.server.port

    def declaration(self, port: int) -> str:
        """Behind the proxy."""
        return (
            f"kind: object_store\nstore: s3\nbucket: papers\nendpoint_url: http://127.0.0.1:{port}\n"
            "access_key_env: ONEX_PROOF_S3_ACCESS\nsecret_key_env: ONEX_PROOF_S3_SECRET\nlimits: {timeout_s: 40}\n"
        )

    def variables(self) -> dict[str, str]:
        """The keys."""
        return {"proof_s3_access": ACCESS_KEY, "proof_s3_secret": SECRET_KEY}

    def parameters(self, label: str) -> dict[str, object]:
        """A line."""
        return {"path": f"{label}.txt", "content": _LINE}

    def prepare(self, label: str) -> None:
        """An object without lines."""
        self.server.put("papers", f"{label}.txt", b"first\n", content_type="text/plain")

    def marker(self, stage: Stage, label: str) -> bytes:
        """Only what writes."""
        return f"PUT /papers/{label}.txt".encode()

    async def count(self, label: str) -> int:
        """Lines."""
        found = await asyncio.to_thread(self.server.get, "papers", f"{label}.txt")
        return found.content.decode().count(_LINE)

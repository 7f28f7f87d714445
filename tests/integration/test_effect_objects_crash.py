"""kill -9 of a node around every request to an object store, and the repeat on another node."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.effect_engine import World, effect_world
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

_ENVIRONMENT = {**os.environ, "S3_KEY": ACCESS_KEY, "S3_SECRET": SECRET_KEY}

# Runs the operation again and again, each time in a fork and under a prefix of its own, and kills it before, in and
# after its first, second, third … request. Prints how often it was killed.
_NODE = """
import asyncio, json, os, signal, sys
from pathlib import Path
from onex_mesh.effect.adapters.objects.s3 import S3Store
from tests.effect_engine import effect_world

base, targets, work = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(deadly):
    calls = []

    def counted(method):
        async def call(self, *arguments, **named):
            moments = range(len(calls) + 1, len(calls) + 4)
            calls.extend(moments)
            if deadly == moments[0]:
                kill()
            if deadly == moments[1]:
                asyncio.ensure_future(method(self, *arguments, **named))
                # Anywhere between the first byte of the request and the last one of the answer.
                await asyncio.sleep(0.01)
                kill()
            result = await method(self, *arguments, **named)
            if deadly == moments[2]:
                kill()
            return result

        return call

    for name in ("facts", "get", "put", "delete"):
        setattr(S3Store, name, counted(getattr(S3Store, name)))


async def operate(deadly):
    folder = base / str(deadly)
    folder.mkdir()
    async with effect_world(folder, targets.replace("PREFIX", f"p{deadly}")) as world:
        for name, text in work["before"].items():
            await world.effect("file_operation", "objects", "write", {"path": name, "content": text})
        arm(deadly)
        await world.effect("file_operation", "objects", work["operation"], work["parameters"], key="k1")
        os._exit(0)


deadly = 1
while True:
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(operate(deadly))
        finally:
            os._exit(9)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0, status
        break
    deadly += 1
print(deadly - 1)
"""


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server, None, None]:
    """A server; each test has a bucket of its own."""
    server = S3Server()
    server.start()
    yield server
    server.kill()


async def _all(world: World) -> dict[str, object]:
    page = await world.result("file_operation", "objects", "list", {"path": "", "recursive": True})
    assert isinstance(page, dict)
    return {
        row["name"]: await world.result("file_operation", "objects", "read", {"path": row["name"]})
        for row in page["entries"]
    }


@pytest.mark.parametrize(
    ("operation", "parameters", "before", "after"),
    [
        ("write", {"path": "b", "content": "new"}, {"b": "old"}, {"b": "new"}),
        ("write", {"path": "b", "content": "new", "overwrite": False}, {}, {"b": "new"}),
        ("append", {"path": "b", "content": "new"}, {"b": "old"}, {"b": "oldnew"}),
        ("copy", {"path": "a", "destination": "b"}, {"a": "new"}, {"a": "new", "b": "new"}),
        ("move", {"path": "a", "destination": "b"}, {"a": "new"}, {"b": "new"}),
        ("move", {"path": "a", "destination": "b", "overwrite": True}, {"a": "new", "b": "old"}, {"b": "new"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_crash_around_any_request(
    tmp_path: Path,
    s3: S3Server,
    operation: str,
    parameters: dict[str, object],
    before: dict[str, str],
    after: dict[str, str],
) -> None:
    """R9, R25: whenever the node dies, every object is whole, nothing is lost, and the repeat does what one run does.

    The ledger of the node that died is gone, too: only the objects tell.
    """
    bucket = f"crash-{operation}-{len(parameters)}{len(before)}"
    s3.make_bucket(bucket)
    targets = (
        f"  objects: {{kind: object_store, store: s3, bucket: {bucket}, prefix: PREFIX, endpoint_url: '{s3.url}',"
        " access_key_env: S3_KEY, secret_key_env: S3_SECRET}"
    )
    work = {"operation": operation, "parameters": parameters, "before": before}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _NODE, str(tmp_path), targets, json.dumps(work)],
        env={**_ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    killed = int(done.stdout)
    assert killed >= 3
    for number in range(1, killed + 2):
        async with effect_world(tmp_path, targets.replace("PREFIX", f"p{number}"), environment=_ENVIRONMENT) as world:
            crashed = await _all(world)
            assert all(text in (before.get(name), after.get(name)) for name, text in crashed.items()), number
            assert "new" in crashed.values() or operation in ("write", "append"), number
            for _ in range(2):
                await world.effect("file_operation", "objects", operation, parameters, key="k1")
                assert await _all(world) == after, number

"""A process that publishes messages as an effect node does, for tests that kill it.

Started as `python -m tests.publisher FOLDER COUNT`, with the declaration of its targets as first line of its input. It
opens them, says "ready", waits for another line, publishes under the keys k-0, k-1, … and says each key when its
message is acknowledged. Then it waits to be killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.effect_engine import effect_world

_AT_ONCE = 4


class Publisher:
    """Such a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> str:
        """The next thing that it says."""
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

    async def go(self) -> None:
        """Lets it publish."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


@asynccontextmanager
async def publisher(folder: Path, targets: str, count: int) -> AsyncGenerator[Publisher, None]:
    """A process that has opened its targets; killed at the end at the latest."""
    assert "\n" not in targets
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.publisher",
        str(folder),
        str(count),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    started = Publisher(process)
    try:
        assert process.stdin is not None
        process.stdin.write(targets.encode() + b"\n")
        while (line := await started.said()) != "ready":
            assert line, "the publisher ended"
        yield started
    finally:
        await started.kill()


async def publish(folder: Path, targets: str, count: int) -> None:
    """What the process does."""
    async with effect_world(folder, targets) as world:
        print("ready", flush=True)  # noqa: T201  # that is how it talks
        await asyncio.to_thread(sys.stdin.readline)
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await world.effect("message_publish", "events", "", {"event_type": "placed"}, key=f"k-{number}")
                print(f"k-{number}", flush=True)  # noqa: T201  # likewise

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(publish(Path(sys.argv[1]), sys.stdin.readline().rstrip("\n"), int(sys.argv[2])))

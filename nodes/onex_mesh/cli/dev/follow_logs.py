"""Shows log files as they grow, each line with the name of the process that wrote it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

_POLL_S = 0.2
_CHUNK_BYTES = 256 * 1024


async def follow_logs(logs: Mapping[str, Path]) -> None:
    """Copies what is written to the logs from now on to stderr, until it is cancelled."""
    width = max((len(name) for name in logs), default=0)
    positions = {name: _size(path) for name, path in logs.items()}
    partial = dict.fromkeys(logs, b"")
    while True:
        for name, path in logs.items():
            if _size(path) <= positions[name]:
                continue
            with path.open("rb") as log:
                log.seek(positions[name])
                chunk = log.read(_CHUNK_BYTES)
            positions[name] += len(chunk)
            *lines, partial[name] = (partial[name] + chunk).split(b"\n")
            for line in lines:
                sys.stderr.write(f"{name:<{width}} | {line.decode('utf-8', errors='replace')}\n")
        await asyncio.sleep(_POLL_S)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

"""Where a process spends its time: py-spy, attached to it while it is under load."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

_START_S = 1.0
_STOP_TIMEOUT_S = 60.0


class ProfilerError(Exception):
    """py-spy is missing or could not look into the process."""


def find_profiler() -> Path:
    """py-spy, on PATH or beside this interpreter.

    Raises:
        ProfilerError: It is in neither place.
    """
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if found is None:
        raise ProfilerError("py-spy is not installed: pip install py-spy")
    return Path(found)


async def record(profiler: Path, pid: int, duration_s: float, file: Path) -> None:
    """Samples a process for a while and writes what it saw.

    Args:
        profiler: py-spy.
        pid: The process. Looking into it may need the right to trace processes (root, or kernel.yama.ptrace_scope 0).
        duration_s: How long, in whole seconds.
        file: Where to: .svg gets a flame graph, .txt one line per stack with its count, anything else speedscope JSON.

    Raises:
        ProfilerError: It could not look into the process.
    """
    form = {".svg": "flamegraph", ".txt": "raw"}.get(file.suffix, "speedscope")
    arguments = ["--pid", str(pid), "--duration", str(max(1, round(duration_s))), "--rate", "200", "--format", form]
    process = await asyncio.create_subprocess_exec(
        # Only who holds the interpreter lock: a thread that waits in gRPC looks as busy as one that works.
        *(str(profiler), "record", *arguments, "--gil", "--output", str(file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), duration_s + _START_S + _STOP_TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ProfilerError(f"py-spy ended with {process.returncode}: {output.decode(errors='replace').strip()}")

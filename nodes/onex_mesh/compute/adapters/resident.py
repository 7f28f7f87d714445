"""Memory of this process, as Linux counts it (proc(5))."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def held_bytes() -> int:
    """Resident memory now, without pages of files, which the kernel can drop: what was spilled is no burden."""
    status = _fields()
    return _bytes(status, "VmRSS") - _bytes(status, "RssFile")


def with_peak(function: Callable[[], R]) -> tuple[R, int]:
    """Calls a function; its result and the most resident memory of the process meanwhile, in bytes.

    0 where the kernel does not let a process begin its count anew, as in some sandboxes.
    """
    try:
        _CLEAR.write_text("5")
    except OSError:
        return function(), 0
    result = function()
    return result, _bytes(_fields(), "VmHWM")


def _fields() -> dict[str, str]:
    return dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)


def _bytes(status: dict[str, str], field: str) -> int:
    return int(status.get(field, "0 kB").split()[0]) * 1024

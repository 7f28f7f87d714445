"""Processor time of the processes under test, and of everything else on the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class CpuSample:
    """Processor seconds so far.

    Attributes:
        roles: By role, such as "etcd": its processes and their children, user and system.
        busy: All processors of the machine together, idle and waiting time left out.
    """

    roles: Mapping[str, float]
    busy: float


class CpuMeter:
    """Reads processor seconds of processes by role.

    Args:
        pids: The process of each role. Its children count with it.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {
            role: [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] for role, pid in pids.items()
        }

    def sample(self) -> CpuSample:
        """The seconds so far.

        Raises:
            psutil.NoSuchProcess: One of the processes has ended.
        """
        roles = {role: sum(_seconds(process) for process in rows) for role, rows in self._processes.items()}
        times = psutil.cpu_times()
        return CpuSample(roles=roles, busy=times.user + times.nice + times.system + times.irq + times.softirq)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)

"""What /proc tells of processes and all they have started: time on a CPU, memory. Linux only."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = resource.getpagesize()

CpuTimes = dict[tuple[int, int], int]
"""Nanoseconds on a CPU by process and thread."""


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """A process and its descendants; those that have ended are left out."""
    found = [pid]
    for parent in found:
        for children in (proc / str(parent) / "task").glob("*/children"):
            with suppress(OSError):
                found.extend(map(int, children.read_text().split()))
    return [each for each in found if (proc / str(each)).exists()]


def cpu_times(pids: Iterable[int], proc: Path = PROC) -> CpuTimes:
    """The time every thread of these processes and their descendants has had, by the scheduler's own count.

    /proc/PID/task/TID/schedstat, first number (kernel: Documentation/scheduler/sched-stats.rst): exact to the
    nanosecond, where /proc/PID/stat counts ticks of 10 ms.
    """
    times: CpuTimes = {}
    for root in pids:
        for pid in tree(root, proc):
            for task in (proc / str(pid) / "task").glob("*"):
                with suppress(OSError):
                    times[pid, int(task.name)] = int((task / "schedstat").read_text().split()[0])
    return times


def spent_us(before: CpuTimes, after: CpuTimes) -> float:
    """CPU microseconds between two readings. A thread that is new counts whole; one that has ended not at all."""
    return sum(time_ns - before.get(thread, 0) for thread, time_ns in after.items()) / 1e3


def resident_bytes(pids: Iterable[int], proc: Path = PROC) -> int:
    """Resident memory of these processes and their descendants; pages that they share count for each."""
    total = 0
    for root in pids:
        for pid in tree(root, proc):
            with suppress(OSError):
                total += int((proc / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    return total

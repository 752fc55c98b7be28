"""Who sends: by this the agent of the node finds the port that it attached to."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple

MOST_PORTS = 16


class Process(NamedTuple):
    """One API server process.

    `start_ms` is when it began, since the epoch, as `process_start_time_seconds` on its `/metrics` page; 0 where that
    cannot be read. `ports` are those that it listens on, at most 16. It is the one with index `api_index` of
    `api_count` that stand before the same engines.
    """

    pid: int
    start_ms: int
    ports: tuple[int, ...]
    api_index: int
    api_count: int


def this_process(api_index: int, api_count: int) -> Process:
    """The process as it is now; it may come to listen on more ports."""
    return Process(os.getpid(), started_at_ms(), listening_ports(), api_index, api_count)


def started_at_ms() -> int:
    """When this process began, reckoned as prometheus_client does it: the boot time, and ticks since then.

    The boot time changes when the clock is set, so ask early and once, as that does.
    """
    try:
        with Path("/proc/stat").open(encoding="ascii") as lines:
            boot_s = next(float(line.split()[1]) for line in lines if line.startswith("btime "))
        about = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
        ticks = float(about.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError, StopIteration):
        return 0
    return round((ticks / os.sysconf("SC_CLK_TCK") + boot_s) * 1e3)


def listening_ports() -> tuple[int, ...]:
    """The TCP ports that this process listens on, in order."""
    try:
        descriptors = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return ()
    return tuple(sorted({port for fd in descriptors if (port := _listening_port(fd))})[:MOST_PORTS])


def _listening_port(fd: int) -> int:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return 0
        is_blocking = os.get_blocking(fd)
        with socket.socket(fileno=os.dup(fd)) as copy:
            os.set_blocking(fd, is_blocking)  # Python may have a default timeout, and share it with the socket
            is_tcp = copy.family in {socket.AF_INET, socket.AF_INET6} and copy.type == socket.SOCK_STREAM
            if not is_tcp or not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return 0
            return int(copy.getsockname()[1])
    except OSError:
        return 0

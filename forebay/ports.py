"""TCP ports on the loopback address: which can be listened on, and some that are free."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def obstacles(ports: Iterable[int]) -> dict[int, str]:
    """Those of `ports` that cannot be listened on, and why in the system's words."""
    return {port: obstacle for port in ports if (obstacle := _obstacle(port))}


def free_row(count: int, beyond: int) -> int | None:
    """The first of `count` ports in a row that can all be listened on, some hundreds beyond that one; None: nowhere."""
    starts = range(beyond + 100, 65_537 - count, 100)
    return next((start for start in starts if not obstacles(range(start, start + count))), None)


def _obstacle(port: int) -> str | None:
    with socket.socket() as probe:
        # As a server binds: a port that only waits for old connections to die is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
    return None


def free_ports(count: int) -> list[int]:
    """`count` different free ports. They are not held: start what uses them at once."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]

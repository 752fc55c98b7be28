"""Free TCP ports for what a test starts and may stop and start again."""

from __future__ import annotations

import os
import random
import socket

HOST = "127.0.0.1"
PORTS = range(15_000, 22_000)
"""Below those that connections take for themselves, on Linux from 32768 on: a port that was free stays free."""
ROWS = range(22_000, 25_000)
"""Where ports side by side are found: above the others, below their buses."""
BUS = 10_000
"""How far above a Redis cluster node's port its bus listens."""


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on, their buses neither, in no order."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(_ports_of_this_process())
        if _is_free(port) and _is_free(port + BUS):
            found.add(port)
    return list(found)


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def free_row(count: int) -> int:
    """The first of so many ports side by side that nobody listens on."""
    while True:
        first = random.choice(ROWS[:-count])
        if all(map(_is_free, range(first, first + count))):
            return first


def bound(address: str, port: int) -> socket.socket:
    """A socket with this address and port, also where connections of an earlier one are not quite gone yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    return made


def _ports_of_this_process() -> range:
    """Test processes that run side by side must not take each other's: pytest-xdist tells each its name, gw0 and on."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return PORTS[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

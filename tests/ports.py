"""Free TCP ports for what a test starts and may stop and start again."""

from __future__ import annotations

import random
import socket
from functools import cache
from itertools import chain, cycle

HOST = "127.0.0.1"
PORTS = range(15_000, 22_000)
"""Below those that connections take for themselves, on Linux from 32768 on: a port that was free stays free."""
ROWS = range(22_000, 25_000)
"""Where ports side by side are found: above the others, below their buses."""
BUS = 10_000
"""How far above a Redis cluster node's port its bus listens."""
SHARES = range(14_984, 15_000)
"""A process that holds the n-th of these ports has the n-th share of the others to itself."""


class Share:
    """The ports of one test process: no other finds one of them free before what it is for listens there.

    Those that were given longest ago are given again first.
    """

    def __init__(self, number: int, held: socket.socket) -> None:
        self._held = held
        ports = list(PORTS[number :: len(SHARES)])
        random.shuffle(ports)
        self._ports = cycle(ports)
        length = len(ROWS) // len(SHARES)
        self._row = ROWS[number * length : (number + 1) * length]
        self._given = 0

    def ports(self, count: int) -> list[int]:
        """So many."""
        found: set[int] = set()
        while len(found) < count:
            port = next(self._ports)
            if _is_free(port) and _is_free(port + BUS):
                found.add(port)
        return list(found)

    def row(self, count: int) -> int:
        """The first of so many side by side."""
        starts = range(len(self._row) - count + 1)
        assert starts, f"{count} ports side by side are more than one test process has"
        for start in chain(starts[self._given :], starts[: self._given]):
            row = self._row[start : start + count]
            if all(map(_is_free, row)):
                self._given = (start + count) % len(self._row)
                return row[0]
        raise AssertionError(f"no {count} ports side by side are free")


@cache
def _share() -> Share:
    """That of this process, for as long as it lives."""
    for number, port in enumerate(SHARES):
        held = socket.socket()
        try:
            held.bind((HOST, port))
        except OSError:
            held.close()
            continue
        return Share(number, held)
    raise AssertionError(f"{len(SHARES)} test processes run on this machine already")


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on, their buses neither, in no order."""
    return _share().ports(count)


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def free_row(count: int) -> int:
    """The first of so many ports side by side that nobody listens on."""
    return _share().row(count)


def bound(address: str, port: int) -> socket.socket:
    """A socket with this address and port, also where connections of an earlier one are not quite gone yet."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    return made


def _is_free(port: int) -> bool:
    """Also while connections of an earlier one are not quite gone yet: servers take it then as well."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

"""The option that gives ranks ports of their own: `1811-1818`, or `1811-1818=10.0.0.7:9000-9007`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

PORTS = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
NAMES = re.compile(r"(?P<stem>\S+:(?:(?P<port>[0-9]{1,5})#)?)(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?")
"""The last number of a rank's name, its port or its index, may be a range."""

LAST_PORT = 65535

MOST = 1024
"""Ports; no node has as many ranks."""


class RankPortsError(ValueError):
    """The option is of a shape that cannot be read."""


def parse(parts: Sequence[str]) -> dict[int, str]:
    """The ports of the option, each with its rank's name, '' where it is yet to be found. Raises RankPortsError."""
    found: dict[int, str] = {}
    for part in parts:
        ports_text, equals, names_text = part.partition("=")
        ports = _ports(ports_text)
        names = _names(names_text) if equals else [""] * len(ports)
        if len(names) != len(ports):
            raise RankPortsError(f"{part!r} has {len(ports)} ports for {len(names)} ranks")
        for port, name in zip(ports, names, strict=True):
            if port in found:
                raise RankPortsError(f"port {port} is given twice")
            if name and name in found.values():
                raise RankPortsError(f"rank {name} is given twice")
            found[port] = name
    if len(found) > MOST:
        raise RankPortsError(f"{len(found)} ports are more than {MOST}")
    if "" in found.values() and any(found.values()):
        raise RankPortsError("name the ranks of all ports or of none")
    return found


def _ports(text: str) -> list[int]:
    match = PORTS.fullmatch(text)
    if match is None:
        raise RankPortsError(f"{text!r} is neither PORT nor PORT-PORT")
    ports = _range(match, text)
    _check_ports(ports, text)
    return ports


def _check_ports(ports: Sequence[int], text: str) -> None:
    if ports[0] < 1 or ports[-1] > LAST_PORT:
        raise RankPortsError(f"{text!r} has a port outside 1-{LAST_PORT}")


def _names(text: str) -> list[str]:
    match = NAMES.fullmatch(text)
    if match is None:
        raise RankPortsError(f"{text!r} names no rank: HOST:PORT, HOST:PORT-PORT or HOST:PORT#INDEX-INDEX")
    numbers = _range(match, text)
    _check_ports([int(match["port"])] if match["port"] else numbers, text)
    return [f"{match['stem']}{number}" for number in numbers]


def _range(match: re.Match[str], text: str) -> list[int]:
    first = int(match["first"])
    last = int(match["last"] or first)
    if not first <= last < first + MOST:
        raise RankPortsError(f"{text!r} is a range that ends before it starts, or of more than {MOST}")
    return list(range(first, last + 1))

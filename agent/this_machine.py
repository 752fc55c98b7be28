"""Whether a rank is on this machine: whether its address can be listened on here."""

from __future__ import annotations

import socket

import anyio


async def is_on_this_machine(host: str) -> bool:
    """Whether the host is an address of this machine, or a name of one."""
    try:
        found = await anyio.getaddrinfo(host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_can_be_bound(family, address) for family, _, _, _, address in found)


def _can_be_bound(family: int, address: tuple[str, int]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True

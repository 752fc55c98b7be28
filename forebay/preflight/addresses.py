"""Which addresses are this node's."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress


def own_addresses(hosts: Iterable[str]) -> frozenset[str]:
    """Those of some hosts, names or addresses, that this node may listen on."""
    return frozenset(host for host in set(hosts) if _is_own(host))


def _is_own(host: str) -> bool:
    with suppress(OSError):
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.bind(address)
            return True
    return False

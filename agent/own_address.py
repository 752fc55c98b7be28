"""This machine's address as the kernel would take it towards another one.

A host's own name is not asked for: it often stands for 127.0.1.1, and others may not be able to resolve it.
"""

from __future__ import annotations

import socket


def own_address_towards(host: str, port: int) -> str:
    """Without brackets; a link-local one may have a scope.

    Sends nothing but what resolving a name takes. Raises OSError where there is no way.
    """
    family, kind, protocol, _, remote = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(remote)  # datagrams: this asks for the route and sends nothing
        return str(probe.getsockname()[0])

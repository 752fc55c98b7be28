"""The socket that clients connect to, and what it is called."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address


class ListenError(OSError):
    """The address to listen on cannot be had."""


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound for `serve_http`; an IPv6 address may have brackets, as in URLs. Raises ListenError."""
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ListenError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    with listener:
        # Accepted connections inherit it; asyncio would not set it for them, and a body would wait 40 ms for its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def name_of(listener: socket.socket) -> str:
    """HOST:PORT that it is bound to."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_at(listener: socket.socket) -> str:
    """Where others reach the listener: its address, or this host's name if it listens on all of them."""
    host, port = listener.getsockname()[:2]
    return f"{socket.gethostname()}:{port}" if ip_address(host).is_unspecified else name_of(listener)

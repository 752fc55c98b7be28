"""What a launch has to know of this node: whether ports are free, what devices it has, and its address."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.errors import LaunchError
from agent.launch.devices import DeviceKind
from agent.own_address import own_address_towards
from scheduler.store_url import StoreUrl

_DEVICE_FILES: Mapping[DeviceKind, str] = {
    "ascend": "/dev/davinci_manager",
    "cuda": "/dev/nvidiactl",
    "rocm": "/dev/kfd",
}
_LOOPBACK = "127.0.0.1"
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


def refuse_taken_ports(ports: Iterable[int]) -> None:
    """Raises LaunchError naming the first of `ports` that somebody listens on, whatever the address."""
    for port in ports:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                _bind_everywhere(family, port)
            except OSError as error:
                if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                    continue
                raise LaunchError(f"port {port}: {os.strerror(error.errno or 0)}; nothing was started") from error


def _bind_everywhere(family: socket.AddressFamily, port: int) -> None:
    """As a server does: a port that only waits for old connections to die is free. Raises OSError where it is not."""
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(("", port))


def found_devices() -> DeviceKind:
    """The kind of this node's accelerators."""
    return next((kind for kind, file in _DEVICE_FILES.items() if Path(file).exists()), "none")


def address_towards(store: StoreUrl) -> str:
    """This node's address on the way to the store, which gateways know too, as the kernel routes it.

    Raises LaunchError where there is no way.
    """
    if not store.hosts:
        return _LOOPBACK
    reasons = []
    for host, port in store.hosts:
        try:
            return _usable(own_address_towards(host, port))
        except OSError as error:
            reasons.append(f"{host}: {error.strerror or error}")
    raise LaunchError(f"no way to the store, which would tell this node's address ({'; '.join(reasons)}); "
                      "give --rank-host")  # fmt: skip


def _usable(address: str) -> str:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.is_link_local:
        raise LaunchError(f"this node's address towards the store is {address}, which only it understands; "
                          "give --rank-host")  # fmt: skip
    return str(parsed)

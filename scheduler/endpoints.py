"""Where a card says that its rank listens, and whether a gateway may send requests there. Pure.

Whoever may write to Redis may register cards. So an endpoint is a scheme, a host and a port and nothing else, and a
gateway may be told which hosts are ranks: then no card makes it send prompts elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from scheduler.errors import SchedulerError

_ENDPOINT = re.compile(r"https?://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")

_ENDS_AS_A_NUMBER = re.compile(r"(?:.*\.)?[0-9]+")
"""Some resolvers take it for an address."""


class EndpointError(SchedulerError):
    """A card names no place that requests may be sent to."""


class AllowedHostError(ValueError):
    """An item of an allow-list is neither an address range nor a host."""


def host_of(endpoint: str) -> str:
    """The host of an endpoint, in lower case and without brackets. Raises EndpointError."""
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or not 1 <= int(found["port"] or 1) <= 65535:
        raise EndpointError("its endpoint is not http://HOST:PORT or https://HOST:PORT")
    return (found["v6"] or found["name"]).lower()


class AllowedHosts:
    """Address ranges and names; all hosts if there are none.

    A name allows that name alone, and a range only addresses that are written as such: what a name leads to is said by
    whoever runs its DNS, at the moment of each connection.
    """

    def __init__(self, items: Iterable[str] = ()) -> None:
        """Raises AllowedHostError naming the item."""
        self._ranges: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        for item in items:
            self._add(item.strip().lower())

    def _add(self, item: str) -> None:
        try:
            self._ranges.append(ip_network(item.strip("[]")))
        except ValueError as error:
            if not _NAME.fullmatch(item) or _ENDS_AS_A_NUMBER.fullmatch(item):
                raise AllowedHostError(f"{item!r} is {_no_range(item)} and no host") from error
            self._names.add(item)

    def require(self, endpoint: str) -> None:
        """Raise EndpointError unless the endpoint is one, on a host that is allowed."""
        host = host_of(endpoint)
        if not self.admits(host):
            raise EndpointError(f"its host {host} is not among those that are allowed")

    def admits(self, host: str) -> bool:
        """Whether a host, without brackets, is in the list, or the list is empty."""
        if host.lower() in self._names or not (self._ranges or self._names):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in each for each in self._ranges)


def _no_range(item: str) -> str:
    """What is wrong with an item that was to be a range."""
    try:
        meant = ip_network(item.strip("[]"), strict=False)
    except ValueError:
        return "no range of addresses (192.0.2.0/24)"
    return f"no range of addresses, as {meant} is,"


def is_local(host: str) -> bool:
    """Whether a name means the very host it is used on: loopback, any address, `localhost`."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

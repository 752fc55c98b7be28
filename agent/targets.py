"""Where ranks listen: parses `[https://]HOST:PORT[-PORT][,...]`. Pure.

Good: `10.0.0.7:9000`, `node7:9000-9007`, `[fd00::7]:9000-9001,node8:9000`, `https://node7:9000-9007`.
Bad: `9000` (no host), `::1:9000` (IPv6 wants brackets), `node7:9007-9000` (backwards), `0.0.0.0:9000` (gateways on
other hosts use the same address), `127.1:9000` (only some resolvers read it), one rank twice.

A rank that is given twice would be probed and counted twice. Nothing is resolved here, so what is known to be one rank
is one address in any spelling, and `localhost` with its two addresses; a name beside its own address passes.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from agent.errors import TargetError

_RANGE = r"(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?"
_PORTS = re.compile(_RANGE)
_PART = re.compile(rf"(?:(?P<scheme>https?)://)?(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):{_RANGE}")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_ENDS_AS_A_NUMBER = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)")
"""Resolvers take such a host for an address, never for a name (https://url.spec.whatwg.org/#ends-in-a-number-checker)."""
_LOCALHOST = ("localhost", "127.0.0.1", "::1")
_MAX_PORT = 65535
_MOST_PORTS = 1024
"""More than any node has; a range of all ports would keep the agent busy with refused connections alone."""


class Target(msgspec.Struct, frozen=True):
    """One port that serves one or several engines. `host` is in lower case and without brackets; `tls`: on https."""

    host: str
    port: int
    tls: bool = False

    @property
    def name(self) -> str:
        """`host:port`, an IPv6 host in brackets: the rank's id where the port has one engine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def listener(self) -> tuple[str, int]:
        """Equal for targets that are known to be one rank."""
        return ("localhost" if self.host in _LOCALHOST else self.host, self.port)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"{'https' if self.tls else 'http'}://{self.name}"


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets in the order given. Raises TargetError that quotes the bad part."""
    targets: dict[tuple[str, int], Target] = {}
    for part in text.split(","):
        for target in _parse_part(part.strip()):
            if other := targets.get(target.listener):
                twice = f"{target.name} is given twice"
                raise TargetError(
                    twice if other.name == target.name else f"{other.name} and {target.name} are one rank"
                )
            targets[target.listener] = target
    return tuple(targets.values())


def parse_ports(text: str) -> tuple[int, ...]:
    """Ports and ranges of them in the order given; none for no text. Raises TargetError that quotes the bad part."""
    parts = [part.strip() for part in text.split(",")] if text else []
    return tuple(port for part in parts for port in _ports_of(part, _PORTS.fullmatch(part)))


def _parse_part(part: str) -> list[Target]:
    match = _PART.fullmatch(part)
    if match is None:
        raise TargetError(f"'{part}' is not HOST:PORT or HOST:PORT-PORT (no path; an IPv6 host goes in brackets)")
    host = _host(match["ipv6"], part) if match["host"] is None else _host(match["host"], part)
    return [Target(host, port, match["scheme"] == "https") for port in _ports_of(part, match)]


def _ports_of(part: str, match: re.Match[str] | None) -> range:
    if match is None:
        raise TargetError(f"'{part}' is not PORT or PORT-PORT")
    first = int(match["first"])
    last = int(match["last"] or first)
    if not 1 <= first <= _MAX_PORT or not 1 <= last <= _MAX_PORT:
        raise TargetError(f"'{part}' has a port outside 1-{_MAX_PORT}")
    if last - first >= _MOST_PORTS:
        raise TargetError(f"'{part}' is a range of more than {_MOST_PORTS} ports")
    if last < first:
        raise TargetError(f"'{part}' is a range that ends before it starts")
    return range(first, last + 1)


def _host(text: str, part: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        name = text.lower()
        if not _HOST.fullmatch(name) or "[" in part:
            raise TargetError(f"'{part}' has no usable host") from None
        if _ENDS_AS_A_NUMBER.fullmatch(name):
            raise TargetError(f"'{part}' has a host of digits that is no IPv4 address") from None
        return name
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_unspecified:
        raise TargetError(f"'{part}' is no address that a gateway can send to; give the node's own")
    if "%" in text:
        raise TargetError(f"'{part}' has an address that only this node understands")
    return str(address)

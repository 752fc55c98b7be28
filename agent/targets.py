"""Where ranks listen: parses `HOST:PORT[-PORT][,...]`.

Good: `10.0.0.7:9000`, `node7:9000-9007`, `[fd00::7]:9000-9001,node8:9000`.
Bad: `9000` (no host), `::1:9000` (IPv6 wants brackets), `node7:9007-9000` (backwards), `0.0.0.0:9000` (gateways on
other hosts use the same address), one rank twice.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from agent.errors import TargetError

_PART = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_MAX_PORT = 65535


class Target(msgspec.Struct, frozen=True):
    """One port that serves one or several engines. `host` is in lower case and without brackets."""

    host: str
    port: int

    @property
    def name(self) -> str:
        """`host:port`, an IPv6 host in brackets: the rank's id where the port has one engine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.name}"


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets in the order given. Raises TargetError that quotes the bad part."""
    targets: list[Target] = []
    for part in text.split(","):
        for target in _parse_part(part.strip()):
            if target in targets:
                raise TargetError(f"{target.name} is given twice")
            targets.append(target)
    return tuple(targets)


def _parse_part(part: str) -> list[Target]:
    match = _PART.fullmatch(part)
    if match is None:
        raise TargetError(f"'{part}' is not HOST:PORT or HOST:PORT-PORT (an IPv6 host goes in brackets)")
    host = _host(match["ipv6"], part) if match["host"] is None else _host(match["host"], part)
    first = int(match["first"])
    last = int(match["last"] or first)
    if not 1 <= first <= _MAX_PORT or not 1 <= last <= _MAX_PORT:
        raise TargetError(f"'{part}' has a port outside 1-{_MAX_PORT}")
    if last < first:
        raise TargetError(f"'{part}' is a range that ends before it starts")
    return [Target(host, port) for port in range(first, last + 1)]


def _host(text: str, part: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if not _HOST.fullmatch(text.lower()) or part.startswith("["):
            raise TargetError(f"'{part}' has no usable host") from None
        return text.lower()
    if address.is_unspecified:
        raise TargetError(f"'{part}' is no address that a gateway can send to; give the node's own")
    if "%" in text:
        raise TargetError(f"'{part}' has an address that only this node understands")
    return str(address)

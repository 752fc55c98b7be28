"""From lists of hosts and ports to ranks. Pure.

As v0.9.1's proxy has it, `hosts-num` repeats each host, and `ports-inc` counts up from each port; the two lists that
come of it go together, item by item. There the longer one is cut; here they are of one length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agent.errors import TargetError
from agent.targets import Target, parse_targets

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here
"""Nobody can be reached there; the proxies stood in for got to their own machine by it, and so does this one."""
LARGEST_PORT = 65535
LONGEST_SHOWN = 100
_PORT = re.compile(r"[0-9]{1,5}")


class RankLists(NamedTuple):
    """What was given of one kind of ranks; `kind` is what their options begin with: "prefiller"."""

    kind: str
    hosts: Sequence[str]
    ports: Sequence[int]
    default_port: int
    hosts_num: Sequence[int] = ()
    ports_inc: Sequence[int] = ()

    @property
    def is_given(self) -> bool:
        """Whether anything was."""
        return bool(self.hosts or self.ports or self.hosts_num or self.ports_inc)


def addresses_of(lists: RankLists) -> list[str]:
    """`HOST:PORT` of each rank, in order. Raises ValueError that names an option as its field."""
    kind = lists.kind
    hosts = _repeated(f"{kind}_hosts_num", lists.hosts or ("localhost",), lists.hosts_num)
    ports = _counted_up(f"{kind}_ports_inc", lists.ports or (lists.default_port,), lists.ports_inc)
    if len(hosts) != len(ports):
        raise ValueError(f"{kind}_ports: {len(ports)} for {len(hosts)} of --{kind}-hosts; each host needs one port")
    return [address_of(host, port) for host, port in zip(hosts, ports, strict=True)]


def address_of(host: str, port: int) -> str:
    """`HOST:PORT` as a rank is called."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bare = ANY_ADDRESS.get(bare, bare)
    # A scheme has a colon, too, but no second one.
    return f"[{bare}]:{port}" if bare.count(":") > 1 else f"{bare}:{port}"


def targets_at(addresses: Sequence[str]) -> tuple[Target, ...]:
    """The ranks at these addresses. Raises TargetError for one that is none, or there twice."""
    return parse_targets(",".join(addresses)) if addresses else ()


def instance_at(text: str) -> tuple[Target, ...]:
    """The ranks that a request names as `HOST:PORT`. Raises TargetError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not _PORT.fullmatch(port):
        raise TargetError(f"'{text[:LONGEST_SHOWN]}' is not HOST:PORT (an IPv6 host goes in brackets)")
    if host.count(":") > 1 and not host.startswith("["):
        raise TargetError(f"'{text}' is not HOST:PORT: an IPv6 host goes in brackets")
    return parse_targets(address_of(host, int(port)))


def _repeated(field: str, hosts: Sequence[str], times: Sequence[int]) -> list[str]:
    if not times:
        return list(hosts)
    if len(times) != len(hosts):
        raise ValueError(f"{field}: {len(times)} numbers for {len(hosts)} hosts")
    return [host for host, count in zip(hosts, times, strict=True) for _ in range(count)]


def _counted_up(field: str, ports: Sequence[int], counts: Sequence[int]) -> list[int]:
    if not counts:
        return list(ports)
    if len(counts) != len(ports):
        raise ValueError(f"{field}: {len(counts)} numbers for {len(ports)} ports")
    found = [port + i for port, count in zip(ports, counts, strict=True) for i in range(count)]
    if found and max(found) > LARGEST_PORT:
        raise ValueError(f"{field}: it counts up to port {max(found)}, and the last there is is {LARGEST_PORT}")
    return found

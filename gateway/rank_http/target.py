"""The URL of a request to a rank, read. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from gateway.errors import RankUnreachableError

NO_ADDRESS = "The rank registered no usable address"
NOT_ALLOWED = "The rank registered an address where no ranks may be"

URL = re.compile(
    r"""(?P<scheme>(?i:https?))://
    (?P<authority>(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?)
    (?P<path>/[!"$-~]*)?""",
    re.ASCII | re.VERBOSE,
)
"""RFC 3986, without user information and fragments; a path has been escaped before."""


class Origin(NamedTuple):
    """Where connections go: those to one origin may serve each other's requests."""

    host: str
    port: int
    tls: bool


class Target(NamedTuple):
    """What a request is for: `authority` is its Host, `path` what stands in its first line."""

    origin: Origin
    authority: bytes
    path: bytes


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Read a URL. Raises RankUnreachableError unless it is one of http or https with a host that may exist."""
    found = URL.fullmatch(url)
    if found is None:
        raise RankUnreachableError(NO_ADDRESS)
    scheme, authority, v6, name, port, path = found.groups()
    tls = len(scheme) == len("https")
    number = int(port) if port else 443 if tls else 80
    if not 1 <= number <= 65535:
        raise RankUnreachableError(NO_ADDRESS)
    return Target(Origin(v6 or name, number, tls), authority.encode(), (path or "/").encode())

"""The ledger's scripts as Redis runs them: each with the shared parts it stands on put before it.

Redis scripts cannot import, so the parts are joined here, once, and every store runs the same text.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from hashlib import sha1
from importlib.resources import files

_ROSTER = ("rows", "clock", "gateways", "past", "roster")
_BOOK = (*_ROSTER, "weights", "book")
_SETTLING = (*_BOOK, "settling")
_CHOICE = ("ask", "loads", "price", "choice", "receipt")


class Script(StrEnum):
    """The ledger's operations, one file each under scripts/."""

    OPEN = "open"
    PLACE = "place"
    REBIND = "rebind"
    ADVANCE = "advance"
    RELEASE = "release"
    RENEW = "renew"
    RESYNC = "resync"
    REAP = "reap"
    REPORT = "report"
    SNAPSHOT = "snapshot"
    DRAIN = "drain"
    BREAKER = "breaker"
    DP_GROUP = "dp_group"
    PREFIX_LOOK = "prefix_look"
    PREFIX_TOUCH = "prefix_touch"
    PREFIX_BELIEVED = "prefix_believed"
    RECEIPT_ADD = "receipt_add"
    RECEIPT_FIND = "receipt_find"
    LIMIT = "limit"
    API_KEY_PUT = "api_key_put"
    API_KEYS_READ = "api_keys_read"


_PARTS: dict[Script, tuple[str, ...]] = {
    Script.OPEN: ("rows",),
    Script.PLACE: (*_SETTLING, *_CHOICE),
    Script.REBIND: (*_SETTLING, *_CHOICE),
    Script.ADVANCE: _SETTLING,
    Script.RELEASE: _SETTLING,
    Script.RENEW: ("rows", "clock", "gateways", "leases"),
    Script.RESYNC: (*_SETTLING, "leases"),
    Script.REAP: (*_SETTLING, "leases"),
    Script.REPORT: (*_ROSTER, "claims", "leases", "samples", "drains"),
    Script.SNAPSHOT: ("rows",),
    Script.DRAIN: ("rows", "clock", "drains"),
    Script.BREAKER: ("rows", "clock"),
    Script.DP_GROUP: ("rows", "clock"),
    Script.PREFIX_LOOK: (),
    Script.PREFIX_TOUCH: (),
    Script.PREFIX_BELIEVED: (),
    Script.RECEIPT_ADD: (),
    Script.RECEIPT_FIND: (),
    Script.LIMIT: (),
    Script.API_KEY_PUT: (),
    Script.API_KEYS_READ: (),
}


@cache
def source(script: Script) -> str:
    """The whole text of a script."""
    folder = files("scheduler").joinpath("scripts")
    return "\n".join(folder.joinpath(f"{part}.lua").read_text() for part in (*_PARTS[script], script.value))


@cache
def digest(script: Script) -> str:
    """The name by which EVALSHA knows a script."""
    return sha1(source(script).encode(), usedforsecurity=False).hexdigest()

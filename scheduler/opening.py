"""Finding a pool's epoch, or beginning one."""

from __future__ import annotations

import re
from random import Random

from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.store import Call, Store

_READABLE = re.compile(rb"([0-9A-Za-z]+) [0-9]+ [0-9]+ [0-9]+")
"""What scripts/open.lua takes for a head; the first word is the epoch."""


async def open_epoch(store: Store, keys: PoolKeys, rng: Random) -> str:
    """The pool's epoch; a pool that has none begins one, empty. Raises StoreUnavailableError or StoreRejectedError."""
    head: bytes | None = await store.command("GET", keys.head)
    if found := _READABLE.fullmatch(head or b""):
        return found[1].decode()
    gateways: list[bytes] = await store.command("HKEYS", keys.gate)
    orphans = tuple(keys.live(name.decode(errors="replace")) for name in gateways)
    fresh = f"{rng.getrandbits(64):016x}"
    (epoch,) = await store.run([Call(Script.OPEN, (*keys.ledger(), *orphans), (fresh,))])
    return str(epoch.decode())

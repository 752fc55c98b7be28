"""Finding a pool's epoch, or beginning one."""

from __future__ import annotations

import re
from random import Random

from scheduler import calls
from scheduler.keys import PoolKeys
from scheduler.store import Store

_READABLE = re.compile(rb"([0-9A-Za-z]+) [0-9]{1,15} [0-9]{1,15} [0-9]{1,15}")
"""What scripts/rows.lua takes for a head; the first word is the epoch."""


async def open_epoch(store: Store, keys: PoolKeys, rng: Random) -> str:
    """The pool's epoch; a pool that has none begins one, empty. Raises StoreUnavailableError or StoreRejectedError."""
    head: bytes | None = await store.command("GET", keys.head)
    if found := _READABLE.fullmatch(head or b""):
        return found[1].decode()
    gateways: list[bytes] = await store.command("HKEYS", keys.gate)
    fresh = f"{rng.getrandbits(64):016x}"
    orphans = [name.decode(errors="replace") for name in gateways]
    (epoch,) = await store.run([calls.open_pool(keys, fresh, orphans)])
    return str(epoch.decode())

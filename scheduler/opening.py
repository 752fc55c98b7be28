"""Finding a pool's epoch, or beginning one."""

from __future__ import annotations

from random import Random

from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.store import Call, Store


async def open_epoch(store: Store, keys: PoolKeys, rng: Random) -> str:
    """The pool's epoch; a pool that has none begins one, empty. Raises StoreUnavailableError or StoreRejectedError."""
    head: bytes | None = await store.command("GET", keys.head)
    if head and len(fields := head.split(b" ")) == 4:
        return fields[0].decode(errors="replace")
    gateways: list[bytes] = await store.command("HKEYS", keys.gate)
    orphans = tuple(keys.live(name.decode(errors="replace")) for name in gateways)
    fresh = f"{rng.getrandbits(64):016x}"
    (epoch,) = await store.run([Call(Script.OPEN, (*keys.ledger(), *orphans), (fresh,))])
    return str(epoch.decode(errors="replace"))

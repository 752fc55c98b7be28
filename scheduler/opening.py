"""Finding a pool's epoch, or beginning one."""

from __future__ import annotations

import re
from contextlib import suppress
from random import Random

from scheduler import calls
from scheduler.errors import StoreWrongTypeError
from scheduler.keys import PoolKeys
from scheduler.store import Store

_READABLE = re.compile(rb"([0-9A-Za-z]+) [0-9]{1,15} [0-9]{1,15} [0-9]{1,15}")
"""What scripts/rows.lua takes for a head; the first word is the epoch."""


async def open_epoch(store: Store, keys: PoolKeys, rng: Random, *, spoilt: str = "") -> str:
    """The pool's epoch; a pool that has none begins one, empty.

    So does one whose epoch is `spoilt`: the caller met a key of the wrong type in it. Raises StoreUnavailableError or
    StoreRejectedError.
    """
    with suppress(StoreWrongTypeError):
        head: bytes | None = await store.command("GET", keys.head)
        found = _READABLE.fullmatch(head or b"")
        if found and (epoch := found[1].decode()) != spoilt:
            return epoch
    gateways: set[bytes] = set()
    for words in (("HKEYS", keys.gate), ("ZRANGEBYSCORE", keys.lease, "-inf", "+inf")):
        with suppress(StoreWrongTypeError):
            gateways.update(await store.command(*words))
    fresh = f"{rng.getrandbits(64):016x}"
    orphans = sorted(name.decode(errors="replace") for name in gateways)
    (opened,) = await store.run([calls.open_pool(keys, fresh, orphans, spoilt=spoilt)])
    return str(opened.decode())

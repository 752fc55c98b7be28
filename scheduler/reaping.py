"""Giving back what a dead gateway still holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from random import Random

from scheduler import calls
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.keys import PoolKeys
from scheduler.opening import open_epoch
from scheduler.store import Store

PIECE = 100
"""Reservations given back in one call. It holds Redis for about 2 ms, and placements go between two of them."""


class Reaper:
    """Reaps in a task of its own, so that no placement waits until a dead gateway's reservations are given back."""

    def __init__(self, store: Store, keys: PoolKeys, lease_ms: int, rng: Random) -> None:
        self._store, self._keys, self._lease_ms, self._rng = store, keys, lease_ms, rng
        self._named: dict[bytes, str] = {}
        self._wake = asyncio.Event()

    def take(self, epoch: str, gateways: Iterable[bytes]) -> None:
        """These gateways' leases have ended in `epoch`; returns at once."""
        self._named |= dict.fromkeys(gateways, epoch)
        if self._named:
            self._wake.set()

    async def run(self) -> None:
        """Reaps what it is told until cancelled. What fails is told again: a script names it with each renewal."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            named, self._named = self._named, {}
            with suppress(StoreUnavailableError, StoreRejectedError):
                for gateway, epoch in named.items():
                    await self._reap(epoch, gateway)

    async def _reap(self, epoch: str, gateway: bytes) -> None:
        try:
            await reap_ended(self._store, self._keys, epoch, self._lease_ms, [gateway])
        except StoreWrongTypeError:
            await open_epoch(self._store, self._keys, self._rng, spoilt=epoch)


async def reap_ended(store: Store, keys: PoolKeys, epoch: str, lease_ms: int, gateways: Sequence[bytes]) -> None:
    """Reaps gateways as a script names them, and strikes out names that no gateway of ours can have.

    Raises StoreUnavailableError or StoreRejectedError.
    """
    for name in gateways:
        if name.isascii():
            await reap(store, keys, epoch, lease_ms, name.decode())
        else:
            await store.command("ZREM", keys.lease, name)


async def reap(store: Store, keys: PoolKeys, epoch: str, lease_ms: int, gateway: str) -> None:
    """Gives everything back if the gateway's lease has ended, else does nothing.

    Raises StoreUnavailableError or StoreRejectedError.
    """
    call = calls.reap(keys, epoch, lease_ms, gateway, PIECE)
    left = 1
    while left:
        (reply,) = await store.run([call])
        left = reply[1] if reply[0] == b"ok" else 0

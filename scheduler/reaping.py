"""Giving back what a dead gateway still holds."""

from __future__ import annotations

from collections.abc import Sequence

from scheduler import calls
from scheduler.keys import PoolKeys
from scheduler.store import Store

PIECE = 500
"""Reservations given back in one call, so that no call holds Redis for long."""


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

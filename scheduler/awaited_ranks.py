"""Requests that no rank can take now, and what snapshots bring for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scheduler.view import PoolView

Suits = Callable[[PoolView], bool]
"""Whether a pool, as it was read, has a rank for a request."""


class AwaitedRanks:
    """Whoever waits is woken by the snapshot that suits, and not before."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], Suits] = {}

    async def wait(self, suits: Suits) -> None:
        """Returns after a snapshot, read from now on, that suits; safe to cancel."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = suits
        try:
            await waiter
        finally:
            self._waiting.pop(waiter, None)

    def read(self, view: PoolView) -> None:
        """A snapshot was read."""
        for waiter in [waiter for waiter, suits in self._waiting.items() if suits(view)]:
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_result(None)

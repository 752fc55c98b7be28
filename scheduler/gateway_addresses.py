"""Where gateways are reached by each other, for what reaches the wrong one: each keeps a line in the store.

The address in a gateway's name is where ranks reach it, which may be a load balancer's. An entry takes some 100 bytes
of Redis and goes when its gateway does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import gateway_address
from scheduler.store import Store

KEEP_EVERY_S, RETRY_S = 2.0, 0.5
TTL_S = 60
MOST_FOUND = 1000

log = logging.getLogger(__name__)


class GatewayAddresses:
    """The lines in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[str, Sequence[str]] = {}

    async def keep(self, life: str, addresses: Sequence[str]) -> None:
        """Have a gateway found at these addresses, HOST:PORT, the best one first, until cancelled."""
        line = " ".join(dict.fromkeys(addresses))
        while True:
            pause_s = KEEP_EVERY_S
            try:
                await self._store.command("SET", gateway_address(life), line, "EX", TTL_S)
            except (StoreUnavailableError, StoreRejectedError) as error:
                log.debug("other gateways cannot be told where this one is: %s", error)
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def find(self, life: str) -> Sequence[str]:
        """The addresses of a life, the best one first; none if no gateway has it. Those found before hold while the
        store does not answer, or has lost them: a gateway that is gone takes no connection.

        Raises StoreUnavailableError where none were, StoreRejectedError.
        """
        try:
            found: bytes | None = await self._store.command("GET", gateway_address(life))
        except StoreUnavailableError:
            if life not in self._found:
                raise
            found = None
        if addresses := (found or b"").decode(errors="replace").split():
            self._remember(life, addresses)
        return addresses or self._found.get(life, ())

    def _remember(self, life: str, addresses: Sequence[str]) -> None:
        self._found.pop(life, None)
        self._found[life] = addresses
        if len(self._found) > MOST_FOUND:
            del self._found[next(iter(self._found))]

"""All pools a gateway can serve: found in the store, kept until the gateway ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.gateway_name import gateway_name
from scheduler.homes import Homes
from scheduler.keys import POOLS
from scheduler.planning import Rules
from scheduler.policies import policy_named
from scheduler.pool import Pool
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

DISCOVER_S = 1.0

log = logging.getLogger(__name__)


class Pools:
    """The pools of one store. `life` must be unique among all lives of all gateways. Raises UnknownPolicyError.

    `connectors` are those the gateway speaks: only ranks with one of these are paired.
    """

    def __init__(
        self,
        store: Store,
        *,
        life: str,
        address: str,
        settings: SchedulerSettings,
        connectors: frozenset[str] = frozenset(),
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self.gateway = gateway_name(life, address)
        self._rules = Rules(policy=policy_named(settings.policy), connectors=connectors)
        self._rng = rng or Random()
        self._pools: dict[str, Pool] = {}
        self.homes = Homes(store)
        """Where responses are kept."""
        self.ready = False

    @property
    def degraded(self) -> bool:
        """Whether any pool is placed on without the shared ledger."""
        return any(pool.degraded for pool in self._pools.values())

    @property
    def counters(self) -> Counter[str]:
        """The pools' counters, added up."""
        return sum((pool.counters for pool in self._pools.values()), Counter())

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds, over all pools."""
        return sum(pool.reservations for pool in self._pools.values())

    def get(self, model: str) -> Pool | None:
        """The pool that serves a model, if it has ranks."""
        pool = self._pools.get(model)
        return pool if pool and pool.view.ranks else None

    def names(self) -> list[str]:
        """The models that have ranks, sorted."""
        return sorted(name for name, pool in self._pools.items() if pool.view.ranks)

    async def run(self) -> None:
        """Finds pools and keeps them until cancelled; then all reservations are given back."""
        lost = False
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    if not self.ready:
                        await self._warn_of_eviction()
                    await self._discover(tasks)
                except (StoreUnavailableError, StoreRejectedError) as error:
                    if not lost:
                        log.warning("%s; trying again every %.0f s", error, DISCOVER_S)
                    lost = True
                else:
                    if lost:
                        log.warning("Redis answers again")
                    lost = False
                await asyncio.sleep(DISCOVER_S)

    async def _warn_of_eviction(self) -> None:
        """A ledger that loses keys to make room is wrong. As none of them expires (keys.py) `volatile-*` spares them.

        A server that does not tell, as managed ones, is trusted, and so is a cluster, where the question would have to
        name a node.
        """
        with suppress(StoreRejectedError, StoreUnavailableError):
            told: list[bytes] = await self._store.command("CONFIG", "GET", "maxmemory-policy")
            if told and not told[-1].startswith((b"volatile-", b"noeviction")):
                policy = told[-1].decode()
                log.warning("Redis has maxmemory-policy %s; the ledger needs volatile-ttl or noeviction", policy)

    async def _discover(self, tasks: asyncio.TaskGroup) -> None:
        names: list[bytes] = await self._store.command("SMEMBERS", POOLS)
        for name in sorted(raw.decode(errors="replace") for raw in names):
            if name in self._pools:
                continue
            pool = Pool(
                name,
                self._store,
                self._rules,
                gateway=self.gateway,
                settings=self._settings,
                rng=self._rng,
                clock=self._clock,
            )
            await pool.refresh()
            self._pools[name] = pool
            tasks.create_task(pool.run(), name=f"pool {name}")
        self.ready = self.ready or all(pool.was_read for pool in self._pools.values())

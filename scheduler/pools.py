"""All pools a gateway can serve: found in the store, kept while they have ranks and for a moment more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.gateway_addresses import GatewayAddresses
from scheduler.gateway_name import gateway_name
from scheduler.homes import Homes
from scheduler.keys import POOLS
from scheduler.messages import Role
from scheduler.planning import Rules
from scheduler.policies import policy_named
from scheduler.pool import Pool
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.unpaired import unpaired
from scheduler.vacant_pools import VacantPools, has_ranks
from scheduler.view import PoolView

DISCOVER_S = 1.0
REST_S = 30.0
"""For how long a pool that lost its ranks is kept: others may come, and the store may have lost them alone."""

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
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, float] = {}
        self._vacant = VacantPools(store)
        self._complaints: frozenset[str] = frozenset()
        self._unpaired: frozenset[str] = frozenset()
        self._past: Counter[str] = Counter()
        self.homes = Homes(store)
        """Where responses are kept."""
        self.addresses = GatewayAddresses(store)
        """Where the other gateways are."""
        self.ready = False
        """Whether the store has been reached: a pool was read, or there is none. One that cannot be read hides none."""

    @property
    def degraded(self) -> bool:
        """Whether any pool is placed on without the shared ledger."""
        return any(pool.degraded for pool in self._pools.values())

    @property
    def counters(self) -> Counter[str]:
        """The pools' counters, added up, of those that ended too."""
        return sum((pool.counters for pool in self._pools.values()), self._past)

    @property
    def reservations(self) -> int:
        """How many reservations this gateway holds, over all pools."""
        return sum(pool.reservations for pool in self._pools.values())

    def get(self, model: str) -> Pool | None:
        """The pool that serves a model, if it has ranks."""
        pool = self._pools.get(model)
        return pool if pool and pool.view.ranks else None

    def known(self, model: str) -> Pool | None:
        """The pool that serves a model, or did until a moment ago: it may have no ranks now."""
        return self._pools.get(model)

    def names(self) -> list[str]:
        """The models that have ranks, sorted."""
        return sorted(name for name, pool in self._pools.items() if pool.view.ranks)

    def known_names(self) -> list[str]:
        """The models that have ranks, or had some until a moment ago, sorted."""
        return sorted(self._pools)

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
                self.ready |= any(pool.was_read for pool in self._pools.values()) or not (lost or self._pools)
                self._complain()
                self._warn_of_unpaired()
                await asyncio.sleep(DISCOVER_S)

    def _complain(self) -> None:
        """Once of whatever keeps pools from a newer snapshot, however many they are."""
        before, self._complaints = self._complaints, frozenset(pool.complaint for pool in self._pools.values())
        for complaint in sorted(self._complaints - before - {""}):
            log.warning("keeping the last snapshot: %s", complaint)

    def _warn_of_unpaired(self) -> None:
        """Once of ranks that nothing pairs with, where a pool has both roles: no request fails for it."""
        before = self._unpaired
        self._unpaired = frozenset(line for name, pool in self._pools.items() for line in _unpaired(name, pool.view))
        for line in sorted(self._unpaired - before):
            log.warning(line)

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
        found: list[bytes] = await self._store.command("SMEMBERS", POOLS)
        names = {raw.decode(errors="replace") for raw in found}
        async for name in self._vacant.occupied(names - self._pools.keys() - self._tasks.keys()):
            await self._begin(name, tasks)
        for name in [name for name in self._pools if self._has_rested(name)]:
            is_vacant = name not in names or not await has_ranks(self._store, name)
            if is_vacant and self._has_rested(name):  # meanwhile its ranks may be back
                self._end(name)

    async def _begin(self, name: str, tasks: asyncio.TaskGroup) -> None:
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
        self._tasks[name] = tasks.create_task(pool.run(), name=f"pool {name}")

    def _has_rested(self, name: str) -> bool:
        """Whether the pool has had no ranks, and held nothing, for `REST_S`."""
        pool = self._pools[name]
        if pool.view.ranks or pool.reservations:
            self._resting.pop(name, None)
            return False
        return self._clock() - self._resting.setdefault(name, self._clock()) >= REST_S

    def _end(self, name: str) -> None:
        """Its name stays with its task until that has given back what is left."""
        pool = self._pools.pop(name)
        self._past += pool.counters
        del self._resting[name]
        task = self._tasks[name]
        task.add_done_callback(lambda _: self._tasks.pop(name))
        task.cancel()


def _unpaired(pool: str, view: PoolView) -> Iterator[str]:
    prefills, decodes = view.by_role[Role.PREFILL].by_class, view.by_role[Role.DECODE].by_class
    return unpaired(pool, prefills, decodes) if prefills and decodes else iter(())

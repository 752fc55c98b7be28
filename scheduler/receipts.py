"""Writes receipts into the store, off every request's way: what goes wrong here hurts no request.

A request leaves what its decision was made from, and goes on; one task makes receipts of it and writes them, a few at
a time. While the store is gone they wait, and the oldest are forgotten; what the store refuses is dropped. Where an
answer is lost a receipt is written twice (receipt_search.py shows it once).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

from scheduler import calls
from scheduler.errors import StoreRejectedError, StoreUnavailableError, StoreWrongTypeError
from scheduler.keys import PoolKeys
from scheduler.pending import StoreAnswer
from scheduler.planning import Plan, Rules
from scheduler.policies import name_of
from scheduler.receipt import write
from scheduler.receipt_making import Case, Maker, Outcome, answered, make
from scheduler.rules_version import rules_version
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

GATHER_S = 0.1
"""How long a receipt may wait for company."""
PIECE = 10
"""Receipts in one exchange, so that the store is not held for long."""
MOST_UNWRITTEN = 1_000
SEED_BITS = 53
"""JSON's readers keep so many exactly."""

log = logging.getLogger(__name__)


def maker_of(pool: str, gateway: str, rules: Rules) -> Maker:
    """Who decides here, by the rules of this release."""
    policy, connectors = name_of(rules.policy), rules.connectors
    return Maker(pool=pool, gateway=gateway, policy=policy, rules=rules_version(), connectors=connectors)


def seed_for(request: str, chance: Random) -> int:
    """Where a receipt is kept under a request's id, a seed for its own chance; else none."""
    return chance.getrandbits(SEED_BITS) if request else 0


def chance_of(case: Case | None, otherwise: Random) -> Random:
    """The chance that a case's seed gives; `otherwise` where no receipt is kept: to seed one costs microseconds."""
    return Random(case.seed) if case and case.request else otherwise


class _Draft(NamedTuple):
    case: Case
    planned: Plan
    outcome: Outcome


class Receipts:
    """The receipts of one gateway in one pool.

    `counters`: receipts (that were written), receipts_lost (that were dropped, for whatever reason).
    """

    def __init__(self, store: Store, keys: PoolKeys, settings: SchedulerSettings, maker: Maker) -> None:
        self._store, self._keys, self._settings, self._maker = store, keys, settings, maker
        self.counters: Counter[str] = Counter()
        self._drafts: deque[_Draft] = deque()
        self._to_write = asyncio.Event()

    def keep_answer(self, case: Case, planned: Plan, answer: StoreAnswer) -> None:
        """The store decided; returns at once. Of a case without a request nothing is kept."""
        if case.request:
            self.keep(case, planned, answered(answer))

    def keep(self, case: Case, planned: Plan, outcome: Outcome) -> None:
        """A decision was made; returns at once."""
        if len(self._drafts) >= MOST_UNWRITTEN:
            self._drafts.popleft()
            self.counters["receipts_lost"] += 1
        self._drafts.append(_Draft(case, planned, outcome))
        self._to_write.set()

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._to_write.wait()
            await asyncio.sleep(GATHER_S)
            self._to_write.clear()
            while self._drafts and await self._write_some():
                pass
            if self._drafts:
                await asyncio.sleep(self._settings.probe_ms / 1000)
                self._to_write.set()

    async def leave(self) -> None:
        """Writes what is left, if the store takes it; call it after `run` has ended."""
        while self._drafts and await self._write_some():
            pass

    async def _write_some(self) -> bool:
        """Whether the store could be asked; what it did not take for want of an answer is written again."""
        drafts = [self._drafts.popleft() for _ in range(min(PIECE, len(self._drafts)))]
        try:
            await self._tell(drafts)
        except StoreUnavailableError:
            self._drafts.extendleft(reversed(drafts))
            return False
        except StoreRejectedError as error:
            self.counters["receipts_lost"] += len(drafts)
            log.debug("the store takes no receipts: %s", error)
            if isinstance(error, StoreWrongTypeError):
                await self._begin_anew()
            return True
        except BaseException:
            self._drafts.extendleft(reversed(drafts))  # `leave` tells of them
            raise
        self.counters["receipts"] += len(drafts)
        return True

    async def _begin_anew(self) -> None:
        """Somebody else wrote the key; what the ledger does with such a one, too."""
        with suppress(StoreUnavailableError, StoreRejectedError):
            await self._store.command("DEL", self._keys.receipts)

    async def _tell(self, drafts: Sequence[_Draft]) -> None:
        rows = []
        for draft in drafts:
            written = write(make(*draft, self._maker))
            rows.append((written.request, written.digest, written.packed))
            await asyncio.sleep(0)  # each takes a fraction of a millisecond
        await self._store.run([calls.receipt_add(self._keys, self._settings.receipts_kept, rows)])

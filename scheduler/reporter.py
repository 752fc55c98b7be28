"""An agent's side of the ledger: one node's ranks in one pool, told in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from scheduler.errors import StoreUnavailableError
from scheduler.keys import POOLS, PoolKeys
from scheduler.lua import Script
from scheduler.messages import RankCard, RankReport, RankState, ReportReply
from scheduler.opening import open_epoch
from scheduler.reaping import reap
from scheduler.settings import SchedulerSettings
from scheduler.store import Call, Store

CLAIM_MS = 3_000
"""How long ranks stay claimed by an agent that fell silent."""
INTERVAL_MS = 50
"""How often at most a node need report changes."""

Row = tuple[str, str, str, int, int, int, float, str]


class Reporter:
    """Publishes for one node. Its name among agents is `node/` and a part that differs each time it starts."""

    def __init__(
        self, store: Store, *, pool: str, node: str, settings: SchedulerSettings, rng: Random | None = None
    ) -> None:
        self._store, self._pool, self._keys, self._settings = store, pool, PoolKeys(pool), settings
        self._rng = rng or Random()
        self._owner = f"{'_'.join(node.split())}/{self._rng.getrandbits(32):08x}"
        self._epoch = ""
        self._told: dict[str, RankReport] = {}

    async def report(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> ReportReply:
        """Tells the store of this node's ranks; a card goes along where the store lacks it.

        `cards` by rank. Gateways whose lease has ended are reaped on the way. Raises StoreUnavailableError or
        StoreRejectedError.
        """
        self._told |= {report.rank: report for report in reports}
        rows = [_row(report, cards[report.rank], known=True) for report in reports]
        refused, cardless, ended = await self._tell(rows)
        if missing := set(cardless):
            rows = [_row(r, cards[r.rank], known=False) for r in reports if r.rank in missing]
            await self._store.command("SADD", POOLS, self._pool)
            more, _, ended = await self._tell(rows)
            refused |= more
        for gateway in ended:
            await reap(self._store, self._keys, self._epoch, self._settings.lease_ms, gateway)
        return ReportReply(refused=refused, interval_ms=INTERVAL_MS)

    async def goodbye(self) -> None:
        """This node's ranks leave the pool. Raises StoreUnavailableError or StoreRejectedError."""
        gone = [msgspec.structs.replace(report, state=RankState.GONE) for report in self._told.values()]
        if gone:
            await self._tell([_row(report, None, known=True) for report in gone])

    async def _tell(self, rows: list[Row]) -> tuple[dict[str, str], list[str], list[str]]:
        """Refused ranks with their owners, ranks without a card, gateways whose lease has ended."""
        keys = self._keys
        names = (keys.head, keys.lease, keys.card, keys.load, keys.hist, keys.group, keys.change, keys.seen, keys.drain)
        for _ in range(2):
            self._epoch = self._epoch or await open_epoch(self._store, keys, self._rng)
            args = (self._epoch, self._settings.lease_ms, self._owner, CLAIM_MS, msgspec.json.encode(rows))
            (reply,) = await self._store.run([Call(Script.REPORT, names, args)])
            if reply[0] == b"ok":
                refused, cardless, ended = (_texts(part) for part in reply[1:])
                owners = dict(zip(refused[::2], (owner.partition("/")[0] for owner in refused[1::2]), strict=True))
                return owners, cardless, ended
            self._epoch = ""
        raise StoreUnavailableError("the pool's epoch changed twice during one report")


def _row(report: RankReport, card: RankCard | None, *, known: bool) -> Row:
    return (
        report.rank,
        report.incarnation,
        report.state.value,
        report.age_ms,
        report.running + report.waiting,
        report.kv_used_tokens,
        report.prefill_tokens_per_s,
        "" if known else msgspec.json.encode(card).decode(),
    )


def _texts(words: Any) -> list[str]:
    return [word.decode(errors="replace") for word in words]

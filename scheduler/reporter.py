"""An agent's side of the ledger: one node's ranks in one pool, told in one call."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from scheduler import calls
from scheduler.errors import StoreUnavailableError, StoreWrongTypeError
from scheduler.keys import POOLS, PoolKeys
from scheduler.messages import Clash, RankCard, RankReport, RankState, ReportReply
from scheduler.opening import open_epoch
from scheduler.pace import report_interval_ms
from scheduler.prefix_spans import PrefixSpans
from scheduler.reaping import reap_ended
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

CLAIM_MS = 3_000
"""How long ranks stay claimed by an agent that fell silent."""
REPORTS_TO_NAME_POOL = 64
"""The list of pools lies in another slot and can be lost alone, so the pool is named again now and then."""


class _Told(NamedTuple):
    """Ranks that were refused, with owners or what they clash with, or lack a card; gateways whose lease has ended."""

    refused: dict[str, str]
    clashing: dict[str, Clash]
    cardless: list[str]
    ended: list[bytes]


class Reporter:
    """Publishes for one node. Its name among agents is `node/` and a part that differs each time it starts."""

    def __init__(
        self, store: Store, *, pool: str, node: str, settings: SchedulerSettings, rng: Random | None = None
    ) -> None:
        self._store, self._pool, self._keys, self._settings = store, pool, PoolKeys(pool), settings
        self._rng = rng or Random()
        self._owner = f"{'_'.join(node.split())}/{self._rng.getrandbits(32):08x}"
        self._epoch = ""
        self._reports = itertools.count()
        self._drains: dict[str, int] = {}
        self._told: dict[str, RankReport] = {}
        self._cards: dict[str, RankCard] = {}
        self._ranks_in_pool = 0
        self._is_listed = False
        self._spans = PrefixSpans(store, self._keys)

    async def report(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> ReportReply:
        """Tells the store of this node's ranks; a card goes along when it is new or the store lacks it.

        `cards` by rank. Gateways whose lease has ended are reaped on the way. Raises StoreUnavailableError or
        StoreRejectedError.
        """
        self._told |= {report.rank: report for report in reports}
        news = self._news(reports, cards)
        refused, clashing, cardless, ended = await self._tell(reports, news)
        if missing := [report for report in reports if report.rank in set(cardless)]:
            more = await self._tell(missing, cards)
            refused, clashing, ended = refused | more.refused, clashing | more.clashing, more.ended
        self._cards = {rank: card for rank, card in cards.items() if rank not in refused | clashing}
        try:
            await reap_ended(self._store, self._keys, self._epoch, self._settings.lease_ms, ended)
        except StoreWrongTypeError:
            self._epoch = await open_epoch(self._store, self._keys, self._rng, spoilt=self._epoch)
        await self._spans.learn(reports, cards)
        self._is_listed &= not (news or cardless or next(self._reports) % REPORTS_TO_NAME_POOL == 0)
        if not self._is_listed:  # last, so that a list that cannot be written keeps nothing of a rank from being heard
            await self._list()
            self._is_listed = True
        return ReportReply(refused=refused, clashing=clashing, interval_ms=report_interval_ms(self._ranks_in_pool))

    async def goodbye(self) -> None:
        """This node's ranks leave the pool. Raises StoreUnavailableError or StoreRejectedError."""
        gone = [msgspec.structs.replace(report, state=RankState.GONE) for report in self._told.values()]
        if gone:
            await self._tell(gone, {})

    async def _list(self) -> None:
        """Names the pool. A list that is none is replaced; what another agent has named in it meanwhile it names again.

        That is what becomes of a ledger's key that somebody else wrote, too.
        """
        try:
            await self._store.command("SADD", POOLS, self._pool)
        except StoreWrongTypeError:
            await self._store.command("DEL", POOLS)
            await self._store.command("SADD", POOLS, self._pool)

    def _news(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> dict[str, RankCard]:
        return {r.rank: card for r in reports if (card := cards[r.rank]) != self._cards.get(r.rank)}

    async def _tell(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> _Told:
        keys = self._keys
        spoilt = ""
        for _ in range(2):
            self._epoch = self._epoch or await open_epoch(self._store, keys, self._rng, spoilt=spoilt)
            # The store may have lost what operators said of a rank; the higher count is the later word.
            rows = [
                calls.report_row(r, cards.get(r.rank), drains=self._drains.get(r.rank, 0), belief=self._spans.belief(r))
                for r in reports
            ]
            call = calls.report(keys, self._epoch, self._settings.lease_ms, self._owner, CLAIM_MS, rows)
            try:
                (reply,) = await self._store.run([call])
            except StoreWrongTypeError:
                spoilt, self._epoch = self._epoch, ""
                continue
            if reply[0] == b"ok":
                refused, cardless = _texts(reply[1]), _texts(reply[2])
                self._ranks_in_pool = reply[5]
                self._drains |= zip(_texts(reply[4][::2]), reply[4][1::2], strict=True)
                owners = dict(zip(refused[::2], (owner.rpartition("/")[0] for owner in refused[1::2]), strict=True))
                words = iter(_texts(reply[6]))
                clashing = {rank: Clash(other, what) for rank, other, what in zip(words, words, words, strict=True)}
                return _Told(owners, clashing, cardless, reply[3])
            self._epoch = ""
        raise StoreUnavailableError("the pool's epoch changed twice during one report")


def _texts(words: Any) -> list[str]:
    return [word.decode(errors="replace") for word in words]

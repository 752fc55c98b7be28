"""What is left on ranks that are drained, until they may be stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from scheduler import calls
from scheduler.draining import PooledRank
from scheduler.keys import PoolKeys
from scheduler.messages import RankState
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad, newest_foreign
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.view import Delta, PoolView, fold


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left on a rank. `in_engine`: requests in its engine, by a sample taken since nothing was booked on it.

    None: there is no such sample yet. `is_away`: its agent has taken it out of the pool, so that nobody knows.
    """

    rank: PooledRank
    reservations: int = 0
    kv_tokens: int = 0
    in_engine: int | None = None
    is_away: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the rank may be stopped."""
        return not self.is_away and not self.reservations and not self.kv_tokens and self.in_engine == 0

    def __str__(self) -> str:
        name = self.rank.rank
        if self.is_away:
            return f"{name}: its agent has left"
        if self.reservations:
            return f"{name}: {self.reservations} request{'s' if self.reservations > 1 else ''}"
        if self.kv_tokens:
            return f"{name}: KV of {self.kv_tokens} tokens that is yet to be fetched"
        if self.in_engine:
            return f"{name}: {self.in_engine} in its engine that no gateway placed"
        return f"{name}: waiting for its engine to say that it is empty"


class Emptying:
    """Looks at some ranks again and again; each look reads what changed since the last one."""

    def __init__(self, store: Store, ranks: Iterable[PooledRank], settings: SchedulerSettings) -> None:
        self._store, self._settings = store, settings
        self._ranks: defaultdict[str, list[PooledRank]] = defaultdict(list)
        for rank in ranks:
            self._ranks[rank.pool].append(rank)
        self._views = dict.fromkeys(self._ranks, PoolView())
        self._seen_rows: dict[PooledRank, str] = {}
        self._free_since_ms: dict[PooledRank, int] = {}

    async def look(self) -> list[Left]:
        """What is left, by rank, of those that are not empty. Raises StoreUnavailableError, StoreRejectedError."""
        left = [left for pool in self._ranks for left in await self._look_at(pool)]
        return [each for each in left if not each.is_empty]

    async def _look_at(self, pool: str) -> list[Left]:
        view = self._views[pool]
        call = calls.snapshot(PoolKeys(pool), self._settings.lease_ms, view.epoch, view.version)
        (reply,) = await self._store.run([call])
        if reply[0] == b"closed":
            return [Left(rank=rank, is_away=True) for rank in self._ranks[pool]]
        delta = Delta.read(reply)
        if delta.epoch != view.epoch:  # its time begins anew
            for rank in self._ranks[pool]:
                self._free_since_ms.pop(rank, None)
        view = self._views[pool] = fold(view, delta)[0]
        rows = {name.decode(errors="replace"): seen.decode(errors="replace") for name, seen, *_ in delta.rows}
        self._seen_rows |= {rank: rows[rank.rank] for rank in self._ranks[pool] if rank.rank in rows}
        return [self._left_on(rank, view.ranks.get(rank.rank), view.pool_ms) for rank in self._ranks[pool]]

    def _left_on(self, rank: PooledRank, seen: RankView | None, pool_ms: int) -> Left:
        if seen is None:
            return Left(rank=rank, is_away=True)
        book = seen.book
        if msgspec.structs.replace(book, progress_since_ms=0) != BookLoad():
            self._free_since_ms.pop(rank, None)
            kv_tokens = book.unseen_kv_tokens + book.engine_kv_tokens + book.growth_tokens
            return Left(rank=rank, reservations=book.requests, kv_tokens=kv_tokens)
        since_ms = self._free_since_ms.setdefault(rank, pool_ms)
        if seen.state is RankState.DOWN:
            return Left(rank=rank, in_engine=0)  # whatever it had is lost
        is_fresh = seen.seen.sampled_ms > since_ms
        return Left(rank=rank, in_engine=newest_foreign(self._seen_rows[rank]) if is_fresh else None)

"""Operators drain a rank, a DP group or a node, and put it back."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import msgspec

from scheduler import calls
from scheduler.errors import StoreRejectedError, UnknownRankError
from scheduler.keys import POOLS, PoolKeys
from scheduler.opening import open_epoch
from scheduler.rank_view import RankView
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.view import Delta, PoolView, fold


class PooledRank(NamedTuple):
    """A rank of a pool, by name."""

    pool: str
    rank: str


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which ranks an operator means, by one of these: the rank's own name, its DP group's, or its node's."""

    rank: str = ""
    dp_group: str = ""
    node: str = ""

    def __str__(self) -> str:
        kind, name = self._said
        return f"{kind} {name!r}"

    @property
    def _said(self) -> tuple[str, str]:
        if self.dp_group:
            return "DP group", self.dp_group
        return ("node", self.node) if self.node else ("rank", self.rank)

    def has(self, rank: RankView) -> bool:
        """Whether a rank is meant."""
        return self._said[1] == self._name_of(rank)

    def names(self, ranks: Iterable[RankView]) -> set[str]:
        """What such a selection of these ranks could have named."""
        return {self._name_of(rank) for rank in ranks} - {""}

    def _name_of(self, rank: RankView) -> str:
        if self.dp_group:
            return rank.card.dp_group
        return rank.card.node if self.node else rank.card.rank


async def drain(
    store: Store, selection: Selection, settings: SchedulerSettings, *, undo: bool = False
) -> list[PooledRank]:
    """No gateway places on these ranks from now on (or again, with `undo`); returns them, sorted.

    Those of a pool are told of in one exchange. A pool that cannot be read keeps nobody from the ranks of another.
    Raises UnknownRankError naming what there is and what could not be read, StoreUnavailableError, or
    StoreRejectedError for a store that will not be asked at all.
    """
    known: set[str] = set()
    drained: list[PooledRank] = []
    unreadable = ""
    for pool in await pool_names(store):
        try:
            names = await _names(store, pool, selection, settings, known)
            there = await _drain_in(store, pool, names, settings, undo=undo)
            drained += [PooledRank(pool, rank) for rank in there]
            if selection.rank and not there:
                known |= {name.decode(errors="replace") for name in await store.command("HKEYS", PoolKeys(pool).seen)}
        except StoreRejectedError as error:
            unreadable += f"; pool {pool} cannot be read: {error}"
    if not drained:
        raise UnknownRankError(f"no {selection}; there are: {', '.join(sorted(known)) or 'none'}{unreadable}")
    return drained


async def pool_names(store: Store) -> list[str]:
    """The names of all pools, sorted."""
    return sorted(name.decode(errors="replace") for name in await store.command("SMEMBERS", POOLS))


async def read_pool(store: Store, pool: str, settings: SchedulerSettings) -> tuple[PoolView, int]:
    """All ranks of a pool, and how many of its rows cannot be read."""
    (reply,) = await store.run([calls.snapshot(PoolKeys(pool), settings.lease_ms)])
    return (PoolView(), 0) if reply[0] == b"closed" else fold(PoolView(), Delta.read(reply))


async def _names(
    store: Store, pool: str, selection: Selection, settings: SchedulerSettings, known: set[str]
) -> list[str]:
    """The ranks meant, of which one that is named may not be there; adds what could have been named instead."""
    if selection.rank:
        return [selection.rank]
    view, _ = await read_pool(store, pool, settings)
    known |= selection.names(view.ranks.values())
    return sorted(name for name, rank in view.ranks.items() if selection.has(rank))


async def _drain_in(store: Store, pool: str, ranks: list[str], settings: SchedulerSettings, *, undo: bool) -> list[str]:
    """Those of the ranks that the pool still has; asked again if its epoch ended meanwhile."""
    keys = PoolKeys(pool)
    while ranks:
        epoch = await open_epoch(store, keys, Random())
        replies = await store.run([calls.drain(keys, epoch, settings.lease_ms, rank, undo=undo) for rank in ranks])
        if all(reply[0] != b"resync" for reply in replies):
            return [rank for rank, reply in zip(ranks, replies, strict=True) if reply[0] == b"ok"]
    return []

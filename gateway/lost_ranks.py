"""Ends attempts whose rank is lost though its connection says nothing.

A vLLM that is told to stop kills its engine and closes its listener, but leaves the connections of whole answers open,
without a byte, for minutes (seen on 0.32.0). The agent beside it has the rank down within a second or two, so an
attempt need not wait until its patience with a silent rank is over. A rank that stalls may get over it: only what can
be had elsewhere, because its client has nothing of it yet, does not wait for that. It leaves at once, for a stall is
said after `stall_ms` of nothing. Silence of an agent is no evidence, and a rank that left the pool may still answer
what it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import anyio

from gateway.errors import RankFailedError
from gateway.placing import Pool
from scheduler.messages import RankCard, RankState

LOOK_S = 0.25
"""About how often a snapshot comes."""

LOST = "The rank went down before its answer was complete"
STALLED = "The rank stalled before its answer began"

GRACE_S = 3.0
"""How long a lost rank may still be silent: one that drains may close its listener before its last answers come."""


def always() -> bool:
    """For legs that wait for a stalled rank from their beginning to their end."""
    return True


class Life(NamedTuple):
    """One life of a rank in a pool."""

    pool: Pool
    rank: str
    incarnation: str


class Awaited(Protocol):
    """An answer: since when its next bytes are waited for, None while nobody waits."""

    @property
    def awaited_since_s(self) -> float | None:
        """Monotonic seconds."""


class Watched:
    """One attempt at a rank."""

    def __init__(self, began_s: float, *, bears_stalls: Callable[[], bool]) -> None:
        self.scope = anyio.CancelScope()
        self.bears_stalls = bears_stalls
        self.began_s = began_s
        self._answer: Awaited | None = None

    def answers(self, answer: Awaited) -> None:
        """The head of the rank's answer is there."""
        self._answer = answer

    def silent_since_s(self, now_s: float) -> float:
        """Since when the rank is waited for; a client that reads slowly makes nobody wait for the rank."""
        if self._answer is None:
            return self.began_s
        return now_s if self._answer.awaited_since_s is None else self._answer.awaited_since_s


class LostRanks:
    """The attempts of one gateway process, by their rank's life. `clock` answers monotonic seconds."""

    def __init__(self, clock: Callable[[], float], grace_s: float = GRACE_S) -> None:
        self._clock, self.grace_s = clock, grace_s
        self._attempts: defaultdict[Life, set[Watched]] = defaultdict(set)
        self._lost_since: dict[Life, float] = {}

    @contextmanager
    def watch(self, pool: Pool, card: RankCard, *, bears_stalls: Callable[[], bool] = always) -> Iterator[Watched]:
        """An attempt at a rank. Raises RankFailedError when it is given up because the rank is lost.

        While it does not bear stalls it is given up at a stalled rank too.
        """
        life = Life(pool, card.rank, card.incarnation)
        watched = Watched(self._clock(), bears_stalls=bears_stalls)
        self._attempts[life].add(watched)
        try:
            with watched.scope:
                yield watched
        finally:
            self._attempts[life].discard(watched)
            if not self._attempts[life]:
                del self._attempts[life]
        if watched.scope.cancelled_caught:
            raise RankFailedError(LOST if life in self._lost_since else STALLED)

    async def run(self) -> None:
        """Look at the ranks again and again, until cancelled."""
        while True:
            await anyio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """End the attempts whose rank has been lost, and silent, for `grace_s`, or that do not bear its stall."""
        now_s = self._clock()
        self._lost_since = _since(self._lost_since, filter(_is_lost, self._attempts), now_s)
        for life, since_s in self._lost_since.items():
            for watched in self._attempts[life]:
                if now_s - max(since_s, watched.silent_since_s(now_s)) > self.grace_s:
                    watched.scope.cancel()
        for life in filter(_is_stalled, self._attempts):
            # Who was placed since the snapshot was read was placed on a rank that is over its stall.
            said_s = now_s - life.pool.snapshot_age_s
            for watched in self._attempts[life]:
                if watched.began_s <= said_s and not watched.bears_stalls():
                    watched.scope.cancel()


def _since(before: Mapping[Life, float], lives: Iterable[Life], now_s: float) -> dict[Life, float]:
    return {life: before.get(life, now_s) for life in lives}


def _is_lost(life: Life) -> bool:
    """Whether the rank is said to be down, or to have begun another life."""
    view = life.pool.view.ranks.get(life.rank)
    return view is not None and (view.state is RankState.DOWN or view.card.incarnation != life.incarnation)


def _is_stalled(life: Life) -> bool:
    view = life.pool.view.ranks.get(life.rank)
    return view is not None and view.state is RankState.STALLED

"""How a gateway's own attempts at ranks went in the last 10 s: what it doubts, and what it has yet to tell. Pure.

It doubts a rank by its own attempts as all do by everybody's (breaker.py), and at once: what only this gateway sees,
as where its network to a rank is cut, never opens the breaker for the others. Times are monotonic ms: pool time goes
back when a store that was away is there again, and all that was noted meanwhile would be of the future.
"""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.breaker import OPEN_MS, WINDOW_S, Heard, failed_too_often, of_late
from scheduler.rank_view import RankView

SHUN_MS = 2_000
"""How long a rank that took no connection is left out: its agent says sooner that it is down, or died with it."""

Life = tuple[str, str]
"""A rank and its incarnation."""


class OwnWords:
    """What was heard of lives of ranks."""

    def __init__(self) -> None:
        self._heard: dict[Life, dict[int, Heard]] = {}
        self._told: dict[Life, dict[int, Heard]] = {}
        self._failed: dict[Life, None] = {}
        self._doubted_until_ms: dict[Life, float] = {}
        self._shunned_until_ms: dict[str, float] = {}

    def add(self, life: Life, now_ms: float, *, well: bool) -> None:
        """An attempt at a rank ended so."""
        seconds, second = self._heard.setdefault(life, {}), int(now_ms) // 1000
        if second not in seconds:
            self._drop_old(life, second)
        _, badly, went_well = seconds.get(second, Heard(second, 0, 0))
        seconds[second] = Heard(second, badly + (not well), went_well + well)
        if not well:
            self._failed[life] = None
        if not well and failed_too_often(of_late(seconds.values(), now_ms)):
            self._doubted_until_ms[life] = now_ms + OPEN_MS

    def shun(self, rank: str, now_ms: float) -> None:
        """The rank took no connection: that is no judgement of its answers, but it is not there."""
        self._shunned_until_ms[rank] = now_ms + SHUN_MS

    def shunned(self, now_ms: float) -> frozenset[str]:
        """Ranks that took no connection just now, however many of them."""
        if not self._shunned_until_ms:
            return frozenset()
        self._shunned_until_ms = {name: until for name, until in self._shunned_until_ms.items() if now_ms < until}
        return frozenset(self._shunned_until_ms)

    def doubts(self, now_ms: float) -> dict[str, int]:
        """How many failures it saw of each rank that it doubts."""
        if not self._doubted_until_ms:
            return {}
        self._doubted_until_ms = {life: until for life, until in self._doubted_until_ms.items() if now_ms < until}
        return {
            life[0]: sum(each.badly for each in self._heard.get(life, {}).values()) for life in self._doubted_until_ms
        }

    def failing(self, now_ms: float) -> list[Life]:
        """Lives with failures that nobody was told of. Only those that failed of late are looked at, not all."""
        since = int(now_ms) // 1000 - WINDOW_S
        self._failed = {
            life: None
            for life in self._failed
            if any(each.badly and each.second > since for each in self._heard.get(life, {}).values())
        }
        return [life for life in self._failed if any(each.badly for each in self._untold(life, now_ms))]

    def has_untold(self, life: Life, now_ms: float) -> bool:
        """Whether nobody was told of some attempts."""
        return bool(self._untold(life, now_ms))

    def take(self, life: Life, now_ms: float, pool_ms: float) -> tuple[Heard, ...]:
        """What nobody was told of, in seconds of pool time, which is `pool_ms` now; it counts as told from now on.

        What is lost on its way is not told again.
        """
        untold = self._untold(life, now_ms)
        if untold:
            told = {each.second: each for each in of_late(self._heard[life].values(), now_ms)}
            self._told[life] = self._told.get(life, {}) | told
        ahead_s = int(pool_ms) // 1000 - int(now_ms) // 1000
        return tuple(each._replace(second=max(0, each.second + ahead_s)) for each in untold)

    def keep(self, ranks: Mapping[str, RankView]) -> None:
        """These are the ranks that are there, by name; all other lives are gone."""
        for name, incarnation in list(self._heard):
            if name not in ranks or ranks[name].card.incarnation != incarnation:
                del self._heard[name, incarnation]
                self._told.pop((name, incarnation), None)
                self._doubted_until_ms.pop((name, incarnation), None)

    def tell_anew(self) -> None:
        """The store began anew: nobody has been told of anything."""
        self._told.clear()

    def _drop_old(self, life: Life, second: int) -> None:
        for counts in (self._heard[life], self._told.get(life, {})):
            for old in [each for each in counts if each <= second - WINDOW_S]:
                del counts[old]

    def _untold(self, life: Life, now_ms: float) -> tuple[Heard, ...]:
        told = self._told.get(life, {})
        more = [
            Heard(second, badly - before.badly, well - before.well)
            for second, badly, well in of_late(self._heard.get(life, {}).values(), now_ms)
            for before in [told.get(second, Heard(second, 0, 0))]
        ]
        return tuple(each for each in more if each.badly or each.well)

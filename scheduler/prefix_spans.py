"""An agent's side of the prefix index: for how long its ranks are believed to hold what they used."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence

import msgspec

from scheduler import calls
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.messages import RankCard, RankReport
from scheduler.prefix_calibration import NO_BELIEF, CacheBelief, Calibration, Counts
from scheduler.prefix_holders import life_tag
from scheduler.prefix_life import LONGEST_MS
from scheduler.store import Store

REPORTS_TO_ASK = 4
"""What gateways believe of a rank is compared over long windows, so it is asked for with every so many reports."""

log = logging.getLogger(__name__)


class _Life(msgspec.Struct, frozen=True):
    calibration: Calibration
    believed_tokens: int = 0


class PrefixSpans:
    """Of one node's ranks, by the tags of their lives; a life that is no longer reported is forgotten."""

    def __init__(self, store: Store, keys: PoolKeys) -> None:
        self._store, self._keys = store, keys
        self._reports = itertools.count()
        self._lives: dict[str, _Life] = {}

    async def learn(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> None:
        """Asks now and then what was believed of these ranks. A store that does not say so leaves all as it is."""
        known = {life_tag(each.rank, each.incarnation): each for each in reports if each.computed_tokens is not None}
        self._lives = {
            tag: self._lives.get(tag) or _Life(Calibration(capacity_tokens=cards[report.rank].kv_capacity_tokens))
            for tag, report in known.items()
        }
        if not known or next(self._reports) % REPORTS_TO_ASK:
            return
        nothing_more = NO_BELIEF * len(known)
        try:
            (sums,) = await self._store.run(
                [calls.prefix_believed(self._keys.believed(list(known)), LONGEST_MS, nothing_more)]
            )
        except (StoreUnavailableError, StoreRejectedError) as error:
            log.debug("what is believed of prefix caches is not known: %s", error)
            return
        classes = len(NO_BELIEF)
        for place, (tag, report) in enumerate(known.items()):
            believed = tuple(sums[place * classes : (place + 1) * classes])
            calibration = self._lives[tag].calibration
            self._lives[tag] = _Life(
                calibration.after(Counts(believed, report.found_tokens), report.computed_tokens or 0), sum(believed)
            )

    def belief(self, report: RankReport) -> CacheBelief | None:
        """What is told of a rank along with its odometer; None where it has none."""
        life = self._lives.get(life_tag(report.rank, report.incarnation))
        if life is None or report.computed_tokens is None:
            return None
        span = life.calibration.span_tokens(report.computed_tokens)
        return CacheBelief(span, life.believed_tokens, report.found_tokens)

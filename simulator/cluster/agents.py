"""The agents of the fleet's nodes in virtual time: what they tell the store of their ranks, when, and how late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from scheduler import calls
from scheduler.calls import Call, Reply
from scheduler.keys import PoolKeys
from scheduler.messages import RankCard, RankReport, RankState
from scheduler.reporter import CLAIM_MS
from simulator.cluster.absence import NEVER, Absence
from simulator.cluster.clock import EventQueue
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.ranks import INCARNATION
from simulator.cluster.store_link import StoreLink
from simulator.cluster.writer import LEASE_MS

LEARNED_FROM_TOKENS = 1_024
"""Before a rank has computed so many, its rate is what was set."""


class Agent:
    """One node's: samples its ranks every `report_ms`, and the report leaves `late_ms` after its sample was taken.

    The cards go along with the first report, which is made at once. Nobody hears of it in `silence`.
    """

    def __init__(
        self,
        queue: EventQueue,
        link: StoreLink,
        keys: PoolKeys,
        ranks: Sequence[AnalyticRank],
        *,
        epoch: str,
        node: str,
        silence: Absence = NEVER,
    ) -> None:
        self._queue, self._link, self._keys, self._silence = queue, link, keys, silence
        self._ranks = tuple(ranks)
        self._epoch, self._owner = epoch, f"{node}/1"
        self._cards: Mapping[str, RankCard] = {}
        self._late_ms = 0

    def start(self, cards: Mapping[str, RankCard], *, report_ms: int, late_ms: int, first_s: float) -> None:
        """Tells of its ranks at once, and again at `first_s` and each `report_ms` after that."""
        self._cards = cards
        self._link.now(self._call(self._sampled(), cards))
        self._late_ms = late_ms
        self._queue.every(report_ms / 1000, first_s, self._sample)

    def _sample(self) -> None:
        reports = self._sampled()
        self._queue.after(self._late_ms / 1000, partial(self._tell, reports, {}))

    def _tell(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> None:
        if not self._silence.holds(self._queue.now_s):
            self._link.send([self._call(reports, cards)], partial(self._told, reports))

    def _told(self, reports: Sequence[RankReport], replies: list[Reply]) -> None:
        """A store that began anew is told of everything again, in the epoch that a gateway has begun or in a new one.

        What else it says teaches no agent anything here: nobody else claims its ranks, and no gateway dies.
        """
        if replies[0][0] == b"resync":
            fresh = f"{self._epoch}of{self._owner.partition('/')[0].replace('-', '')}"
            self._link.send([calls.open_pool(self._keys, fresh)], partial(self._opened, reports))

    def _opened(self, reports: Sequence[RankReport], replies: list[Reply]) -> None:
        self._epoch = replies[0].decode()
        self._tell(reports, self._cards)

    def _sampled(self) -> list[RankReport]:
        return [
            RankReport(
                rank=rank.name,
                incarnation=INCARNATION,
                state=RankState.UP,
                age_ms=self._late_ms,
                running=rank.num_running,
                waiting=rank.num_waiting,
                kv_used_tokens=rank.kv_used_tokens,
                prefill_tokens_per_s=_learned_rate(rank),
                computed_tokens=_computed_tokens(rank),
            )
            for rank in self._ranks
        ]

    def _call(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> Call:
        rows = [calls.report_row(report, cards.get(report.rank)) for report in reports]
        return calls.report(self._keys, self._epoch, LEASE_MS, self._owner, CLAIM_MS, rows)


def _learned_rate(rank: AnalyticRank) -> float:
    """What an agent learns in the long run (agent/prefill_rate.py): tokens over the steps that computed them."""
    if rank.prefilled_tokens < LEARNED_FROM_TOKENS:
        return rank.shape.timing.prefill_tokens_per_s
    return rank.prefilled_tokens / rank.prefill_s


def _computed_tokens(rank: AnalyticRank) -> int:
    """The odometer of the prefix cache, as agent/rank_state.py tells it from the engine's counters."""
    return rank.prefix_queries_tokens - rank.prefix_hits_tokens + rank.generated_tokens

"""Reads every rank's metrics at a period, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from simulator.cluster.clock import EventQueue
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.peers.polled import Polled, RankSample


def counted(rank: AnalyticRank) -> RankSample:
    """What costs nothing to see: counts and KV use."""
    return RankSample(rank.num_running, rank.num_waiting, rank.kv.usage)


def paced(rank: AnalyticRank) -> RankSample:
    """The counts, and tokens a second at the pace of the moment."""
    running = rank.num_running
    pace = running / rank.shape.timing.step_s(0, running) if running else 0.0
    return RankSample(running, rank.num_waiting, rank.kv.usage, tokens_per_s=pace)


def weighed(rank: AnalyticRank) -> RankSample:
    """The counts and the pace, and how much waits: tokens of prompts, less what is cached of them."""
    waiting_tokens = 0
    for sequence in rank.waiting:
        blocks = sequence.request.cacheable_blocks
        cached = 0 if sequence.must_fetch else len(rank.kv.match(blocks, len(blocks)))
        waiting_tokens += sequence.num_tokens - cached * rank.shape.block_tokens
    return paced(rank)._replace(waiting_tokens=waiting_tokens)


class Poller:
    """Fills `polled` each `period_s` from `first_s` on, with samples that were taken `late_s` before they come in."""

    def __init__(
        self,
        queue: EventQueue,
        ranks: Iterable[AnalyticRank],
        *,
        period_s: float,
        first_s: float,
        late_s: float,
        sample: Callable[[AnalyticRank], RankSample] = counted,
    ) -> None:
        self.polled = Polled()
        self._queue, self._ranks, self._sample, self._late_s = queue, tuple(ranks), sample, late_s
        queue.every(period_s, first_s, self._poll)

    def _poll(self) -> None:
        samples: Mapping[str, RankSample] = {rank.name: self._sample(rank) for rank in self._ranks}
        self._queue.after(self._late_s, partial(self.polled.take, samples))

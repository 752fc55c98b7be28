"""Pushes what the simulated engines report, by the code of the stat logger that vLLM loads (vllm_plugin/).

That is a distribution of its own, which a rank that pushes nothing does without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final, Protocol

from forebay_stat_logger.identity import this_process
from forebay_stat_logger.sender import Sender
from forebay_stat_logger.totals import Totals
from forebay_stat_logger.wire import datagram, head

from simulator.engine_stats import EngineStats
from simulator.runner import EngineRunner

_RESTATE_S: Final = 10.0


class Reporting(Protocol):
    """What is told of a rank."""

    @property
    def runners(self) -> Sequence[EngineRunner]:
        """Its engines, in order."""

    @property
    def sleep_level(self) -> int | None:
        """None while it is awake."""


@contextmanager
def stats_pushed(rank: Reporting, first_engine: int, path: str) -> Iterator[None]:
    """Within the block each step of the rank's engines is pushed, the first of which has this index; it listens by now.

    No engine steps once the block has ended. As vLLM does it, the last load is pushed again every ten seconds.
    """
    process, loop = this_process(0, 1), asyncio.get_running_loop()
    with closing(Sender(path)) as sender:
        engines = [
            _EnginePush(rank, runner.stats, head(process, index), sender)
            for index, runner in enumerate(rank.runners, first_engine)
        ]
        for runner, engine in zip(rank.runners, engines, strict=True):
            runner.reported, runner.slept = engine.report, engine.slept

        timer: asyncio.TimerHandle

        def restate() -> None:
            nonlocal timer
            for engine in engines:
                engine.restate()
            timer = loop.call_later(_RESTATE_S, restate)

        restate()
        try:
            yield
        finally:
            timer.cancel()


class _EnginePush:
    def __init__(self, rank: Reporting, stats: EngineStats, head: bytes, sender: Sender) -> None:
        self._rank, self._stats, self._head, self._sender = rank, stats, head, sender
        self._seq = self._at_ns = self._load_at_ns = self._awake_at_ns = 0

    def report(self) -> None:
        """The engine has reported a step."""
        self._at_ns = self._load_at_ns = time.monotonic_ns()
        self.restate()

    def slept(self) -> None:
        """The engine fell asleep or woke up."""
        self._at_ns = self._awake_at_ns = time.monotonic_ns()
        self.restate()

    def restate(self) -> None:
        """Push the last load."""
        totals = totals_of(self._stats)
        totals.load_at_ns, totals.awake_at_ns = self._load_at_ns, self._awake_at_ns
        totals.awake = int(self._rank.sleep_level is None)
        self._sender.send(datagram(self._head, totals, self._seq, self._sender.dropped, self._at_ns))
        self._seq += 1


def totals_of(stats: EngineStats) -> Totals:
    """What vLLM's stat logger would have added up."""
    totals = Totals()
    totals.running, totals.deferred, totals.kv_usage = stats.running, stats.fetching.deferred, stats.kv_usage
    totals.waiting = stats.waiting - stats.fetching.deferred
    totals.prefix_queries, totals.prefix_hits = stats.prefix_queries_tokens, stats.prefix_hits_tokens
    totals.external_queries, totals.external_hits = stats.external_queries_tokens, stats.external_hits_tokens
    totals.steps, totals.preemptions = sum(stats.iteration_tokens.counts), stats.preemptions
    totals.prompt_tokens, totals.generation_tokens = stats.prompt_tokens, stats.generation_tokens
    totals.local_tokens = stats.prompt_tokens - stats.prompt_tokens_cached - stats.prompt_tokens_external
    totals.first_tokens = sum(stats.time_to_first_token_s.counts)
    totals.first_token_s = stats.time_to_first_token_s.sum
    totals.finished = sum(stats.request_prefill_time_s.counts)
    totals.finished_computed_tokens = round(stats.request_prefill_kv_computed_tokens.sum)
    totals.prefill_s = stats.request_prefill_time_s.sum
    return totals

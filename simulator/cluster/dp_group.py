"""Ranks that step together in virtual time: those of a DP group, or one rank that is alone in its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import ceil

from simulator.cluster.clock import EventQueue
from simulator.cluster.engine import AnalyticRank, Span
from simulator.cluster.sequence import SimSequence

_SAME_STEP = 1e-9
"""Of a step: what comes so little after its beginning comes with it."""


class DpGroup:
    """Steps its ranks in lock-step: a step takes as long as that of the slowest, also on those that are idle.

    Several steps are one event as long as nothing but decoding goes on in all of them. What comes meanwhile waits for
    the end of the step that is under way.
    """

    def __init__(self, queue: EventQueue, ranks: Sequence[AnalyticRank]) -> None:
        self.ranks = tuple(ranks)
        self._queue = queue
        self._spans: list[Span | None] = []
        self._begun_s = self._step_s = 0.0
        self._steps = 0
        self._number = 0
        self._is_ending = False

    def submit(self, rank: AnalyticRank, sequence: SimSequence) -> None:
        """Queue a sequence on one of the ranks; it must fit."""
        rank.add(sequence)
        self._wake(is_wanted=rank.has_room and len(rank.waiting) == 1)

    def loaded(self, rank: AnalyticRank, sequence: SimSequence) -> None:
        """The KV that a sequence's rank has asked for is here."""
        rank.loaded(sequence)
        self._wake(is_wanted=rank.has_room)

    def release(self, rank: AnalyticRank, sequence: SimSequence) -> None:
        """Nobody needs the KV of an ended sequence any more."""
        rank.release(sequence)
        self._wake(is_wanted=rank.has_room and bool(rank.waiting))

    def _wake(self, *, is_wanted: bool) -> None:
        if self._is_ending:
            return
        if not self._steps:
            self._begin()
        elif is_wanted and self._steps > 1:
            done = ceil((self._queue.now_s - self._begun_s) / self._step_s - _SAME_STEP)
            if max(1, done) < self._steps:
                self._steps = max(1, done)
                self._await_end()

    def _begin(self) -> None:
        self._spans = [rank.begin() for rank in self.ranks]
        busy = [span for span in self._spans if span]
        self._steps = min((span.steps for span in busy), default=0)
        if busy:
            self._step_s = max(span.step_s for span in busy)
            self._begun_s = self._queue.now_s
            self._await_end()

    def _await_end(self) -> None:
        self._number += 1
        self._queue.at(self._begun_s + self._steps * self._step_s, partial(self._end, self._number))

    def _end(self, number: int) -> None:
        if number != self._number:
            return
        self._is_ending = True
        for rank, span in zip(self.ranks, self._spans, strict=True):
            if span:
                rank.end(self._steps)
        self._is_ending = False
        self._begin()

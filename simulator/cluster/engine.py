"""One rank's scheduler, as `simulator.engine` steps it, with all steps of mere decoding taken at once. Pure.

Everything else is step by step as there: first come, first served, running sequences before waiting ones, long prompts
in chunks of `max_num_batched_tokens`, the youngest preempted where KV runs out, the same prefix cache. While nothing
but decoding goes on, each step takes the same time and gives each sequence a token, so that many steps are one span:
up to the first sequence that ends or needs a block.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import NamedTuple

from simulator.cluster.decoding import Decoding
from simulator.cluster.rank_shape import RankShape
from simulator.cluster.sequence import SimSequence
from simulator.kv_cache import KvCache
from simulator.timing import attended_pairs


class Span(NamedTuple):
    """So many steps, each of that length."""

    steps: int
    step_s: float


class AnalyticRank:
    """The state of one rank between spans; whoever steps it calls `begin` and `end` in turn.

    Counters are since the start: prompt tokens looked up in the prefix cache and found there, prompt tokens computed,
    and the seconds that the steps took in which they were.
    """

    def __init__(self, name: str, shape: RankShape) -> None:
        self.name, self.shape = name, shape
        self.kv = KvCache(shape.kv_blocks)
        self.waiting: deque[SimSequence] = deque()
        self.fetching = 0
        self.prefix_queries_tokens = self.prefix_hits_tokens = 0
        self.prefilled_tokens, self.prefill_s = 0, 0.0
        self.preemptions = 0
        self._ready: deque[SimSequence] = deque()
        self._running: dict[SimSequence, None] = {}
        self._prefilling: SimSequence | None = None
        self._fresh: list[SimSequence] = []
        self._to_grow: list[SimSequence] = []
        self._decoding = Decoding(shape.block_tokens)
        self._entered = self._budget = self._prefill = self._decode = self._pairs = 0
        self._preempted = False

    @property
    def num_running(self) -> int:
        """Sequences in the batch."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Sequences that are here and not in the batch."""
        return len(self.waiting) + self.fetching + len(self._ready)

    @property
    def kv_used_tokens(self) -> int:
        """Tokens of KV that are held."""
        return (self.kv.num_blocks - self.kv.num_free) * self.shape.block_tokens

    @property
    def has_room(self) -> bool:
        """Whether one more sequence may run."""
        return len(self._running) < self.shape.max_num_seqs

    def fits(self, tokens: int) -> bool:
        """Whether a sequence of so many tokens in all can ever run here."""
        return tokens <= self.shape.kv_tokens

    def add(self, sequence: SimSequence) -> None:
        """Queue a sequence; it must fit."""
        self.waiting.append(sequence)

    def loaded(self, sequence: SimSequence) -> None:
        """The KV of a sequence is here; its last prompt token will be computed here."""
        self.fetching -= 1
        sequence.computed = sequence.num_tokens - 1
        while sequence.published < len(sequence.request.blocks):
            self.kv.publish(sequence.blocks[sequence.published], sequence.key(sequence.published))
            sequence.published += 1
        self._ready.append(sequence)

    def release(self, sequence: SimSequence) -> None:
        """Give back what a sequence holds that has ended."""
        self.kv.release(sequence.blocks)
        sequence.blocks = []

    def begin(self) -> Span | None:
        """Schedule the next steps; None where there is nothing to do."""
        self._fresh, self._preempted = [], False
        self._prefill = self._decode = self._pairs = 0
        self._grow()
        decoding = len(self._running) - (self._prefilling is not None)
        self._budget = self.shape.max_num_batched_tokens - decoding
        if self._prefilling is not None and self._budget:
            self._continue(self._prefilling)
        while not self._preempted and self._budget and self.has_room:
            if self._ready:
                self._start(self._ready.popleft())
            elif self.waiting and self._admit(self.waiting[0]):
                self.waiting.popleft()
            else:
                break
        if not (decoding or self._fresh):
            return self.begin() if self._preempted else None
        # After a preemption there may be room for the head of the queue at the very next step.
        steps = 1 if self._fresh or self._preempted else self._decoding.steps_until_due
        step_s = self.shape.timing.step_s(self._prefill, decoding + self._decode, self._pairs)
        if self._prefill:
            self.prefilled_tokens += self._prefill
            self.prefill_s += step_s
        return Span(steps, step_s)

    def end(self, steps: int) -> None:
        """So many steps of the span are done; tells those who watch."""
        self._decoding.steps += steps
        finished = self._finished()
        first = [sequence for sequence in self._fresh if self._sampled(sequence)]
        finished += [sequence for sequence in self._fresh if sequence.num_tokens >= sequence.most_tokens]
        for sequence in finished:
            del self._running[sequence]
            if not sequence.holds:
                self.release(sequence)
        for sequence in first:
            sequence.watcher.first_token(sequence)
        for sequence in finished:
            sequence.watcher.finished(sequence)

    def _finished(self) -> list[SimSequence]:
        """The decoding sequences that have ended by now; those that need a block get it when the next step begins."""
        finished = []
        for sequence in self._decoding.take_due():
            if self._decoding.has_ended(sequence):
                self._settle(sequence)
                finished.append(sequence)
            else:
                self._to_grow.append(sequence)
        return finished

    def _sampled(self, sequence: SimSequence) -> bool:
        """Give a sequence its token if all its tokens are computed; whether it is its first."""
        if sequence.computed < sequence.num_tokens:
            self._prefilling = sequence
            return False
        if sequence is self._prefilling:
            self._prefilling = None
        is_first = not sequence.has_tokens
        sequence.num_tokens += 1
        if sequence.num_tokens < sequence.most_tokens:
            self._decoding.enter(sequence)
        return is_first

    def _settle(self, sequence: SimSequence) -> None:
        self._decoding.settle(sequence)
        self._publish(sequence)

    def _grow(self) -> None:
        """Give the decoding sequences that need a block one each, the oldest first."""
        to_grow = [*self._to_grow, *self._decoding.take_due()]
        if not to_grow:
            return
        self._to_grow = []
        for sequence in sorted(to_grow, key=attrgetter("entered")):
            if sequence in self._running and (grown := self._taken(sequence, 1)) is not None:
                sequence.blocks += grown
                self._decoding.wait(sequence)

    def _continue(self, sequence: SimSequence) -> None:
        tokens = min(sequence.num_tokens - sequence.computed, self._budget)
        more = -(-(sequence.computed + tokens) // self.shape.block_tokens) - len(sequence.blocks)
        if (grown := self._taken(sequence, more)) is not None:
            sequence.blocks += grown
            self._compute(sequence, tokens)

    def _taken(self, sequence: SimSequence, blocks: int) -> list[int] | None:
        """Blocks for a running sequence, preempting from the young end (itself at last) until they fit."""
        while (taken := self.kv.take((), blocks)) is None:
            victim, _ = self._running.popitem()
            self._preempt(victim)
            if victim is sequence:
                return None
        return taken

    def _preempt(self, victim: SimSequence) -> None:
        if victim is self._prefilling:
            self._prefilling = None
        else:
            self._settle(victim)
        self.release(victim)
        victim.computed = victim.published = 0
        victim.preemptions += 1
        self.preemptions += 1
        self.waiting.appendleft(victim)
        self._preempted = True

    def _admit(self, sequence: SimSequence) -> bool:
        """Give a waiting sequence its cached prefix and blocks, and schedule it or fetch its KV; False without room."""
        size, must_fetch = self.shape.block_tokens, sequence.must_fetch
        most = (sequence.num_tokens - 1) // size
        cached = self.kv.match(sequence.keys(most), most)
        uncached = sequence.num_tokens - len(cached) * size
        tokens = uncached if must_fetch else min(uncached, self._budget)
        blocks = self.kv.take(cached, -(-(len(cached) * size + tokens) // size) - len(cached))
        if blocks is None:
            return False
        sequence.blocks = blocks
        sequence.computed = len(cached) * size
        sequence.published = len(cached)
        if sequence.cached_tokens < 0:
            sequence.cached_tokens = sequence.computed
            self.prefix_queries_tokens += sequence.num_tokens
            self.prefix_hits_tokens += sequence.computed
        if must_fetch:
            self.fetching += 1
            sequence.fetched = True
            sequence.watcher.fetch_begins(sequence, (len(blocks) - len(cached)) * size)
        else:
            self._start(sequence)
        return True

    def _start(self, sequence: SimSequence) -> None:
        self._entered += 1
        sequence.entered = self._entered
        self._running[sequence] = None
        self._compute(sequence, min(sequence.num_tokens - sequence.computed, self._budget))

    def _compute(self, sequence: SimSequence, tokens: int) -> None:
        """Compute so many tokens in this step; one behind others, some fetched, costs as much as decoding."""
        self._budget -= tokens
        if tokens == 1 and (sequence.has_tokens or sequence.fetched):
            self._decode += 1
        else:
            self._prefill += tokens
            self._pairs += attended_pairs(sequence.computed, tokens)
        sequence.computed += tokens
        self._publish(sequence)
        self._fresh.append(sequence)

    def _publish(self, sequence: SimSequence) -> None:
        whole = sequence.computed // self.shape.block_tokens
        while sequence.published < whole:
            self.kv.publish(sequence.blocks[sequence.published], sequence.key(sequence.published))
            sequence.published += 1

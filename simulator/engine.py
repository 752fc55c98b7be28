"""One engine's scheduler, as vLLM V1 does it: given the time, what the next step does and how long it takes.

Pure: no I/O, no clock, no chance. First come, first served; running sequences go before waiting ones; a step holds at
most `max_num_batched_tokens` tokens, so long prompts are prefilled in chunks; where KV runs out the youngest running
sequence is preempted, loses its blocks and is computed again later (its tokens stay).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from simulator.batch import Batch
from simulator.kv_cache import KvCache
from simulator.kv_taint import taint_of
from simulator.model import end_threshold
from simulator.sampling import sample
from simulator.sequence import EngineRequest, Sequence
from simulator.settings import RankSettings
from simulator.step import Step, TokenOut
from simulator.timing import Timing, timing_of


class EngineCore:
    """The state of one engine between steps."""

    def __init__(self, settings: RankSettings) -> None:
        self.kv = KvCache(settings.kv_blocks)
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self._settings = settings
        self._block_size: Final = settings.block_size_tokens
        self._timing: Final[Timing] = timing_of(settings)
        self._end_below: Final = end_threshold(settings.mean_output_tokens)
        self._aborted: set[int] = set()

    def add(self, request: EngineRequest) -> None:
        """Queue a request; its prompt must leave room for one token in `max_model_len`."""
        self.waiting.append(Sequence(request, self._settings.max_model_len))

    def abort(self, request_id: int) -> None:
        """Drop a request at the next step; one that is not here is ignored."""
        self._aborted.add(request_id)

    def step(self, now_s: float) -> Step | None:
        """Run the step that starts now, or None where there is nothing to do.

        After an abort that leaves the engine empty there is one empty step that takes no time: it reports.
        """
        dropped = self._drop_aborted()
        if not self.running and not self.waiting:
            return self._report(Batch(0), now_s, []) if dropped else None
        batch = self._schedule(now_s)
        end_s = now_s + self._timing.step_s(batch.prefill, batch.decode)
        outputs = [
            sample(part, end_s, self._end_below, self._block_size)
            for part in batch.parts
            if part.computed == part.num_tokens
        ]
        if finished := [out.sequence for out in outputs if out.finish]:
            self._finish(finished)
        return self._report(batch, end_s, outputs)

    def _finish(self, finished: list[Sequence]) -> None:
        for sequence in finished:
            self.kv.release(sequence.blocks)
            sequence.blocks = []
        gone = set(map(id, finished))
        self.running = [sequence for sequence in self.running if id(sequence) not in gone]

    def _report(self, batch: Batch, end_s: float, outputs: list[TokenOut]) -> Step:
        return Step(
            end_s=end_s,
            outputs=outputs,
            prefill_tokens=batch.prefill,
            decode_tokens=batch.decode,
            running=len(self.running),
            waiting=len(self.waiting),
            kv_usage=self.kv.usage,
            prefix_queries_tokens=batch.queries,
            prefix_hits_tokens=batch.hits,
            preemptions=batch.preempted,
        )

    def _drop_aborted(self) -> bool:
        if not self._aborted:
            return False
        gone = [s for s in (*self.running, *self.waiting) if s.request.request_id in self._aborted]
        for sequence in gone:
            self.kv.release(sequence.blocks)
        self.running = [s for s in self.running if s.request.request_id not in self._aborted]
        self.waiting = deque(s for s in self.waiting if s.request.request_id not in self._aborted)
        self._aborted.clear()
        return bool(gone)

    def _schedule(self, now_s: float) -> Batch:
        batch = Batch(self._settings.max_num_batched_tokens)
        at = 0
        while at < len(self.running) and batch.budget:
            self._continue(self.running[at], batch)
            at += 1
        while not batch.preempted and self.waiting and batch.budget and len(self.running) < self._settings.max_num_seqs:
            if not self._start(self.waiting[0], batch, now_s):
                break
            self.running.append(self.waiting.popleft())
        return batch

    def _continue(self, sequence: Sequence, batch: Batch) -> None:
        """Schedule a running sequence, preempting from the young end (itself at last) until its blocks fit."""
        tokens = min(sequence.num_tokens - sequence.computed, batch.budget)
        if sequence.computed + tokens <= len(sequence.blocks) * self._block_size:
            batch.add(sequence, tokens)
            self._publish(sequence)
            return
        while (grown := self._grow(sequence, [], sequence.computed + tokens)) is None:
            victim = self.running.pop()
            self._preempt(victim)
            batch.preempted += 1
            if victim is sequence:
                return
        sequence.blocks += grown
        batch.add(sequence, tokens)
        self._publish(sequence)

    def _start(self, sequence: Sequence, batch: Batch, now_s: float) -> bool:
        """Schedule a waiting sequence behind its cached prefix; False where its blocks do not fit."""
        size = self._block_size
        cached = self.kv.match(sequence.keys, (sequence.num_tokens - 1) // size)
        tokens = min(sequence.num_tokens - len(cached) * size, batch.budget)
        blocks = self._grow(sequence, cached, len(cached) * size + tokens)
        if blocks is None:
            return False
        sequence.blocks = blocks
        sequence.computed = len(cached) * size
        sequence.published = len(cached)
        sequence.taint = taint_of(self.kv.held(cached), sequence.keys)
        if sequence.scheduled_s is None:
            sequence.scheduled_s = now_s
            sequence.cached_tokens = sequence.computed
            batch.queries += sequence.num_tokens
            batch.hits += sequence.computed
        batch.add(sequence, tokens)
        self._publish(sequence)
        return True

    def _grow(self, sequence: Sequence, cached: list[int], tokens: int) -> list[int] | None:
        needed = -(-tokens // self._block_size)
        return self.kv.take(cached, needed - len(sequence.blocks) - len(cached))

    def _publish(self, sequence: Sequence) -> None:
        while (sequence.published + 1) * self._block_size <= sequence.computed:
            block, key = sequence.blocks[sequence.published], sequence.keys[sequence.published]
            self.kv.write(block, key ^ sequence.taint)
            self.kv.publish(block, key)
            sequence.published += 1

    def _preempt(self, victim: Sequence) -> None:
        self.kv.release(victim.blocks)
        victim.blocks = []
        victim.computed = victim.published = 0
        victim.preemptions += 1
        self.waiting.appendleft(victim)

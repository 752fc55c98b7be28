"""One engine's scheduler, as vLLM V1 does it: given the time, what the next step does and how long it takes.

Pure: no I/O, no clock, no chance. First come, first served; running sequences go before waiting ones; a step holds at
most `max_num_batched_tokens` tokens, so long prompts are prefilled in chunks; where KV runs out the youngest running
sequence is preempted, loses its blocks and is computed again later (its tokens stay).
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

import msgspec

from simulator.kv_cache import KvCache
from simulator.model import end_threshold, extend, next_token
from simulator.sequence import EngineRequest, Sequence
from simulator.settings import RankSettings
from simulator.timing import Timing, timing_of
from simulator.tokens import END

Finish = Literal["stop", "length"]


class TokenOut(msgspec.Struct, frozen=True, gc=False):
    """The `nth` token (from 1) of a sequence; `gap_s` is the time since its previous one, or since its arrival."""

    sequence: Sequence
    nth: int
    token: int
    finish: Finish | None
    stop_token: int | None
    gap_s: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one step did; it is known to the outside from `end_s` on. Counts are taken after the step."""

    end_s: float
    outputs: list[TokenOut]
    prefill_tokens: int
    decode_tokens: int
    running: int
    waiting: int
    kv_usage: float
    prefix_queries_tokens: int
    prefix_hits_tokens: int
    preemptions: int


class _Batch:
    """What `_schedule` puts into one step."""

    __slots__ = ("budget", "decode", "hits", "parts", "preempted", "prefill", "queries")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.parts: list[Sequence] = []
        self.decode = self.prefill = self.queries = self.hits = self.preempted = 0

    def add(self, sequence: Sequence, tokens: int) -> None:
        self.parts.append(sequence)
        self.budget -= tokens
        if sequence.generated and tokens == 1:
            self.decode += 1
        else:
            self.prefill += tokens
        sequence.computed += tokens


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
            return self._report(_Batch(0), now_s, []) if dropped else None
        batch = self._schedule(now_s)
        end_s = now_s + self._timing.step_s(batch.prefill, batch.decode)
        outputs = [self._generate(part, end_s) for part in batch.parts if part.computed == part.num_tokens]
        if any(out.finish for out in outputs):
            finished = {id(out.sequence) for out in outputs if out.finish}
            self.running = [sequence for sequence in self.running if id(sequence) not in finished]
        return self._report(batch, end_s, outputs)

    def _report(self, batch: _Batch, end_s: float, outputs: list[TokenOut]) -> Step:
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

    def _schedule(self, now_s: float) -> _Batch:
        batch = _Batch(self._settings.max_num_batched_tokens)
        at = 0
        while at < len(self.running) and batch.budget:
            self._continue(self.running[at], batch)
            at += 1
        while not batch.preempted and self.waiting and batch.budget and len(self.running) < self._settings.max_num_seqs:
            if not self._start(self.waiting[0], batch, now_s):
                break
            self.running.append(self.waiting.popleft())
        return batch

    def _continue(self, sequence: Sequence, batch: _Batch) -> None:
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

    def _start(self, sequence: Sequence, batch: _Batch, now_s: float) -> bool:
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
            self.kv.publish(sequence.blocks[sequence.published], sequence.keys[sequence.published])
            sequence.published += 1

    def _preempt(self, victim: Sequence) -> None:
        self.kv.release(victim.blocks)
        victim.blocks = []
        victim.computed = victim.published = 0
        victim.preemptions += 1
        self.waiting.appendleft(victim)

    def _generate(self, sequence: Sequence, end_s: float) -> TokenOut:
        request = sequence.request
        end_below = 0 if request.ignore_eos or sequence.generated < request.min_tokens else self._end_below
        token = next_token(sequence.state, sequence.last_token, request.salt, end_below)
        sequence.state = extend(sequence.state, token)
        sequence.last_token = token
        sequence.num_tokens += 1
        sequence.generated += 1
        if sequence.num_tokens % self._block_size == 0:
            sequence.keys.append(sequence.state)
        gap_s = end_s - sequence.last_token_s
        sequence.last_token_s = end_s
        if sequence.generated == 1:
            sequence.first_token_s = end_s
        finish, stop_token = _finish(sequence, token)
        if finish:
            self.kv.release(sequence.blocks)
            sequence.blocks = []
        return TokenOut(sequence, sequence.generated, token, finish, stop_token, gap_s)


def _finish(sequence: Sequence, token: int) -> tuple[Finish | None, int | None]:
    """How the sequence ends with this token, and the stop token that ended it, if it does."""
    if token == END:
        return "stop", None
    stops = sequence.request.stop_token_ids
    if stops and token in stops and sequence.generated >= sequence.request.min_tokens:
        return "stop", token
    return ("length" if sequence.num_tokens >= sequence.most_tokens else None), None

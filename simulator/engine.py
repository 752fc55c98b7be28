"""One engine's scheduler, as vLLM V1 does it: given the time, what the next step does and how long it takes. Pure.

First come, first served; running sequences go before waiting ones; a step holds at most `max_num_batched_tokens`
tokens, so long prompts are prefilled in chunks; where KV runs out the youngest running sequence is preempted, loses its
blocks and is computed again later (its tokens stay).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Row
from typing import Final

from simulator.batch import Batch
from simulator.held_kv import HeldKv
from simulator.kv_fetch import KvFetches
from simulator.kv_taint import taint_of
from simulator.layer_params import LayerPush
from simulator.layer_pushes import pushes_of
from simulator.model import end_threshold
from simulator.sampling import sample
from simulator.sequence import EngineRequest, Sequence
from simulator.settings import RankSettings
from simulator.sharing_kv_cache import BlockStore, kv_cache_of
from simulator.step import FetchStages, Step, TokenOut
from simulator.timing import Timing, timing_of


class EngineCore:
    """The state of one engine between steps. While it is `paused` nothing is computed, and aborts still take effect."""

    def __init__(self, settings: RankSettings, shared: BlockStore | None = None) -> None:
        self.kv = kv_cache_of(settings, shared)
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.paused = False
        self._settings = settings
        self._block_size: Final = settings.block_size_tokens
        self._timing: Final[Timing] = timing_of(settings)
        self._end_below: Final = end_threshold(settings.mean_output_tokens)
        self._only_capped: Final = settings.connector in ("mooncake_pull", "mooncake")
        self.fetches: Final = KvFetches(self.kv, takes_any=settings.connector == "mooncake_pull")
        self.held: Final = HeldKv(self.kv, settings.block_size_tokens, settings.lease_s)
        self._aborted: set[int] = set()
        self._held_in_step: dict[int, str] = {}
        self._changed = False
        self._expired: list[str] = []

    @property
    def unfinished(self) -> int:
        """Sequences that are here, in whatever state."""
        return len(self.running) + self._num_waiting

    @property
    def _num_waiting(self) -> int:
        return len(self.waiting) + len(self.fetches.pending) + len(self.fetches.ready)

    @property
    def _num_to_fetch(self) -> int:
        return sum(sequence.must_fetch for sequence in self.waiting) if self._settings.moves_kv else 0

    def add(self, request: EngineRequest) -> None:
        """Queue a request; its prompt must leave room for one token in `max_model_len`."""
        self.waiting.append(Sequence(request, self._settings.max_model_len))
        self._changed = True

    def abort(self, request_id: int) -> None:
        """Drop a request at the next step; one that is not here is ignored.

        One that ends in the step that is under way ends as aborted, so nothing of it is kept for others, as in vLLM.
        """
        self._aborted.add(request_id)
        if kv_request_id := self._held_in_step.pop(request_id, ""):
            self.release_held(kv_request_id)

    def loaded(self, request_id: int, contents: Row[int]) -> int:
        """The KV of a pull order is here; returns its taint, 0 if it is the prompt's own."""
        self._changed = True
        return self.fetches.arrived(request_id, contents)

    def load_failed(self, request_id: int) -> Sequence | None:
        """The KV of a pull order does not come. It is computed here, or the sequence ends with an error: returns it."""
        self._changed = True
        sequence = self.fetches.failed(request_id)
        if sequence is None or self._settings.kv_load_failure_policy == "fail":
            return sequence
        self.waiting.appendleft(sequence)
        return None

    def release_held(self, kv_request_id: str) -> bool:
        """Another engine has the KV of a request that ended here; False where it is not kept (any more)."""
        released = self.held.release(kv_request_id)
        self._changed |= released
        return released

    def step(self, now_s: float) -> Step | None:
        """Run the step that starts now, or None where there is nothing to do and nothing new to report.

        Where only the counts have changed, by an abort for instance, there is one empty step that takes no time.
        Raises EngineDeadError.
        """
        self._drop_aborted()
        self._held_in_step.clear()
        self._expired += self.held.expire(now_s)
        batch = self._schedule(now_s)
        if not batch.parts:
            if not (self._changed or self._expired or batch.preempted):
                return None
            return self._report(batch, now_s, [], [])
        end_s = now_s + self._timing.step_s(batch.prefill, batch.decode, batch.pairs, batch.loaded)
        outputs = [
            sample(part, end_s, self._end_below, self._block_size)
            for part in batch.parts
            if part.computed == part.num_tokens
        ]
        pushes = pushes_of((out.sequence for out in outputs if out.nth == 1), self.kv)
        if finished := [out for out in outputs if out.finish]:
            self._finish(finished, end_s)
        return self._report(batch, end_s, outputs, pushes)

    def _finish(self, finished: list[TokenOut], end_s: float) -> None:
        for sequence, is_capped in ((out.sequence, out.finish == "length") for out in finished):
            if sequence.request.kv_request_id and (is_capped or not self._only_capped):
                self.held.hold(sequence, end_s)
                self._held_in_step[sequence.request.request_id] = sequence.request.kv_request_id
            else:
                self.kv.release(sequence.blocks)
            sequence.blocks = []
        gone = {id(out.sequence) for out in finished}
        self.running = [sequence for sequence in self.running if id(sequence) not in gone]

    def _report(self, batch: Batch, end_s: float, outputs: list[TokenOut], pushes: list[LayerPush]) -> Step:
        fetches = self.fetches
        expired, self._expired, self._changed = self._expired, [], False
        return Step(
            end_s=end_s,
            outputs=outputs,
            prefill_tokens=batch.prefill,
            decode_tokens=batch.decode,
            running=len(self.running),
            waiting=self._num_waiting,
            fetching=FetchStages(self._num_to_fetch, len(fetches.pending), len(fetches.ready)),
            kv_usage=self.kv.usage,
            prefix_queries_tokens=batch.queries,
            prefix_hits_tokens=batch.hits,
            external_queries_tokens=batch.queries - batch.hits if self._settings.connector else 0,
            external_hits_tokens=batch.external,
            preemptions=batch.preempted,
            pulls=fetches.take_orders(),
            calls=fetches.take_calls(),
            pushes=pushes,
            kv_expired=expired,
        )

    def _drop_aborted(self) -> None:
        if not self._aborted:
            return
        gone = [s for s in (*self.running, *self.waiting) if s.request.request_id in self._aborted]
        for sequence in gone:
            self.kv.release(sequence.blocks)
        self.running = [s for s in self.running if s.request.request_id not in self._aborted]
        self.waiting = deque(s for s in self.waiting if s.request.request_id not in self._aborted)
        self._changed |= self.fetches.drop(self._aborted) or bool(gone)
        self._aborted.clear()

    def _schedule(self, now_s: float) -> Batch:
        batch = Batch(0 if self.paused else self._settings.max_num_batched_tokens)
        at = 0
        while at < len(self.running) and batch.budget:
            self._continue(self.running[at], batch)
            at += 1
        while not batch.preempted and batch.budget and len(self.running) < self._settings.max_num_seqs:
            if self.fetches.ready:
                self._start(self.fetches.ready.popleft(), batch, now_s)
            elif self.waiting and self._admit(self.waiting[0], batch, now_s):
                self.waiting.popleft()
            else:
                break
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

    def _admit(self, sequence: Sequence, batch: Batch, now_s: float) -> bool:
        """Give a waiting sequence blocks, and schedule it or fetch its KV; False where its blocks do not fit."""
        fetch = sequence.must_fetch
        if not self._place(sequence, batch, sequence.num_tokens if fetch else batch.budget):
            return False
        if fetch:
            self.fetches.begin(sequence, self._block_size)
            batch.external += sequence.num_tokens - sequence.computed
            self._changed = True
        else:
            self._start(sequence, batch, now_s)
        return True

    def _place(self, sequence: Sequence, batch: Batch, most_tokens: int) -> bool:
        """Give a sequence its cached prefix and blocks for the next tokens; False where they do not fit."""
        size = self._block_size
        cached = self.kv.match(sequence.keys, (sequence.num_tokens - 1) // size)
        tokens = min(sequence.num_tokens - len(cached) * size, most_tokens)
        blocks = self._grow(sequence, cached, len(cached) * size + tokens)
        if blocks is None:
            return False
        sequence.blocks = blocks
        sequence.computed = len(cached) * size
        sequence.published = len(cached)
        sequence.taint = taint_of(self.kv.held(cached), sequence.keys)
        loaded_tokens = self.kv.take_loaded() * size
        if sequence.scheduled_s is None:
            batch.look_up(sequence, loaded_tokens)
        return True

    def _start(self, sequence: Sequence, batch: Batch, now_s: float) -> None:
        if sequence.scheduled_s is None:
            sequence.scheduled_s = now_s
        self.running.append(sequence)
        batch.add(sequence, min(sequence.num_tokens - sequence.computed, batch.budget))
        self._publish(sequence)

    def _grow(self, sequence: Sequence, cached: list[int], tokens: int) -> list[int] | None:
        return self.kv.take(cached, -(-tokens // self._block_size) - len(sequence.blocks) - len(cached))

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

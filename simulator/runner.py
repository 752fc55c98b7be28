"""Steps one engine at absolute deadlines of the event loop's clock, and hands its tokens to whoever waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from simulator.api_errors import ApiError, internal_error
from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from simulator.kv_exchange import KvExchange
from simulator.kv_fetch import EngineDeadError
from simulator.layer_exchange import LayerExchange
from simulator.misuse import MisuseBoard
from simulator.sequence import EngineRequest, Sequence
from simulator.settings import RankSettings
from simulator.sharing_kv_cache import BlockStore
from simulator.step import Step, TokenOut
from simulator.token_sink import TokenSink

_MAX_LAG_S: Final = 0.25
_MAX_STEPS_PER_WAKE: Final = 256
_ROUND_UP_S: Final = 0.0005


def _nobody_listens() -> None:
    """Reports go nowhere."""


class EngineRunner:
    """One engine in real time.

    A step begins when the one before it ended, not when the loop woke up, so being late does not add up. uvloop wakes
    at whole milliseconds; where steps are shorter several run per wake, and their tokens come as one delta, as when
    vLLM's API server is slower than its engine. A stall of the process longer than 250 ms is not caught up.
    `reported` is called after each step that the stats have taken in, `slept` whenever it fell asleep or woke up.
    """

    def __init__(
        self, settings: RankSettings, misuse: MisuseBoard, shared: BlockStore | None, on_death: Callable[[str], None]
    ) -> None:
        self.stats = EngineStats(settings.max_model_len)
        self.frozen = False
        self.reported: Callable[[], None] = _nobody_listens
        self.slept: Callable[[], None] = _nobody_listens
        self._on_death = on_death
        self._block_size = settings.block_size_tokens
        self._core = EngineCore(settings, shared)
        self.kv = KvExchange(self, self._core, self.stats, settings, misuse)
        self.layers = LayerExchange(self.wake, self._core, settings, misuse, lambda number: number in self._sinks)
        self._inbox: deque[EngineRequest] = deque()
        self._sinks: dict[int, TokenSink] = {}
        self._step: Step | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Sequences whose answer is still awaited."""
        return len(self._sinks)

    @property
    def in_engine(self) -> int:
        """Sequences the engine still works on, aborted ones until its next step included."""
        return self._core.unfinished + len(self._inbox)

    def submit(self, request: EngineRequest, sink: TokenSink) -> None:
        """Queue a request; its `arrival_s` is this loop's time now."""
        self._sinks[request.request_id] = sink
        self._inbox.append(request)
        if request.pull is not None:
            self.kv.puller.admit(request.request_id, request.pull)
        self.wake()

    def abort(self, request_ids: Iterable[int]) -> None:
        """Forget requests; the engine drops them at its next step. Idempotent."""
        gone = {request_id for request_id in request_ids if self._sinks.pop(request_id, None) is not None}
        if not gone:
            return
        self._inbox = deque(request for request in self._inbox if request.request_id not in gone)
        for request_id in gone:
            self._core.abort(request_id)
            self.kv.puller.leave(request_id)
        self.wake()

    def cut(self, request_ids: Iterable[int]) -> None:
        """End requests as they are, and tell those who wait for them."""
        sinks = [self._sinks[request_id] for request_id in request_ids if request_id in self._sinks]
        self.abort(list(request_ids))
        for sink in sinks:
            sink.cut()

    def pause(self, paused: bool) -> None:
        """Compute nothing until further notice, or go on."""
        self._core.paused = paused
        self.wake()

    def forget_prefixes(self) -> bool:
        """Empty the prefix cache; False while any block is held."""
        return self._core.kv.forget()

    def fail_all(self, error: ApiError) -> None:
        """Nothing here will be completed."""
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.fail(error)

    def abort_all(self) -> None:
        """Step no more. What is here is aborted; a frozen engine dies without a word."""
        frozen = self.frozen
        self.close()
        sinks, self._sinks = self._sinks, {}
        for sink in () if frozen else sinks.values():
            sink.abort()

    def fail(self, request_id: int) -> None:
        """The request ended with an error."""
        self.stats.finished["error"] += 1
        if (sink := self._sinks.pop(request_id, None)) is not None:
            sink.fail(internal_error())

    def die(self, why: str) -> None:
        """The engine can do nothing more, and the server ends with it."""
        self.close()
        self._step = None
        self._on_death(why)

    def freeze(self, frozen: bool) -> None:
        """Stop stepping, or go on from now."""
        self.frozen = frozen
        if not frozen:
            self.wake()

    def close(self) -> None:
        """Step no more."""
        if self._timer is not None:
            self._timer.cancel()
        self.frozen = True

    def wake(self) -> None:
        """Go on, if idle: the core has something to do or to report."""
        if self.frozen or (self._timer is not None and self._step is not None):
            return
        if self._step is None:
            self._begin(self._loop.time())
        self._arm()

    def _begin(self, start_s: float) -> None:
        """Run the core's next step; requests that arrive later than its start wait for the one after it."""
        while True:
            while self._inbox and self._inbox[0].arrival_s <= start_s:
                self._core.add(self._inbox.popleft())
            try:
                self._step = self._core.step(start_s)
            except EngineDeadError as error:
                self.die(str(error))
                return
            if self._step is not None:
                for order in self._step.pulls:
                    self.kv.puller.pull(order)
                for call in self._step.calls:
                    self.layers.call(call)
                return
            if not self._inbox:
                return
            start_s = self._inbox[0].arrival_s

    def _arm(self) -> None:
        """Wake at the end of the step, or else when KV may have outlived its lease."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at_s = self._core.held.wake_at_s if self._step is None else self._step.end_s
        if self.frozen or wake_at_s == inf:
            return
        wait_s = wake_at_s - self._loop.time()
        # uvloop rounds to whole milliseconds, and a wake before the deadline would be for nothing.
        self._timer = self._loop.call_later(wait_s + _ROUND_UP_S if wait_s > 0 else 0, self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self.frozen:
            return
        now_s = self._loop.time()
        if self._step is None:
            self._begin(now_s)
        touched: dict[TokenSink, None] = {}
        for _ in range(_MAX_STEPS_PER_WAKE):
            if self._step is None or self._step.end_s > now_s:
                break
            self._deliver(self._step, touched)
            self._begin(max(self._step.end_s, now_s - _MAX_LAG_S))
        for sink in touched:
            sink.flush()
        if self._timer is None:
            self._arm()

    def _deliver(self, step: Step, touched: dict[TokenSink, None]) -> None:
        self.stats.record(step)
        self.reported()
        for kv_request_id in step.kv_expired:
            self.kv.kv_expired(kv_request_id)
        for push in step.pushes:
            self.layers.push(push)
        for out in step.outputs:
            request_id = out.sequence.request.request_id
            sink = self._sinks.get(request_id)
            if sink is None:
                continue
            touched[sink] = None
            if out.nth == 1:
                self._tell_cached(out.sequence, sink)
            if out.finish is not None:
                del self._sinks[request_id]
                kept = out.sequence.request.kv_request_id
                if kept and (params := self.kv.offer(kept, out.token)) is not None:
                    sink.offer(params)
                sink.push(out.token, out.finish, out.stop_token)
            elif sink.push(out.token, None, None):
                self._stop_here(out)

    def _tell_cached(self, sequence: Sequence, sink: TokenSink) -> None:
        cached = sequence.cached_tokens + sequence.external_tokens
        sink.begin(cached, max(0, len(sequence.request.block_keys) * self._block_size - cached))

    def _stop_here(self, out: TokenOut) -> None:
        request_id = out.sequence.request.request_id
        del self._sinks[request_id]
        self._core.abort(request_id)
        self.stats.finish(out.sequence, "stop")

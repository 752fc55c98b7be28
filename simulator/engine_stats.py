"""What an engine has reported so far: the numbers behind its series in `/metrics`. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final

from simulator.histogram import Histogram
from simulator.sequence import Sequence
from simulator.step import FetchStages, Step
from simulator.transfer_stats import TransferStats

_DECADES: Final = tuple(float(digit * 10**power) for power in range(7) for digit in (1, 2, 5))
_REQUEST_S: Final = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
_FIRST_TOKEN_S: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN_GAP_S: Final = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_ITERATION_TOKENS: Final = (1.0, *(float(2**power) for power in range(3, 15)))


class EngineStats:
    """Gauges of the last step and sums over all steps of one engine; they change only by `record` and `finish`.

    `transfers` is what the connector reports by itself.
    """

    def __init__(self, max_model_len: int) -> None:
        lengths = tuple(bound for bound in _DECADES if bound <= max_model_len)
        self.running = 0
        self.waiting = 0
        self.fetching = FetchStages(0, 0, 0)
        self.kv_usage = 0.0
        self.prefix_queries_tokens = 0
        self.prefix_hits_tokens = 0
        self.external_queries_tokens = 0
        self.external_hits_tokens = 0
        self.preemptions = 0
        self.prompt_tokens = 0
        self.prompt_tokens_cached = 0
        self.prompt_tokens_external = 0
        self.generation_tokens = 0
        self.transfers = TransferStats()
        self.finished: Counter[str] = Counter()
        self.iteration_tokens = Histogram(_ITERATION_TOKENS)
        self.request_prompt_tokens = Histogram(lengths)
        self.request_generation_tokens = Histogram(lengths)
        self.request_max_num_generation_tokens = Histogram(lengths)
        self.request_params_n = Histogram((1.0, 2.0, 5.0, 10.0, 20.0))
        self.request_params_max_tokens = Histogram(lengths)
        self.time_to_first_token_s = Histogram(_FIRST_TOKEN_S)
        self.inter_token_latency_s = Histogram(_TOKEN_GAP_S)
        self.request_time_per_output_token_s = Histogram(_TOKEN_GAP_S)
        self.e2e_request_latency_s = Histogram(_REQUEST_S)
        self.request_queue_time_s = Histogram(_REQUEST_S)
        self.request_inference_time_s = Histogram(_REQUEST_S)
        self.request_prefill_time_s = Histogram(_REQUEST_S)
        self.request_decode_time_s = Histogram(_REQUEST_S)
        self.request_num_preemptions = Histogram((1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0))
        self.request_prefill_kv_computed_tokens = Histogram(lengths)

    def record(self, step: Step) -> None:
        """Take in a step that has ended. As in vLLM, a step without a token (part of a prefill) is no iteration."""
        self.running = step.running
        self.waiting = step.waiting
        self.fetching = step.fetching
        self.kv_usage = step.kv_usage
        self.prefix_queries_tokens += step.prefix_queries_tokens
        self.prefix_hits_tokens += step.prefix_hits_tokens
        self.external_queries_tokens += step.external_queries_tokens
        self.external_hits_tokens += step.external_hits_tokens
        self.preemptions += step.preemptions
        self.transfers.kv_expired += len(step.kv_expired)
        if step.outputs:
            self._record_tokens(step)

    def _record_tokens(self, step: Step) -> None:
        gaps: Counter[float] = Counter()
        computed = 0
        generated = len(step.outputs)
        for out in step.outputs:
            sequence = out.sequence
            if out.nth == 1:
                self.prompt_tokens += sequence.request.prompt_tokens
                self.prompt_tokens_cached += sequence.cached_tokens
                self.prompt_tokens_external += sequence.external_tokens
                computed += sequence.request.prompt_tokens - sequence.cached_tokens - sequence.external_tokens
                self.time_to_first_token_s.observe(out.gap_s)
                generated -= not sequence.request.max_tokens
            else:
                gaps[out.gap_s] += 1
            if out.finish:
                self.finish(sequence, out.finish)
        for gap_s, times in gaps.items():
            self.inter_token_latency_s.observe(gap_s, times)
        self.generation_tokens += generated
        self.iteration_tokens.observe(computed + generated)

    def finish(self, sequence: Sequence, reason: str) -> None:
        """Take in a finished sequence. Of a request with n choices the first stands for `request_params_n`."""
        request = sequence.request
        self.finished[reason] += 1
        self.request_prompt_tokens.observe(request.prompt_tokens)
        self.request_generation_tokens.observe(sequence.generated)
        if request.max_tokens:
            self.request_params_max_tokens.observe(request.max_tokens)
        self.request_num_preemptions.observe(sequence.preemptions)
        self.request_prefill_kv_computed_tokens.observe(request.prompt_tokens - sequence.cached_tokens)
        if request.salt == 0:
            self.request_params_n.observe(request.n)
            self.request_max_num_generation_tokens.observe(sequence.generated)
        scheduled_s = request.arrival_s if sequence.scheduled_s is None else sequence.scheduled_s
        decode_s = sequence.last_token_s - sequence.first_token_s
        self.request_queue_time_s.observe(scheduled_s - request.arrival_s)
        self.request_prefill_time_s.observe(sequence.first_token_s - scheduled_s)
        self.request_decode_time_s.observe(decode_s)
        self.request_inference_time_s.observe(sequence.last_token_s - scheduled_s)
        self.e2e_request_latency_s.observe(sequence.last_token_s - request.arrival_s)
        self.request_time_per_output_token_s.observe(decode_s / max(1, sequence.generated - 1))

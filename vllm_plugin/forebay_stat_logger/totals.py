"""What one engine has reported to this process so far: gauges of its last report, and sums since the process began.

Sums, so that a datagram that is lost takes nothing with it: the next one has it all. They add up as those of vLLM's own
Prometheus logger do, which gets the same calls, so that a push and a page that show the same step are equal.

vLLM 0.11.1, the first that loads stat loggers, told less: it had all requests that wait in one number, and did not say
what a request had found cached, so hits are taken off as requests end.
"""

from __future__ import annotations

from typing import Any


class Totals:
    """Tokens, requests and seconds of one engine; the names are those on the wire (docs/telemetry.md).

    `waiting` are requests that wait for room, `deferred` those that wait for something else, such as KV on its way.
    `steps` are those that gave a token. `local_tokens` are prompt tokens computed here, `prompt_tokens` all of them.
    `finished_computed_tokens` and `prefill_s` are sums over requests that have finished. `load_at_ns` is when the
    gauges came, `awake_at_ns` when the engine fell asleep or woke up, on the monotonic clock; 0 for never.
    """

    __slots__ = (
        "_hits_taken_off",
        "awake",
        "awake_at_ns",
        "deferred",
        "external_hits",
        "external_queries",
        "finished",
        "finished_computed_tokens",
        "first_token_s",
        "first_tokens",
        "generation_tokens",
        "kv_usage",
        "load_at_ns",
        "local_tokens",
        "preemptions",
        "prefill_s",
        "prefix_hits",
        "prefix_queries",
        "prompt_tokens",
        "running",
        "steps",
        "waiting",
    )

    def __init__(self) -> None:
        self.awake = 1
        self.load_at_ns = self.awake_at_ns = 0
        self.running = self.waiting = self.deferred = 0
        self.kv_usage = 0.0
        self.prefix_queries = self.prefix_hits = self.external_queries = self.external_hits = 0
        self.steps = self.prompt_tokens = self.local_tokens = self.generation_tokens = self.preemptions = 0
        self.first_tokens = self.finished = self.finished_computed_tokens = 0
        self.first_token_s = self.prefill_s = 0.0
        self._hits_taken_off = 0

    def take_load(self, stats: Any, at_ns: int) -> None:
        """Take in vLLM's SchedulerStats of one step."""
        self.load_at_ns = at_ns
        self.running = stats.num_running_reqs
        self.waiting = stats.num_waiting_reqs
        self.deferred = getattr(stats, "num_skipped_waiting_reqs", 0)
        self.kv_usage = stats.kv_cache_usage
        prefix = stats.prefix_cache_stats
        self.prefix_queries += prefix.queries
        self.prefix_hits += prefix.hits
        external = stats.connector_prefix_cache_stats
        if external is not None:
            self.external_queries += external.queries
            self.external_hits += external.hits

    def take_iteration(self, stats: Any) -> None:
        """Take in vLLM's IterationStats of the answers that this process was given."""
        self.steps += 1
        self.generation_tokens += stats.num_generation_tokens
        self.preemptions += stats.num_preempted_reqs
        prompts = getattr(stats, "prompt_token_stats", None)
        if prompts is None:
            self.prompt_tokens += stats.num_prompt_tokens
        else:
            self.prompt_tokens += prompts.total
            self.local_tokens += prompts.computed
        for waited_s in stats.time_to_first_tokens_iter:
            self.first_tokens += 1
            self.first_token_s += waited_s
        for request in stats.finished_requests:
            self.finished += 1
            self.finished_computed_tokens += request.num_prompt_tokens - self._cached_tokens(request)
            self.prefill_s += request.prefill_time

    def _cached_tokens(self, request: Any) -> int:
        told = getattr(request, "num_cached_tokens", None)
        if told is not None:
            return max(int(told), 0)
        hits = min(self.prefix_hits - self._hits_taken_off, int(request.num_prompt_tokens))
        self._hits_taken_off += hits
        return hits

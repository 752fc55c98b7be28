"""The simulated engine under a load, in virtual time, seen as an agent sees it: a page each SAMPLED_S."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from agent.metrics_page import EngineSample
from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from simulator.sequence import EngineRequest
from simulator.settings import RankSettings
from simulator.step import Step
from simulator.timing import timing_of
from simulator.transfer_params import RemoteKv
from tests.agent.samples import engine
from tests.simulator.engines import request

SAMPLED_S = 0.5
BLOCK_TOKENS = 64
PULLED_TOKENS = 4096
_BLOCKS = tuple(range(PULLED_TOKENS // BLOCK_TOKENS))


class Load(NamedTuple):
    """Requests of one kind, which come at random, and others whose KV is pulled; `rate` is the rank's, tokens/s.

    Where `spread` their prompts are of random lengths of that mean.
    """

    prompt_tokens: int
    output_tokens: int
    rps: float
    requests: int = 100
    pulled_rps: float = 0.0
    rate: float = 5000.0
    spread: bool = False


class Seen(NamedTuple):
    """The pages of a rank, and the prompt tokens a second that its steps did in which there were any."""

    pages: list[EngineSample]
    tokens_per_s: float


def page(stats: EngineStats) -> EngineSample:
    """What an agent reads of these counters."""
    return engine(
        running=stats.running,
        waiting=stats.waiting,
        steps=float(sum(stats.iteration_tokens.counts)),
        prompt_tokens=float(stats.prompt_tokens),
        local_tokens=float(stats.prompt_tokens - stats.prompt_tokens_cached - stats.prompt_tokens_external),
        first_tokens=float(sum(stats.time_to_first_token_s.counts)),
        first_token_s=stats.time_to_first_token_s.sum,
        generation_tokens=float(stats.generation_tokens),
        prefill_requests=float(sum(stats.request_prefill_time_s.counts)),
        prefill_tokens=float(stats.request_prefill_kv_computed_tokens.sum - stats.external_hits_tokens),
        prefill_s=stats.request_prefill_time_s.sum,
        prefix_queries=float(stats.prefix_queries_tokens),
        prefix_hits=float(stats.prefix_hits_tokens),
        external_hits=float(stats.external_hits_tokens),
    )


def seen(load: Load, seed: int = 1) -> Seen:
    """All pages until the last answer is whole; a step is on them when it has ended."""
    settings = RankSettings(
        role="decode" if load.pulled_rps else "mixed",
        prefill_tokens_per_s=load.rate,
        decode_step_ms=20,
        decode_ms_per_seq=2,
        block_size_tokens=BLOCK_TOKENS,
        kv_blocks=8192,
    )
    core, stats = EngineCore(settings), EngineStats(settings.max_model_len)
    arriving = _arriving(load, Random(seed))
    pages, now_s, prefill_tokens, prefill_s = [page(stats)], 0.0, 0, 0.0
    loading: list[tuple[float, int, int]] = []
    while arriving or loading or core.unfinished:
        while arriving and arriving[0].arrival_s <= now_s:
            core.add(arriving.pop(0))
        while loading and loading[0][0] <= now_s:
            _, request_id, blocks = loading.pop(0)
            core.loaded(request_id, [0] * blocks)
        step = core.step(now_s)
        begun_s = now_s
        now_s = step.end_s if step else min([each.arrival_s for each in arriving[:1]] + [at for at, _, _ in loading])
        while len(pages) * SAMPLED_S < now_s:
            pages.append(page(stats))
        if step:
            stats.record(step)
            loading += _loading(step, settings, begun_s)
            if step.prefill_tokens:
                prefill_tokens += step.prefill_tokens
                prefill_s += now_s - begun_s
    return Seen(pages, prefill_tokens / prefill_s)


def _loading(step: Step, settings: RankSettings, begun_s: float) -> list[tuple[float, int, int]]:
    took_s = timing_of(settings).kv_transfer_s(PULLED_TOKENS)
    return [(begun_s + took_s, order.request_id, len(order.block_ids)) for order in step.pulls]


def _arriving(load: Load, chance: Random) -> list[EngineRequest]:
    """In the order of their arrival."""
    arriving, arrival_s = [], 0.0
    remote = RemoteKv("prefill0", "there", "127.0.0.1", 1, _BLOCKS)
    for number in range(load.requests):
        tokens = max(16, round(chance.expovariate(1 / load.prompt_tokens))) if load.spread else load.prompt_tokens
        prompt = [1_000_000 * number + place for place in range(tokens)]
        arriving.append(request(number, prompt, load.output_tokens, BLOCK_TOKENS, arrival_s=arrival_s))
        arrival_s += chance.expovariate(load.rps)
    last_s, pulled_s, number = arrival_s, 0.0, load.requests
    while load.pulled_rps and (pulled_s := pulled_s + chance.expovariate(load.pulled_rps)) < last_s:
        number += 1
        prompt = [1_000_000 * number + place for place in range(PULLED_TOKENS)]
        arriving.append(request(number, prompt, 50, BLOCK_TOKENS, arrival_s=pulled_s, pull=remote))
    return sorted(arriving, key=lambda each: each.arrival_s)

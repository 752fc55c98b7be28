"""What an engine reports after its steps, as vLLM counts it."""

from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from tests.simulator.engines import ids, request, run, settings


def stats_of(core: EngineCore) -> EngineStats:
    stats = EngineStats(max_model_len=2048)
    for step in run(core):
        stats.record(step)
    return stats


def test_prompt_tokens_count_with_the_first_token_and_iterations_only_with_a_token() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 90), max_tokens=3))
    stats = stats_of(core)
    assert (stats.prompt_tokens, stats.generation_tokens) == (90, 3)
    assert sum(stats.iteration_tokens.counts) == 3
    assert stats.iteration_tokens.sum == 93


def test_a_step_that_has_not_ended_is_not_counted() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 8), max_tokens=9))
    stats, first = EngineStats(2048), core.step(0.0)
    assert (stats.running, stats.generation_tokens) == (0, 0)
    assert first is not None
    stats.record(first)
    assert (stats.running, stats.generation_tokens) == (1, 1)


def test_cached_tokens_are_told_from_computed_ones() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 20), max_tokens=1))
    run(core)
    core.add(request(2, ids(1, 20), max_tokens=1))
    stats = stats_of(core)
    assert (stats.prompt_tokens, stats.prompt_tokens_cached, stats.prefix_hits_tokens) == (20, 16, 16)
    assert stats.request_prefill_kv_computed_tokens.sum == 4


def test_the_times_of_a_request_add_up() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 20), max_tokens=5))
    stats = stats_of(core)
    inference = stats.request_prefill_time_s.sum + stats.request_decode_time_s.sum
    assert stats.request_inference_time_s.sum == inference
    assert stats.e2e_request_latency_s.sum == stats.request_queue_time_s.sum + inference
    assert stats.time_to_first_token_s.sum == stats.request_prefill_time_s.sum
    assert sum(stats.inter_token_latency_s.counts) == 4
    assert stats.finished == {"length": 1}

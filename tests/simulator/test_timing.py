"""What a step costs."""

import pytest

from simulator.engine import EngineCore
from simulator.settings import RankSettings
from simulator.timing import attended_pairs, timing_of
from tests.simulator.engines import request, run, settings


@pytest.mark.parametrize(
    ("prefill_tokens", "decode_seqs", "step_ms"),
    [
        pytest.param(8000, 0, 1020, id="a prefill is 20 ms and a second per 8,000 tokens"),
        pytest.param(0, 1, 6.35, id="one sequence decodes in 6.35 ms"),
        pytest.param(0, 64, 28.4, id="64 sequences decode in 28.4 ms"),
        pytest.param(800, 10, 123.5, id="decoding beside a prefill waits for it"),
    ],
)
def test_a_step_costs(prefill_tokens: int, decode_seqs: int, step_ms: float) -> None:
    assert timing_of(RankSettings()).step_s(prefill_tokens, decode_seqs) == pytest.approx(step_ms / 1000)


def test_speed_divides_every_time() -> None:
    slow, quick = timing_of(RankSettings()), timing_of(RankSettings(speed=50))
    for load in ((100, 0), (0, 5), (100, 5)):
        assert quick.step_s(*load) == pytest.approx(slow.step_s(*load) / 50)


def test_a_token_attends_to_itself_and_to_all_before_it() -> None:
    assert attended_pairs(0, 1) == 1
    assert attended_pairs(10, 3) == 11 + 12 + 13


def test_the_chunks_of_a_prompt_attend_to_what_the_whole_prompt_does() -> None:
    assert attended_pairs(0, 300) + attended_pairs(300, 200) == attended_pairs(0, 500)


def test_at_four_milliseconds_attention_costs_as_much_as_the_rest_of_a_prompt_of_61_000_tokens() -> None:
    without, with_it = (timing_of(RankSettings(attention_ms_per_million_pairs=ms)) for ms in (0, 4.1))
    linear_s, whole_s = (timing.prompt_s(61_000, 61_000) for timing in (without, with_it))
    assert linear_s == pytest.approx(0.02 + 61_000 / 8000)
    assert whole_s - linear_s == pytest.approx(61_000 / 8000, rel=0.01)


def test_a_cached_beginning_is_attended_to_and_not_computed() -> None:
    engine = EngineCore(settings(attention_ms_per_million_pairs=1000))
    prompt = list(range(40))
    engine.add(request(1, prompt, 1))
    run(engine)
    begin_s = 100.0
    engine.add(request(2, prompt[:32] + list(range(900, 908)), 1))
    step = engine.step(begin_s)
    assert step
    assert step.prefix_hits_tokens == 32
    assert step.end_s - begin_s == pytest.approx(0.02 + 8 / 8000 + attended_pairs(32, 8) * 1e-6)


def test_a_prompt_alone_takes_what_the_steps_of_its_chunks_do() -> None:
    options = settings(attention_ms_per_million_pairs=1000, max_num_batched_tokens=16)
    engine = EngineCore(options)
    engine.add(request(1, list(range(40)), 1))
    *_, last = run(engine)
    assert last.end_s == pytest.approx(timing_of(options).prompt_s(40, 16))

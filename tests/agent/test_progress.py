import pytest

from agent.metrics_page import EngineSample
from agent.progress import Progress, progress, stands_still
from tests.agent.samples import engine


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        pytest.param(engine(running=2, steps=8.0, kv_usage=0.5), True, id="a step with a token"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, generation_tokens=1.0), True, id="a token, old page"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, prompt_tokens=1.0), True, id="a prompt, old page"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.6), True, id="a chunk of a long prefill"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5), False, id="nothing"),
        pytest.param(engine(running=1, steps=7.0, kv_usage=0.4), False, id="an abort alone"),
        pytest.param(engine(running=2, steps=7.0, kv_usage=0.5, waiting=9), False, id="a longer queue alone"),
    ],
)
def test_progress_is_tokens_or_growing_kv(after: EngineSample, moved: bool) -> None:
    before = engine(running=2, steps=7.0, kv_usage=0.5)
    known = Progress(sampled_at_s=100.0, moved_at_s=90.0, running=2)
    assert progress(known, before, after, 101.0).moved_at_s == (101.0 if moved else 90.0)


def test_an_idle_engine_owes_no_progress() -> None:
    state = progress(None, None, engine(), 0.0)
    for second in range(1, 100):
        state = progress(state, engine(), engine(), float(second))
    busy = engine(running=1)
    state = progress(state, engine(), busy, 100.0)
    assert not stands_still(state, stall_s=10)
    state = progress(state, busy, busy, 110.0)
    assert stands_still(state, stall_s=10)


def test_time_without_samples_is_no_proof_of_a_stall() -> None:
    last_look = Progress(sampled_at_s=5.0, moved_at_s=0.0, running=3)
    assert not stands_still(last_look, stall_s=10)

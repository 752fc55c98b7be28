import pytest

from agent.prefill_rate import PrefillRate, learn
from tests.agent.samples import engine

PRIOR = 8000.0


def learned(*windows: tuple[float, float, float, float], rounds: int = 1, running: int = 1) -> float:
    """The rate after these windows: (tokens, prefill seconds, requests, seconds between the two samples)."""
    known = PrefillRate(prior_tokens_per_s=PRIOR)
    before = engine(running=running)
    for tokens, prefill_s, requests, elapsed_s in windows * rounds:
        after = engine(
            running=running,
            steps=before.steps + requests,
            prefill_tokens=before.prefill_tokens + tokens,
            prefill_s=before.prefill_s + prefill_s,
            prefill_requests=before.prefill_requests + requests,
            prompt_tokens=before.prompt_tokens + tokens,
            prefix_queries=(before.prefix_queries or 0) + tokens,
        )
        known = learn(known, before, after, elapsed_s)
        before = after
    return known.tokens_per_s


@pytest.mark.parametrize(
    ("window", "rate"),
    [
        pytest.param((20_000, 2.0, 1, 2.0), 10_000, id="one prompt after another"),
        pytest.param((5_000, 2.0, 10, 0.5), 10_000, id="four prompts to a step, always busy"),
        pytest.param((200_000, 40.0, 2, 20.0), 10_000, id="two long prompts in turns"),
        pytest.param((4_000, 0.4, 2, 30.0), 10_000, id="two prompts while others decode"),
    ],
)
def test_the_rate_is_learned_from_finished_prefills(window: tuple[float, float, float, float], rate: float) -> None:
    assert learned(window, rounds=3) == pytest.approx(rate)


def test_a_burst_between_two_idle_samples_took_the_time_between_them_at_most() -> None:
    assert learned((6_000, 2.4, 6, 1.0), rounds=3, running=0) == pytest.approx(6_000)


def test_the_prior_holds_until_something_is_known() -> None:
    assert learned() == PRIOR
    assert learned((0, 0, 0, 0.5), rounds=50) == PRIOR


def test_small_samples_add_up_to_a_window() -> None:
    assert learned((500, 0.1, 1, 0.2), rounds=30) == pytest.approx(5_000)


def test_short_prompts_teach_nothing() -> None:
    assert learned((1200, 2.0, 100, 2.0), rounds=20) == PRIOR


SLOW, FAST = (4_000, 2.0, 1, 2.0), (4_000, 0.5, 1, 0.5)
NOTHING_FOR_A_MINUTE = (0, 0, 0, 60.0)


def test_a_rank_that_was_given_nothing_for_long_is_believed_as_fast_as_it_ever_was() -> None:
    assert learned(FAST, SLOW, SLOW, SLOW, SLOW) == 2_000
    assert learned(FAST, SLOW, SLOW, SLOW, SLOW, NOTHING_FOR_A_MINUTE) == 8_000


def test_a_rank_that_is_still_slow_is_known_for_it_at_once() -> None:
    assert learned(FAST, SLOW, SLOW, SLOW, SLOW, NOTHING_FOR_A_MINUTE, SLOW) == 2_000


def test_prefills_that_took_no_time_teach_nothing() -> None:
    assert learned((4_000, 5e-324, 1, 1.0), (1e15, 1e-3, 1, 1.0), rounds=20) == PRIOR


def test_pulled_prompts_teach_nothing() -> None:
    assert learned((-2907, 0.0, 0, 0.5), (2907, 2.0, 5, 2.0), rounds=20) == PRIOR


def test_one_request_that_compiled_a_kernel_does_not_move_the_rate() -> None:
    steady = [(2_000.0, 0.2, 1.0, 0.5)] * 5
    assert learned((4_000, 26.0, 1, 26.0), *steady) == pytest.approx(10_000)


@pytest.mark.parametrize(("rounds", "rate"), [(1, PRIOR), (2, PRIOR), (3, 5_000)])
def test_a_rank_is_not_believed_slow_for_its_first_prompts(rounds: int, rate: float) -> None:
    assert learned((4_000, 0.8, 1, 1.0), rounds=rounds) == pytest.approx(rate)


def test_a_rank_may_be_faster_than_was_thought_at_once() -> None:
    assert learned((40_000, 2.0, 1, 2.0)) == pytest.approx(20_000)


def test_a_changed_rate_is_followed() -> None:
    fast, slow = (2_000.0, 0.2, 1.0, 0.5), (2_000.0, 0.8, 1.0, 1.0)
    assert learned(*[fast] * 40, *[slow] * 20) == pytest.approx(2_500)

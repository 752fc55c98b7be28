"""The analytic rank does what the stepping engine does, at the same times."""

from typing import Any

import pytest

from simulator.cluster.clock import EventQueue
from simulator.cluster.dp_group import DpGroup
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.sequence import SimSequence
from simulator.settings import RankSettings
from simulator.timing import timing_of
from tests.simulator import engines
from tests.simulator.cluster.stepping import AnalyticPair, SteppedPair, Times, Work, shape_of, sim_request, some_work

SAME_S = 1e-9
"""Times are sums of steps here and products there: they differ by what floats do."""

ATTENTION_MS_PER_MILLION_PAIRS = 3000.0
"""So much that a small engine's prompts, too, cost more by it than by their tokens."""

SMALL: dict[str, Any] = {"prompt": (1, 90), "output": (1, 9)}
LONG_ANSWERS: dict[str, Any] = {"prompt": (1, 30), "output": (20, 60)}


def settings(**options: Any) -> RankSettings:
    return engines.settings(attention_ms_per_million_pairs=ATTENTION_MS_PER_MILLION_PAIRS, **options)


def assert_same(analytic: dict[int, Times], stepped: dict[int, Times]) -> None:
    assert analytic.keys() == stepped.keys()
    for number, times in stepped.items():
        assert analytic[number] == pytest.approx(times, abs=SAME_S), number


@pytest.mark.parametrize("mean_gap_s", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("sizes", [SMALL, LONG_ANSWERS])
@pytest.mark.parametrize("seed", range(5))
def test_a_rank_alone_answers_when_the_stepping_engine_does(
    seed: int, sizes: dict[str, Any], mean_gap_s: float
) -> None:
    works = some_work(seed, 80, mean_gap_s=mean_gap_s, **sizes)
    stepped = SteppedPair(settings(), None)
    assert_same(AnalyticPair(settings(), None).run(works), stepped.run(works))


def test_what_is_preempted_is_computed_again_as_the_stepping_engine_does() -> None:
    works = some_work(7, 60, mean_gap_s=0.01, prompt=(10, 40), output=(30, 59))
    stepped, analytic = SteppedPair(settings(), None), AnalyticPair(settings(), None)
    assert_same(analytic.run(works), stepped.run(works))
    assert analytic.first.preemptions == stepped.first.preemptions > 10


@pytest.mark.parametrize("mean_gap_s", [0.002, 0.02, 0.2])
@pytest.mark.parametrize("seed", range(5))
def test_a_pair_answers_when_stepping_engines_do(seed: int, mean_gap_s: float) -> None:
    prefill = settings(role="prefill", kv_lease_ms=3.6e6)
    decode = settings(role="decode", kv_lease_ms=3.6e6, max_num_seqs=3, kv_blocks=40)
    works = some_work(seed, 80, mean_gap_s=mean_gap_s, prompt=(1, 60), output=(1, 40))
    stepped, analytic = SteppedPair(prefill, decode), AnalyticPair(prefill, decode)
    assert_same(analytic.run(works), stepped.run(works))


@pytest.mark.parametrize("attention", [0.0, 4.0])
def test_the_default_rank_answers_when_the_stepping_engine_does(attention: float) -> None:
    big = RankSettings(block_size_tokens=512, kv_blocks=256, attention_ms_per_million_pairs=attention)
    works = some_work(3, 60, mean_gap_s=0.4, prompt=(100, 20_000), output=(1, 300))
    assert_same(AnalyticPair(big, None).run(works), SteppedPair(big, None).run(works))


def test_hundreds_of_tokens_are_a_few_events() -> None:
    pair = AnalyticPair(RankSettings(block_size_tokens=512, kv_blocks=256), None)
    spans = 0
    end = pair.first.end

    def counted(steps: int) -> None:
        nonlocal spans
        spans += 1
        end(steps)

    pair.first.end = counted  # type: ignore[method-assign]
    pair.run([Work(0.0, list(range(100)), 600)])
    assert spans == 3  # the prompt, the tokens that its block of KV has room for, the others


class Silent:
    def fetch_begins(self, sequence: SimSequence, tokens: int) -> None:
        raise AssertionError

    def first_token(self, sequence: SimSequence) -> None:
        pass

    def finished(self, sequence: SimSequence) -> None:
        pass


class Noted(Silent):
    def __init__(self, queue: EventQueue) -> None:
        self.queue = queue
        self.finished_s = 0.0

    def finished(self, sequence: SimSequence) -> None:
        self.finished_s = self.queue.now_s


def test_ranks_of_a_group_wait_for_the_slowest() -> None:
    queue, big = EventQueue(), RankSettings(block_size_tokens=512, kv_blocks=256)
    ranks = [AnalyticRank(name, shape_of(big)) for name in ("slow", "fast")]
    group = DpGroup(queue, ranks)
    noted = Noted(queue)
    for number in range(10):
        request = sim_request(number, Work(0.0, [number], 500), 512)
        group.submit(ranks[0], SimSequence(request, 500, Silent()))
    group.submit(ranks[1], SimSequence(sim_request(10, Work(0.0, [10], 21), 512), 21, noted))
    queue.run()
    timing = timing_of(big)
    # The first sequence is alone in its first step; then all prompts are prefilled in one.
    prefill_s = timing.step_s(1, 0) + timing.step_s(9, 1)
    assert noted.finished_s == pytest.approx(prefill_s + 20 * timing.step_s(0, 10))
